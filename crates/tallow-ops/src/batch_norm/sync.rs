//! Batch norm by the statistics of a whole batch, of which each thread has a chunk.

use std::cell::RefCell;
use std::sync::Arc;

use candle_core::{CpuStorage, CustomOp3, Shape, Tensor, Var};

use super::config::{BatchNormConfig, check};
use super::running::move_running;
use crate::custom_op::{self, for_float};
use crate::error::{Error, Result};
use crate::kernels::batch_norm::{self as kernel, Normal};
use crate::kernels::fresh::fresh;
use crate::layout::{Extents, Layout};
use crate::{cpu, tape};

const NAME: &str = "batch_norm_sync";

/// Exchange of numbers between the chunks of a batch: takes those of one chunk, waits for the others, and gives the numbers of all chunks in
/// their order. A chunk without samples has an empty list.
pub type NormExchange = dyn Fn(&[f64]) -> candle_core::Result<Arc<Vec<Vec<f64>>>> + Send + Sync;

/// Exchange of a thread, and the number of norms that it has run.
struct Chunk {
    exchange: Arc<NormExchange>,
    calls: usize,
}

thread_local! {
    static CHUNK: RefCell<Option<Chunk>> = const { RefCell::new(None) };
}

/// Runs `f` with batch norms by the statistics of a whole batch, of which `f` computes one chunk, as `torch.nn.SyncBatchNorm`.
///
/// In training every batch norm of this crate in this thread calls `exchange` in its forward pass, with the statistics of its chunk, and in
/// its backward pass, wherever that runs, with sums of the gradients. The other chunks run the same norms in the same order in threads of
/// their own. Mean and variance are then those of all chunks together, each of which counts by its values. The gradient of the input is
/// that of the sum of the chunks' losses; those of weight and bias are the parts of this chunk, to be added. The running statistics move as
/// by the whole batch, in each chunk.
///
/// The statistics are joined in `f64`, in a binary tree over the places of the chunks. So the results do not depend on where a chunk is
/// computed. Fused operators run as separate ones.
///
/// A norm returns an error if the input is not `f32` or `f64` on the CPU, if `exchange` fails, or if another chunk runs another norm.
///
/// ```
/// use std::sync::Arc;
///
/// use candle_core::{Device, Tensor, Var};
/// use tallow_ops::{BatchNormConfig, batch_norm_train, with_norm_exchange};
///
/// let channel = |value: f32| Var::new(&[value], &Device::Cpu);
/// let (weight, bias) = (channel(1.0)?, channel(0.0)?);
/// let (mean, var) = (channel(0.0)?, channel(1.0)?);
/// let x = Tensor::new(&[1f32, 3.0], &Device::Cpu)?.reshape((2, 1, 1, 1))?;
/// // Two chunks with the same values: what one has, the other has too.
/// let exchange = |own: &[f64]| -> candle_core::Result<_> { Ok(Arc::new(vec![own.to_vec(); 2])) };
/// let config = BatchNormConfig { momentum: 1.0, ..Default::default() };
/// with_norm_exchange(Arc::new(exchange), || batch_norm_train(&x, &weight, &bias, &mean, &var, &config))?;
/// // Four values 1, 3, 1, 3.
/// assert_eq!((mean.to_vec1::<f32>()?, var.to_vec1::<f32>()?), (vec![2.0], vec![4.0 / 3.0]));
/// # Ok::<(), tallow_ops::Error>(())
/// ```
pub fn with_norm_exchange<R>(exchange: Arc<NormExchange>, f: impl FnOnce() -> R) -> R {
    struct Guard(Option<Chunk>);
    impl Drop for Guard {
        fn drop(&mut self) {
            CHUNK.set(self.0.take());
        }
    }
    let _guard = Guard(CHUNK.replace(Some(Chunk { exchange, calls: 0 })));
    f()
}

/// Whether the batch norms of this thread are those of a chunk.
pub(crate) fn is_on() -> bool {
    CHUNK.with_borrow(Option::is_some)
}

/// The next batch norm of this thread, if it is one of a chunk.
pub(super) fn next() -> Option<Call> {
    CHUNK.with_borrow_mut(|chunk| {
        let chunk = chunk.as_mut()?;
        let number = chunk.calls;
        chunk.calls += 1;
        Some(Call {
            exchange: Arc::clone(&chunk.exchange),
            number,
        })
    })
}

/// A batch norm of a chunk.
pub(super) struct Call {
    exchange: Arc<NormExchange>,
    /// Number of the norm in its forward pass, from 0.
    number: usize,
}

/// Numbers at the start of a message: which norm, and which pass.
const HEAD: usize = 1;

