//! Parameters of an optimizer with their state.

use std::cell::RefCell;
use std::collections::{HashMap, HashSet};

use candle_core::backprop::GradStore;
use candle_core::{CpuStorage, DType, Device, InplaceOp2, Layout, Tensor, Var};

use super::rule::Member;
use super::update::{self, Moments, Update};
use crate::error::{Error, Result};

/// Parameters, their state and the settings that all optimizers have.
///
/// On the CPU, `f32` and `f64` parameters are updated in place, in one pass over parameter, gradient and state; otherwise by tensor
/// operations with the same result. A parameter without a gradient does not change and its step counter does not advance, as in
/// PyTorch.
pub(super) struct Params {
    pub lr: f64,
    pub weight_decay: f64,
    /// Names of the state tensors: momentum, or Adam's running averages.
    moments: &'static [&'static str],
    /// Whether the product of all momenta belongs to the state, as in NAdam.
    keeps_mu_product: bool,
    slots: Vec<Slot>,
}

/// Parameter with its settings and state.
struct Slot {
    name: String,
    var: Var,
    lr_scale: f64,
    /// In place of the optimizer's.
    weight_decay: Option<f64>,
    /// Steps that this parameter has taken.
    steps: u64,
    mu_product: f64,
    state: State,
}

/// State in the form in which a parameter keeps it.
enum State {
    F32(Moments<Vec<f32>>),
    F64(Moments<Vec<f64>>),
    Tensors(Moments<Option<Tensor>>),
}

/// Settings of one step of one parameter.
pub(super) struct Settings {
    pub lr: f64,
    pub weight_decay: f64,
    /// Steps including this one, from 1.
    pub steps: u64,
    /// Product of the momenta of all steps; NAdam multiplies it.
    pub mu_product: f64,
}

/// State of all parameters, checked and in the form in which they keep it.
pub(super) struct Loaded(Vec<(u64, f64, State)>);

