//! Tape of recorded operators, and a backward pass over it without candle's tensors of zeros.

use std::cell::{Cell, RefCell};
use std::collections::{HashMap, HashSet};
use std::marker::PhantomData;
use std::sync::Arc;

use candle_core::backprop::GradStore;
use candle_core::{CustomOp1, CustomOp2, CustomOp3, Device, Tensor, TensorId};

use crate::cpu;
use crate::custom_op::{self, for_float};
use crate::error::{Error, Result};
use crate::kernels::elementwise::map2;
use crate::kernels::fresh::fresh;
#[cfg(feature = "cuda")]
use crate::route;

/// Tape: a record of the operators of this crate that a thread runs, for a backward pass without sums of zeros.
///
/// candle's [`Tensor::backward`] fills a tensor with zeros for every tensor of the graph and adds the gradient to it: two or three
/// passes over memory for gradients that mostly have one term. A tape moves gradients, and adds only where there are two. The
/// values are the same.
///
/// The tensors keep candle's graph. If a path from the loss to a variable has an operator that is not on the tape (one of candle, of
/// another crate or of another thread), [`Tape::backward`] calls [`Tensor::backward`].
///
/// ```
/// use candle_core::{Device, Tensor, Var};
/// use tallow_ops::{Tape, linear, relu};
///
/// let weight = Var::new(&[[1f32, 2.0]], &Device::Cpu)?;
/// let x = Tensor::new(&[[3f32, 4.0]], &Device::Cpu)?;
/// let tape = Tape::record();
/// let loss = relu(&linear(&x, &weight, None)?)?;
/// let gradients = tape.backward(&loss)?;
/// assert_eq!(gradients.get(&weight).unwrap().to_vec2::<f32>()?, [[3.0, 4.0]]);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[must_use = "a tape records until it is dropped: keep it and call `backward`"]
pub struct Tape {
    /// A tape cannot leave its thread.
    thread: PhantomData<*const ()>,
}

thread_local! {
    /// Tapes being recorded, the innermost last.
    static TAPES: RefCell<Vec<Vec<Node>>> = const { RefCell::new(Vec::new()) };
}

thread_local! {
    /// Depth of nested calls of [`no_grad`].
    static NO_GRAD: Cell<u32> = const { Cell::new(0) };
}

/// Runs `f` without a graph, as `torch.no_grad`.
///
/// Results of the operators of this crate in this thread have no graph, so that activations are freed after their last use, and
/// operators may take paths that have no gradient.
///
/// ```
/// use candle_core::{Device, Var};
/// use tallow_ops::{no_grad, relu};
///
/// let x = Var::new(&[-1f32, 2.0], &Device::Cpu)?;
/// assert!(relu(&x)?.track_op());
/// assert!(!no_grad(|| relu(&x))?.track_op());
/// # Ok::<(), tallow_ops::Error>(())
/// ```
pub fn no_grad<R>(f: impl FnOnce() -> R) -> R {
    struct Guard;
    impl Drop for Guard {
        fn drop(&mut self) {
            NO_GRAD.set(NO_GRAD.get() - 1);
        }
    }
    NO_GRAD.set(NO_GRAD.get() + 1);
    let _guard = Guard;
    f()
}

/// True if operators build a graph.
pub(crate) fn grad_enabled() -> bool {
    NO_GRAD.get() == 0
}

/// The tensor, without its graph inside [`no_grad`].
pub(crate) fn input(x: &Tensor) -> Tensor {
    if grad_enabled() {
        x.clone()
    } else {
        x.detach()
    }
}

/// Operator that ran, and its output.
struct Node {
    output: Tensor,
    op: Op,
}

pub(crate) enum Op {
    One(Tensor, Arc<Box<dyn CustomOp1 + Send + Sync>>),
    Two([Tensor; 2], Arc<Box<dyn CustomOp2 + Send + Sync>>),
    Three([Tensor; 3], Arc<Box<dyn CustomOp3 + Send + Sync>>),
    /// Reshape.
    Reshape(Tensor),
    /// Concatenation along the first axis.
    Cat(Vec<Tensor>),
    /// Sum of two tensors.
    Add([Tensor; 2]),
    /// Padding with zeros: axis, and position of the tensor on it.
    Pad(Tensor, usize, usize),
}

/// Function that takes a variable and its gradient.
type Ready<'a> = dyn FnMut(&Tensor, &Tensor) + 'a;