impl Call {
    /// Numbers of all chunks, joined in a binary tree. `backward` is the pass.
    fn join<T>(
        &self,
        backward: bool,
        own: impl Iterator<Item = f64>,
        read: impl Fn(&[f64]) -> T,
        join: impl Fn(T, T) -> T,
    ) -> candle_core::Result<T> {
        let head = (2 * self.number + usize::from(backward)) as f64;
        let own: Vec<f64> = std::iter::once(head).chain(own).collect();
        let all = (self.exchange)(&own)?;
        let wrong = |why: &str| {
            let message = format!(
                "{NAME} over the chunks of a batch: {why}; the layers must be the same for all chunks, so that none depends on the samples \
                 or on chance"
            );
            candle_core::Error::Msg(message).bt()
        };
        let is_same = |chunk: &Vec<f64>| chunk.len() == own.len() && chunk[0] == head;
        if !all.iter().all(|chunk| chunk.is_empty() || is_same(chunk)) {
            return Err(wrong("another chunk is at another layer"));
        }
        let parts = all.iter().map(|chunk| chunk.get(HEAD..).map(&read));
        in_tree(parts.collect(), &join).ok_or_else(|| wrong("no chunk has samples"))
    }
}

/// Parts joined in a binary tree over their places, which splits at the largest power of two below their number. A missing one has its place.
fn in_tree<T>(mut parts: Vec<Option<T>>, join: &impl Fn(T, T) -> T) -> Option<T> {
    if parts.len() <= 1 {
        return parts.pop().flatten();
    }
    let right = parts.split_off(parts.len().next_power_of_two() / 2);
    match (in_tree(parts, join), in_tree(right, join)) {
        (Some(a), Some(b)) => Some(join(a, b)),
        (a, b) => a.or(b),
    }
}

/// Number of values of a channel, and of each channel the mean and the sum of the squared distances from it.
struct Spread {
    count: f64,
    mean: Vec<f64>,
    squares: Vec<f64>,
}

impl Spread {
    /// Count, then means, then squares.
    fn read(numbers: &[f64]) -> Self {
        let (count, rest) = numbers.split_at(1);
        let (mean, squares) = rest.split_at(rest.len() / 2);
        Self {
            count: count[0],
            mean: mean.to_vec(),
            squares: squares.to_vec(),
        }
    }

    /// Chan, Golub and LeVeque 1983, equation 2.1.
    fn and(mut self, other: Self) -> Self {
        let count = self.count + other.count;
        for i in 0..self.mean.len() {
            let distance = other.mean[i] - self.mean[i];
            self.mean[i] += distance * (other.count / count);
            self.squares[i] +=
                other.squares[i] + distance * distance * (self.count * other.count / count);
        }
        Self { count, ..self }
    }

    /// Biased variance.
    fn variance(&self) -> Vec<f64> {
        self.squares.iter().map(|s| s / self.count).collect()
    }
}

/// [`batch_norm_train`](super::batch_norm_train) of a chunk.
pub(super) fn batch_norm_train(
    call: Call,
    x: &Tensor,
    weight: &Tensor,
    bias: &Tensor,
    running_mean: &Var,
    running_var: &Var,
    config: &BatchNormConfig,
) -> Result<Tensor> {
    if !cpu::has_kernels(x) {
        let message = format!(
            "over the chunks of a batch the input must be f32 or f64 on the CPU, found {:?} on {:?}",
            x.dtype(),
            x.device().location()
        );
        return Err(Error::Config { op: NAME, message });
    }
    let extents = check(x, weight, bias, running_mean, running_var, config)?;
    let x = x.contiguous()?;
    let own = spread(&x, extents, config.layout)?;
    let numbers = [own.count].into_iter().chain(own.mean).chain(own.squares);
    let whole = call.join(false, numbers, Spread::read, Spread::and)?;
    if whole.count < 2. {
        return Err(Error::Shape {
            op: NAME,
            argument: "input",
            expected: "more than 1 value per channel in training in all chunks of the batch".into(),
            found: x.shape().clone(),
        });
    }
    let variance = whole.variance();
    let op = Train {
        extents,
        layout: config.layout,
        normal: Normal::new(whole.mean.clone(), &variance, config.eps),
        count: whole.count,
        call,
    };
    let y = tape::apply3(&x, &weight.contiguous()?, &bias.contiguous()?, op)?;
    let running = [running_mean, running_var];
    move_running(running, &whole.mean, &variance, whole.count, config)?;
    Ok(y)
}