impl Params {
    /// Parameters with a state of zeros.
    pub fn new(
        members: Vec<Member>,
        lr: f64,
        weight_decay: f64,
        moments: &'static [&'static str],
    ) -> Self {
        let slots = members.into_iter().map(|member| Slot {
            steps: 0,
            mu_product: 1.0,
            state: State::zeros(moments.len(), &member.var),
            name: member.name,
            var: member.var,
            lr_scale: member.lr_scale,
            weight_decay: member.weight_decay,
        });
        Self {
            lr,
            weight_decay,
            moments,
            keeps_mu_product: false,
            slots: slots.collect(),
        }
    }

    /// Keeps the product of all momenta too.
    pub fn keep_mu_product(mut self) -> Self {
        self.keeps_mu_product = true;
        self
    }

    /// Keeps the state in tensors, for updates by tensor operations.
    pub fn use_tensors(mut self) -> Self {
        for slot in &mut self.slots {
            slot.state = State::Tensors([None, None, None]);
        }
        self
    }

    /// Gradients of the parameters that have one.
    pub fn gradients<'a>(&'a self, grads: &'a GradStore) -> impl Iterator<Item = &'a Tensor> {
        self.slots
            .iter()
            .filter_map(move |slot| grads.get(&slot.var))
    }

    /// Updates every parameter that has a gradient, and tells whether there was any; `update` gives the numbers of its step, in `f64`
    /// as PyTorch computes them.
    pub fn step<U: Update>(
        &mut self,
        grads: &GradStore,
        mut update: impl FnMut(&mut Settings) -> U + Send,
    ) -> Result<bool> {
        #[cfg(feature = "cuda")]
        let mut queue = Vec::new();
        let step = |slot: &mut Slot, grad: &Tensor, mut at: Settings| {
            let update = update(&mut at);
            slot.mu_product = at.mu_product;
            #[cfg(feature = "cuda")]
            if let Some(step) = slot.on_the_device(&update, grad)? {
                queue.push(step);
                return Ok(());
            }
            slot.apply(&update, grad)
        };
        let found = if self.slots.iter().any(Slot::is_shared) {
            // A single change to the threads of the pool, instead of one for each of these parameters, which puts this thread to sleep.
            rayon::scope(|_| self.for_each(grads, step))
        } else {
            self.for_each(grads, step)
        }?;
        // All at once: a launch for each parameter would take longer than its work.
        #[cfg(feature = "cuda")]
        tallow_cuda::ops::optimizer::step(&queue).map_err(candle_core::Error::from)?;
        Ok(found)
    }

    /// Like [`step`](Self::step), for an update that is made of tensor operations alone: from settings, parameter, gradient and state
    /// to the new parameter.
    pub fn step_tensors(
        &mut self,
        grads: &GradStore,
        mut update: impl FnMut(
            &Settings,
            &Tensor,
            &Tensor,
            &mut Moments<Option<Tensor>>,
        ) -> candle_core::Result<Tensor>,
    ) -> Result<bool> {
        self.for_each(grads, |slot, grad, at| match &mut slot.state {
            State::Tensors(state) => {
                let new = update(&at, &slot.var.as_detached_tensor(), &grad.detach(), state)?;
                slot.var.set(&new)
            }
            _ => candle_core::bail!("the state of `{}` is not in tensors", slot.name),
        })
    }

    fn for_each(
        &mut self,
        grads: &GradStore,
        mut step: impl FnMut(&mut Slot, &Tensor, Settings) -> candle_core::Result<()>,
    ) -> Result<bool> {
        let mut found = false;
        for slot in &mut self.slots {
            let Some(grad) = grads.get(&slot.var) else {
                continue;
            };
            found = true;
            slot.check(grad)?;
            slot.steps += 1;
            let at = Settings {
                lr: self.lr * slot.lr_scale,
                weight_decay: slot.weight_decay.unwrap_or(self.weight_decay),
                steps: slot.steps,
                mu_product: slot.mu_product,
            };
            step(slot, grad, at)?;
        }
        Ok(found)
    }

    /// State by name: `<parameter>.momentum_buffer`, or `<parameter>.exp_avg` and `<parameter>.exp_avg_sq`, in the parameter's shape,
    /// and `<parameter>.step`, an `i64` scalar.
    pub fn state_dict(&self) -> Result<Vec<(String, Tensor)>> {
        let mut tensors = Vec::new();
        for slot in &self.slots {
            for (index, kind) in self.moments.iter().enumerate() {
                tensors.push((format!("{}.{kind}", slot.name), slot.tensor(index)?));
            }
            if self.keeps_mu_product {
                let product = Tensor::new(slot.mu_product, &Device::Cpu)?;
                tensors.push((format!("{}.mu_product", slot.name), product));
            }
            let step = Tensor::new(slot.steps as i64, &Device::Cpu)?;
            tensors.push((format!("{}.step", slot.name), step));
        }
        Ok(tensors)
    }

    /// Names that [`state_dict`](Self::state_dict) gives.
    pub fn state_names(&self) -> HashSet<String> {
        let scalars = ["step", "mu_product"].into_iter();
        let scalars = scalars.take(1 + usize::from(self.keeps_mu_product));
        let kinds: Vec<&str> = self.moments.iter().copied().chain(scalars).collect();
        let names = |slot: &Slot| {
            kinds
                .iter()
                .map(|kind| format!("{}.{kind}", slot.name))
                .collect::<Vec<_>>()
        };
        self.slots.iter().flat_map(names).collect()
    }

    /// Checks a state from [`state_dict`](Self::state_dict), which [`accept`](Self::accept) takes.
    pub fn check_state(&self, tensors: &[(String, Tensor)]) -> Result<Loaded> {
        let by_name: HashMap<&str, &Tensor> =
            tensors.iter().map(|(name, t)| (name.as_str(), t)).collect();
        let wrong = |message: String| Error::config("optimizer state", message);
        let find = |name: String| {
            let found = by_name.get(name.as_str()).copied();
            found.ok_or_else(|| wrong(format!("{name} is missing")))
        };
        let mut loaded = Vec::with_capacity(self.slots.len());
        let mut expected = 0;
        for slot in &self.slots {
            let mut moments = [None, None, None];
            for (index, kind) in self.moments.iter().enumerate() {
                let tensor = find(format!("{}.{kind}", slot.name))?;
                if tensor.shape() != slot.var.shape() {
                    return Err(wrong(format!(
                        "{}.{kind} has shape {:?}, the parameter {:?}",
                        slot.name,
                        tensor.shape(),
                        slot.var.shape()
                    )));
                }
                let moved = tensor.to_device(slot.var.device())?;
                moments[index] = Some(moved.to_dtype(slot.var.dtype())?);
                expected += 1;
            }
            let mut mu_product = 1.0;
            if self.keeps_mu_product {
                mu_product = find(format!("{}.mu_product", slot.name))?.to_scalar::<f64>()?;
                expected += 1;
            }
            let steps = find(format!("{}.step", slot.name))?.to_scalar::<i64>()?;
            let steps = u64::try_from(steps)
                .map_err(|_| wrong(format!("{}.step is {steps}", slot.name)))?;
            expected += 1;
            loaded.push((steps, mu_product, slot.restored(moments)?));
        }
        if by_name.len() != expected {
            return Err(wrong(format!(
                "{} tensors, expected {expected}: it is of another optimizer or model",
                by_name.len()
            )));
        }
        Ok(Loaded(loaded))
    }

    /// Replaces the state.
    pub fn accept(&mut self, loaded: Loaded) {
        for (slot, (steps, mu_product, state)) in self.slots.iter_mut().zip(loaded.0) {
            (slot.steps, slot.mu_product, slot.state) = (steps, mu_product, state);
        }
    }
}