impl Tape {
    /// Starts recording. A tape started later records instead until it is used or dropped.
    pub fn record() -> Self {
        TAPES.with_borrow_mut(|tapes| tapes.push(Vec::new()));
        Self {
            thread: PhantomData,
        }
    }

    /// Gradients of `loss` with respect to the variables it depends on, as [`Tensor::backward`].
    ///
    /// # Errors
    /// Errors of the operators' backward passes.
    pub fn backward(self, loss: &Tensor) -> Result<GradStore> {
        self.run(loss, None, None)
    }

    /// Gradients of `sum(output * gradient)`, as PyTorch's `output.backward(gradient)`: `output` may have any shape, and `gradient` has the
    /// same.
    ///
    /// ```
    /// use candle_core::{Device, Tensor, Var};
    /// use tallow_ops::{Tape, relu};
    ///
    /// let x = Var::new(&[1f32, -2.0, 3.0], &Device::Cpu)?;
    /// let tape = Tape::record();
    /// let gradients = tape.backward_from(&relu(&x)?, &Tensor::new(&[0.5f32, 1.0, 2.0], &Device::Cpu)?)?;
    /// assert_eq!(gradients.get(&x).unwrap().to_vec1::<f32>()?, [0.5, 0.0, 2.0]);
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    ///
    /// # Errors
    /// [`Error::Shape`] if the shapes differ, and as [`backward`](Self::backward).
    pub fn backward_from(self, output: &Tensor, gradient: &Tensor) -> Result<GradStore> {
        if output.dims() != gradient.dims() {
            return Err(Error::Shape {
                op: "backward_from",
                argument: "gradient",
                expected: format!("{:?}, as the output", output.dims()),
                found: gradient.shape().clone(),
            });
        }
        self.run(output, Some(gradient), None)
    }

    /// [`backward`](Self::backward) that hands each variable and its gradient to `ready` as soon as the gradient is final, once no operator
    /// that is left adds to it: those of the last layers first. They can be sent to other machines while the others are computed. The
    /// result has all of them.
    ///
    /// Nothing is handed over where the tape leaves the work to candle.
    ///
    /// ```
    /// use candle_core::{Device, Tensor, Var};
    /// use tallow_ops::{Tape, linear, relu};
    ///
    /// let first = Var::new(&[[1f32, 2.0]], &Device::Cpu)?;
    /// let last = Var::new(&[[3f32]], &Device::Cpu)?;
    /// let x = Tensor::new(&[[3f32, 4.0]], &Device::Cpu)?;
    /// let tape = Tape::record();
    /// let loss = linear(&relu(&linear(&x, &first, None)?)?, &last, None)?;
    /// let mut order = Vec::new();
    /// tape.backward_with(&loss, &mut |variable, _gradient| order.push(variable.id()))?;
    /// assert_eq!(order, [last.id(), first.id()]);
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    ///
    /// # Errors
    /// As [`backward`](Self::backward).
    pub fn backward_with(
        self,
        loss: &Tensor,
        ready: &mut dyn FnMut(&Tensor, &Tensor),
    ) -> Result<GradStore> {
        self.run(loss, None, Some(ready))
    }

    /// Backward pass from `loss`, whose gradient is that given, or ones.
    fn run(
        self,
        loss: &Tensor,
        gradient: Option<&Tensor>,
        mut ready: Option<&mut Ready<'_>>,
    ) -> Result<GradStore> {
        let nodes = TAPES.with_borrow_mut(|tapes| tapes.last_mut().map(std::mem::take));
        let nodes = nodes.unwrap_or_default();
        if !is_complete(&nodes, loss) {
            return Ok(match gradient {
                Some(gradient) => (loss * gradient)?.sum_all()?.backward()?,
                None => loss.backward()?,
            });
        }
        let mut first_uses = match ready.is_some() {
            true => first_uses(&nodes),
            false => HashMap::new(),
        };
        let mut gradients = HashMap::new();
        let of_loss = gradient.map_or_else(|| loss.ones_like(), |gradient| Ok(gradient.clone()))?;
        gradients.insert(loss.id(), of_loss);
        for (number, Node { output, op }) in nodes.into_iter().enumerate().rev() {
            if let Some(gradient) = gradients.remove(&output.id()) {
                op.backward(&output, gradient, &mut gradients)?;
            }
            let Some(ready) = &mut ready else {
                continue;
            };
            for x in op.inputs() {
                if first_uses.get(&x.id()) != Some(&number) {
                    continue;
                }
                // An operator may have a variable as an input twice.
                first_uses.remove(&x.id());
                if let Some(gradient) = gradients.get(&x.id()) {
                    (**ready)(x, gradient);
                }
            }
        }
        let mut store = empty_store()?;
        for (id, gradient) in gradients {
            store.insert_id(id, gradient);
        }
        Ok(store)
    }
}