/// Statistics of a chunk. No tensor stays locked.
fn spread(x: &Tensor, extents: Extents, layout: Layout) -> candle_core::Result<Spread> {
    let (storage, storage_layout) = x.storage_and_layout();
    let moments = for_float!(x.dtype(), NAME, T => {
        let x = cpu::locked::<T>(NAME, &storage, storage_layout)?;
        Ok(kernel::moments(x, extents, layout))
    })?;
    let count = (extents.n * extents.h * extents.w) as f64;
    Ok(Spread {
        count,
        squares: moments.variance.iter().map(|v| v * count).collect(),
        mean: moments.mean,
    })
}

/// Operator of one call: a norm by given statistics, which depend on `x`.
struct Train {
    extents: Extents,
    layout: Layout,
    normal: Normal,
    /// Values of a channel in the whole batch.
    count: f64,
    call: Call,
}

impl CustomOp3 for Train {
    fn name(&self) -> &'static str {
        NAME
    }

    fn cpu_fwd(
        &self,
        x: &CpuStorage,
        x_layout: &candle_core::Layout,
        weight: &CpuStorage,
        weight_layout: &candle_core::Layout,
        bias: &CpuStorage,
        bias_layout: &candle_core::Layout,
    ) -> candle_core::Result<(CpuStorage, Shape)> {
        for_float!(custom_op::dtype(x), self.name(), T => {
            let x = cpu::slice::<T>(self.name(), x, x_layout)?;
            let (weight, bias) = (cpu::slice(self.name(), weight, weight_layout)?, cpu::slice(self.name(), bias, bias_layout)?);
            // SAFETY: a map writes every element of its result.
            let y = unsafe { fresh(x.len(), |y| kernel::forward(x, self.extents, self.layout, &self.normal, weight, bias, y)) };
            Ok((custom_op::storage(y), x_layout.shape().clone()))
        })
    }

    fn bwd(
        &self,
        x: &Tensor,
        weight: &Tensor,
        _bias: &Tensor,
        _y: &Tensor,
        grad: &Tensor,
    ) -> candle_core::Result<(Option<Tensor>, Option<Tensor>, Option<Tensor>)> {
        let (extents, layout, normal) = (self.extents, self.layout, &self.normal);
        let (name, c) = (self.name(), self.extents.c);
        let grad = grad.contiguous()?;
        for_float!(x.dtype(), name, T => {
            let (sum, dot) = {
                let (x_storage, x_layout) = x.storage_and_layout();
                let (g_storage, g_layout) = grad.storage_and_layout();
                let xs = cpu::locked::<T>(name, &x_storage, x_layout)?;
                let gs = cpu::locked::<T>(name, &g_storage, g_layout)?;
                kernel::gradient_sums(xs, gs, extents, layout, normal)
            };
            // No tensor is locked while the others are waited for.
            let own = sum.iter().chain(&dot).copied();
            let add = |mut a: Vec<f64>, b: Vec<f64>| {
                a.iter_mut().zip(b).for_each(|(a, b)| *a += b);
                a
            };
            let whole = self.call.join(true, own, <[f64]>::to_vec, add)?;
            let (whole_sum, whole_dot) = whole.split_at(c);

            let (x_storage, x_layout) = x.storage_and_layout();
            let (w_storage, w_layout) = weight.storage_and_layout();
            let (g_storage, g_layout) = grad.storage_and_layout();
            let xs = cpu::locked::<T>(name, &x_storage, x_layout)?;
            let ws = cpu::locked::<T>(name, &w_storage, w_layout)?;
            let gs = cpu::locked::<T>(name, &g_storage, g_layout)?;
            let sums = (self.count, whole_sum, whole_dot);
            // SAFETY: a map writes every element of its result.
            let dx = unsafe {
                fresh(xs.len(), |dx| kernel::input_gradient([xs, gs], extents, layout, normal, ws, sums, dx))
            };
            let (dw, db) = kernel::parameter_gradients::<T>(&sum, &dot, normal);
            Ok((
                Some(custom_op::tensor(dx, x.shape())?),
                Some(custom_op::tensor(dw, c)?),
                Some(custom_op::tensor(db, c)?),
            ))
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_tree_keeps_the_places_of_missing_parts() {
        let shape = |present: &[bool]| {
            let parts = present.iter().enumerate();
            let parts = parts.map(|(i, &there)| there.then(|| i.to_string()));
            in_tree(parts.collect(), &|a, b| format!("({a}{b})"))
        };
        let found = |present: &[bool]| shape(present).unwrap_or_default();
        assert_eq!(found(&[true; 1]), "0");
        assert_eq!(found(&[true; 4]), "((01)(23))");
        assert_eq!(found(&[true; 7]), "(((01)(23))((45)6))");
        assert_eq!(found(&[false, true, true, true]), "(1(23))");
        assert_eq!(found(&[true, false, false, true]), "(03)");
        assert_eq!((shape(&[false; 3]), shape(&[])), (None, None));
    }
}