impl State {
    /// State of `moments` tensors as large as `var`.
    fn zeros(moments: usize, var: &Var) -> Self {
        let length = |index| if index < moments { var.elem_count() } else { 0 };
        let lengths = [length(0), length(1), length(2)];
        match (var.device().is_cpu(), var.dtype()) {
            (true, DType::F32) => State::F32(lengths.map(|n| vec![0.0; n])),
            (true, DType::F64) => State::F64(lengths.map(|n| vec![0.0; n])),
            _ => State::Tensors([None, None, None]),
        }
    }
}

impl Slot {
    /// Whether several threads update this parameter.
    fn is_shared(&self) -> bool {
        !matches!(self.state, State::Tensors(_)) && self.var.elem_count() > update::CHUNK
    }

    fn check(&self, grad: &Tensor) -> Result<()> {
        if grad.shape() != self.var.shape() {
            return Err(Error::GradientShape {
                name: self.name.clone(),
                expected: self.var.shape().clone(),
                found: grad.shape().clone(),
            });
        }
        if grad.dtype() != self.var.dtype() {
            return Err(Error::GradientType {
                name: self.name.clone(),
                expected: self.var.dtype(),
                found: grad.dtype(),
            });
        }
        Ok(())
    }

    fn apply<U: Update>(&mut self, update: &U, grad: &Tensor) -> candle_core::Result<()> {
        if let State::Tensors(state) = &mut self.state {
            let param = self.var.as_detached_tensor();
            return self
                .var
                .set(&update.reference(&param, &grad.detach(), state)?);
        }
        let grad = grad.contiguous()?;
        let fused = Fused {
            update,
            state: RefCell::new(&mut self.state),
        };
        self.var.inplace_op2(&grad, &fused)
    }