impl Drop for Tape {
    fn drop(&mut self) {
        // The tensors are freed after the borrow ends, since dropping one may run any code.
        let nodes = TAPES.try_with(|tapes| tapes.try_borrow_mut().ok().and_then(|mut t| t.pop()));
        drop(nodes);
    }
}

/// True if every path from `loss` to a variable is on the tape.
fn is_complete(nodes: &[Node], loss: &Tensor) -> bool {
    let outputs: HashSet<TensorId> = nodes.iter().map(|node| node.output.id()).collect();
    let known = |t: &Tensor| !t.track_op() || t.is_variable() || outputs.contains(&t.id());
    outputs.contains(&loss.id()) && nodes.iter().flat_map(|node| node.op.inputs()).all(known)
}

/// Number of the first operator that has each variable as an input. After the backward pass of that one its gradient is final.
fn first_uses(nodes: &[Node]) -> HashMap<TensorId, usize> {
    let mut first = HashMap::new();
    for (number, node) in nodes.iter().enumerate() {
        for x in node.op.inputs().iter().filter(|x| x.is_variable()) {
            first.entry(x.id()).or_insert(number);
        }
    }
    first
}

/// candle creates a store only in a backward pass; that of a scalar on the CPU is the shortest, and queues nothing on a device.
fn empty_store() -> Result<GradStore> {
    let one = Tensor::new(0f32, &Device::Cpu)?;
    let mut store = one.backward()?;
    store.remove(&one);
    Ok(store)
}

impl Op {
    fn inputs(&self) -> &[Tensor] {
        match self {
            Op::One(x, _) | Op::Reshape(x) | Op::Pad(x, ..) => std::slice::from_ref(x),
            Op::Two(x, _) | Op::Add(x) => x,
            Op::Three(x, _) => x,
            Op::Cat(x) => x,
        }
    }

    /// Propagates the gradient of the output to the inputs.
    fn backward(
        &self,
        output: &Tensor,
        gradient: Tensor,
        into: &mut HashMap<TensorId, Tensor>,
    ) -> candle_core::Result<()> {
        match self {
            Op::One(x, op) => accumulate(into, x, op.bwd(x, output, &gradient)?),
            Op::Two([x, y], op) => {
                let (dx, dy) = op.bwd(x, y, output, &gradient)?;
                accumulate(into, x, dx)?;
                accumulate(into, y, dy)
            }
            Op::Three([x, y, z], op) => {
                let (dx, dy, dz) = op.bwd(x, y, z, output, &gradient)?;
                accumulate(into, x, dx)?;
                accumulate(into, y, dy)?;
                accumulate(into, z, dz)
            }
            Op::Reshape(x) => accumulate(into, x, Some(gradient.reshape(x.shape())?)),
            Op::Cat(parts) => {
                let mut start = 0;
                for x in parts {
                    let len = x.dim(0)?;
                    accumulate(into, x, Some(gradient.narrow(0, start, len)?.contiguous()?))?;
                    start += len;
                }
                Ok(())
            }
            Op::Pad(x, axis, start) => {
                let part = gradient.narrow(*axis, *start, x.dim(*axis)?)?;
                accumulate(into, x, Some(part.contiguous()?))
            }
            Op::Add([x, y]) => {
                accumulate(into, x, Some(gradient.clone()))?;
                accumulate(into, y, Some(gradient))
            }
        }
    }
}

/// Adds a term to the gradient of `x`, if it is needed.
fn accumulate(
    into: &mut HashMap<TensorId, Tensor>,
    x: &Tensor,
    term: Option<Tensor>,
) -> candle_core::Result<()> {
    if let Some(term) = term.filter(|_| x.track_op()) {
        let sum = match into.remove(&x.id()) {
            Some(sum) => sum_of(&sum, &term)?,
            None => term,
        };
        into.insert(x.id(), sum);
    }
    Ok(())
}

/// `a + b`, by a kernel where there is one.
fn sum_of(a: &Tensor, b: &Tensor) -> candle_core::Result<Tensor> {
    #[cfg(feature = "cuda")]
    if route::maps_on_cuda(a) && a.dtype() == b.dtype() && a.is_contiguous() && b.is_contiguous() {
        let (a_storage, a_layout) = a.storage_and_layout();
        let (b_storage, b_layout) = b.storage_and_layout();
        let xs = tallow_cuda::View::locked_numbers("sum", &a_storage, a_layout)?;
        let ys = tallow_cuda::View::locked_numbers("sum", &b_storage, b_layout)?;
        let sum = tallow_cuda::ops::elementwise::add(xs, ys)?;
        return Ok(custom_op::tensor_of(sum, a.shape()));
    }
    if !cpu::has_kernels(a) || !a.is_contiguous() || !b.is_contiguous() {
        return a + b;
    }
    for_float!(a.dtype(), "sum", T => {
        let (a_storage, a_layout) = a.storage_and_layout();
        let (b_storage, b_layout) = b.storage_and_layout();
        let xs = cpu::locked::<T>("sum", &a_storage, a_layout)?;
        let ys = cpu::locked::<T>("sum", &b_storage, b_layout)?;
        // SAFETY: a map writes every element of its result.
        let sum = unsafe { fresh(xs.len(), |sum| map2(xs, ys, sum, #[inline(always)] |x, y| x + y)) };
        custom_op::tensor(sum, a.shape())
    })
}

/// Records an operator on the innermost tape, if there is one.
pub(crate) fn note(output: &Tensor, op: impl FnOnce() -> Op) {
    if output.track_op() {
        TAPES.with_borrow_mut(|tapes| {
            if let Some(nodes) = tapes.last_mut() {
                let (output, op) = (output.clone(), op());
                nodes.push(Node { output, op });
            }
        });
    }
}

/// [`Tensor::apply_op1`], on the tape.
pub(crate) fn apply1(
    x: &Tensor,
    op: impl CustomOp1 + Send + Sync + 'static,
) -> candle_core::Result<Tensor> {
    let op: Arc<Box<dyn CustomOp1 + Send + Sync>> = Arc::new(Box::new(op));
    let x = input(x);
    let output = x.apply_op1_arc(op.clone())?;
    note(&output, || Op::One(x, op));
    Ok(output)
}

/// [`Tensor::apply_op2`], on the tape.
pub(crate) fn apply2(
    x: &Tensor,
    y: &Tensor,
    op: impl CustomOp2 + Send + Sync + 'static,
) -> candle_core::Result<Tensor> {
    let op: Arc<Box<dyn CustomOp2 + Send + Sync>> = Arc::new(Box::new(op));
    let (x, y) = (input(x), input(y));
    let output = x.apply_op2_arc(&y, op.clone())?;
    note(&output, || Op::Two([x, y], op));
    Ok(output)
}

/// [`Tensor::apply_op3`], on the tape.
pub(crate) fn apply3(
    x: &Tensor,
    y: &Tensor,
    z: &Tensor,
    op: impl CustomOp3 + Send + Sync + 'static,
) -> candle_core::Result<Tensor> {
    let op: Arc<Box<dyn CustomOp3 + Send + Sync>> = Arc::new(Box::new(op));
    let (x, y, z) = (input(x), input(y), input(z));
    let output = x.apply_op3_arc(&y, &z, op.clone())?;
    note(&output, || Op::Three([x, y, z], op));
    Ok(output)
}

/// [`Tensor::reshape`] of a contiguous tensor, on the tape.
pub(crate) fn reshape(
    x: &Tensor,
    shape: impl Into<candle_core::Shape>,
) -> candle_core::Result<Tensor> {
    let output = input(x).reshape(shape.into())?;
    if output.id() != x.id() {
        note(&output, || Op::Reshape(x.clone()));
    }
    Ok(output)
}

/// [`Tensor::cat`] along the first axis, on the tape.
pub(crate) fn cat(parts: &[&Tensor]) -> candle_core::Result<Tensor> {
    let output = Tensor::cat(&parts.iter().map(|t| input(t)).collect::<Vec<_>>(), 0)?;
    note(&output, || {
        Op::Cat(parts.iter().map(|t| (*t).clone()).collect())
    });
    Ok(output)
}