    /// Step of this parameter for the kernel of a CUDA device, if it has one: `f32`, with an update that the kernel knows.
    #[cfg(feature = "cuda")]
    fn on_the_device<U: Update>(
        &mut self,
        update: &U,
        grad: &Tensor,
    ) -> candle_core::Result<Option<tallow_cuda::ops::optimizer::Step>> {
        let known = self.var.device().is_cuda()
            && self.var.dtype() == DType::F32
            && self.var.is_contiguous()
            && self.var.elem_count() > 0;
        let (State::Tensors(moments), Some(rule), true) = (&mut self.state, update.rule(), known)
        else {
            return Ok(None);
        };
        let mut state = Vec::with_capacity(rule.states());
        for moment in moments.iter_mut().take(rule.states()) {
            let tensor = match moment {
                Some(tensor) => tensor.clone(),
                None => moment.insert(self.var.zeros_like()?).clone(),
            };
            state.push(tensor);
        }
        Ok(Some(tallow_cuda::ops::optimizer::Step {
            param: self.var.clone(),
            grad: grad.contiguous()?,
            state,
            rule,
        }))
    }

    fn tensor(&self, index: usize) -> candle_core::Result<Tensor> {
        let shape = self.var.shape();
        match &self.state {
            State::F32(state) => Tensor::from_slice(&state[index], shape, &Device::Cpu),
            State::F64(state) => Tensor::from_slice(&state[index], shape, &Device::Cpu),
            State::Tensors(state) => match &state[index] {
                Some(tensor) => tensor.to_device(&Device::Cpu),
                None => Tensor::zeros(shape, self.var.dtype(), &Device::Cpu),
            },
        }
    }

    /// `moments` in the form in which this parameter keeps them.
    fn restored(&self, moments: Moments<Option<Tensor>>) -> candle_core::Result<State> {
        fn flat<T: candle_core::WithDType>(
            moments: &Moments<Option<Tensor>>,
        ) -> candle_core::Result<Moments<Vec<T>>> {
            let mut all = Moments::default();
            for (values, tensor) in all.iter_mut().zip(moments) {
                if let Some(tensor) = tensor {
                    *values = tensor.flatten_all()?.to_vec1()?;
                }
            }
            Ok(all)
        }
        Ok(match &self.state {
            State::F32(_) => State::F32(flat(&moments)?),
            State::F64(_) => State::F64(flat(&moments)?),
            State::Tensors(_) => {
                // Copies, since a kernel changes them in place, and the tensors may be the caller's.
                let copy = |moment: Option<Tensor>| moment.map(|t| t.copy()).transpose();
                let [a, b, c] = moments;
                State::Tensors([copy(a)?, copy(b)?, copy(c)?])
            }
        })
    }
}

/// Update of a parameter in place by [`update::run`].
struct Fused<'a, U> {
    update: &'a U,
    state: RefCell<&'a mut State>,
}

impl<U: Update> InplaceOp2 for Fused<'_, U> {
    fn name(&self) -> &'static str {
        "optimizer-step"
    }

    fn cpu_fwd(
        &self,
        param: &mut CpuStorage,
        param_layout: &Layout,
        grad: &CpuStorage,
        grad_layout: &Layout,
    ) -> candle_core::Result<()> {
        let (Some((p0, p1)), Some((g0, g1))) = (
            param_layout.contiguous_offsets(),
            grad_layout.contiguous_offsets(),
        ) else {
            candle_core::bail!("the optimizer needs contiguous parameters")
        };
        match (param, grad, &mut **self.state.borrow_mut()) {
            (CpuStorage::F32(p), CpuStorage::F32(g), State::F32(state)) => {
                update::run(self.update, &mut p[p0..p1], &g[g0..g1], state);
            }
            (CpuStorage::F64(p), CpuStorage::F64(g), State::F64(state)) => {
                update::run(self.update, &mut p[p0..p1], &g[g0..g1], state);
            }
            _ => candle_core::bail!("the parameter, its gradient and its state differ in type"),
        }
        Ok(())
    }
}
