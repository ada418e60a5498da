//! Parameters of an optimizer with their state.

use std::cell::RefCell;
use std::collections::HashMap;

use candle_core::backprop::GradStore;
use candle_core::{CpuStorage, DType, Device, InplaceOp2, Layout, Tensor, Var};

use super::ParamRule;
use super::update::Update;
use crate::error::{Error, Result};

/// Parameters, their state and the settings that all optimizers have.
///
/// On the CPU, `f32` and `f64` parameters are updated in place, in one pass over parameter, gradient and state; otherwise by tensor
/// operations with the same result. A parameter without a gradient does not change and its step counter does not advance, as in
/// PyTorch.
pub(super) struct Params {
    pub lr: f64,
    pub weight_decay: f64,
    /// Names of the state tensors: momentum, or Adam's two running averages.
    moments: &'static [&'static str],
    pub(super) slots: Vec<Slot>,
}

/// Parameter with its settings and state.
pub(super) struct Slot {
    name: String,
    var: Var,
    lr_scale: f64,
    /// In place of the optimizer's.
    weight_decay: Option<f64>,
    /// Steps that this parameter has taken.
    steps: u64,
    pub(super) state: State,
}

/// State in the form in which a parameter keeps it.
pub(super) enum State {
    F32([Vec<f32>; 2]),
    F64([Vec<f64>; 2]),
    Tensors([Option<Tensor>; 2]),
}

/// Settings of one step of one parameter.
pub(super) struct Settings {
    pub lr: f64,
    pub weight_decay: f64,
    /// Steps including this one, from 1.
    pub steps: u64,
}

impl Params {
    /// Parameters without weight decay, and a state of zeros.
    pub fn new(params: Vec<(String, Var)>, lr: f64, moments: &'static [&'static str]) -> Self {
        let slots = params.into_iter().map(|(name, var)| Slot {
            lr_scale: 1.0,
            weight_decay: None,
            steps: 0,
            state: State::zeros(moments.len(), &var),
            name,
            var,
        });
        Self {
            lr,
            weight_decay: 0.0,
            moments,
            slots: slots.collect(),
        }
    }

    /// Changes which state is kept, and sets it to zeros.
    pub fn keep(&mut self, moments: &'static [&'static str]) {
        self.moments = moments;
        for slot in &mut self.slots {
            slot.state = State::zeros(moments.len(), &slot.var);
            slot.steps = 0;
        }
    }

    /// Whether steps keep state besides their number.
    pub fn has_state(&self) -> bool {
        !self.moments.is_empty()
    }

    /// Applies to each parameter the first rule that matches it.
    pub fn set_rules(&mut self, rules: &[ParamRule]) -> Result<()> {
        let matches = |rule: &ParamRule, slot: &Slot| rule.matches(&slot.name, slot.var.rank());
        for rule in rules {
            rule.validate()?;
            if !self.slots.iter().any(|slot| matches(rule, slot)) {
                let message = format!("{rule:?} matches no parameter");
                return Err(Error::config("rules", message));
            }
        }
        for slot in &mut self.slots {
            if let Some(rule) = rules.iter().find(|rule| matches(rule, slot)) {
                (slot.lr_scale, slot.weight_decay) = (rule.lr_scale, rule.weight_decay);
            }
        }
        Ok(())
    }

    /// Updates every parameter that has a gradient; `update` gives the numbers of its step, in `f64` as PyTorch computes them.
    pub fn step(&mut self, grads: &GradStore, update: impl Fn(Settings) -> Update) -> Result<()> {
        let mut found = false;
        for slot in &mut self.slots {
            let Some(grad) = grads.get(&slot.var) else {
                continue;
            };
            found = true;
            slot.check(grad)?;
            slot.steps += 1;
            let update = update(Settings {
                lr: self.lr * slot.lr_scale,
                weight_decay: slot.weight_decay.unwrap_or(self.weight_decay),
                steps: slot.steps,
            });
            slot.apply(&update, grad)?;
        }
        if found {
            Ok(())
        } else {
            Err(Error::NoGradients)
        }
    }

    /// State by name: `<parameter>.momentum_buffer`, or `<parameter>.exp_avg` and `<parameter>.exp_avg_sq`, in the parameter's shape,
    /// and `<parameter>.step`, an `i64` scalar.
    pub fn state_dict(&self) -> Result<Vec<(String, Tensor)>> {
        let mut tensors = Vec::new();
        for slot in &self.slots {
            for (index, kind) in self.moments.iter().enumerate() {
                tensors.push((format!("{}.{kind}", slot.name), slot.tensor(index)?));
            }
            let step = Tensor::new(slot.steps as i64, &Device::Cpu)?;
            tensors.push((format!("{}.step", slot.name), step));
        }
        Ok(tensors)
    }

    /// Restores a state from [`state_dict`](Self::state_dict). Changes nothing when names or shapes differ.
    pub fn load_state_dict(&mut self, tensors: &[(String, Tensor)]) -> Result<()> {
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
            let mut moments = [None, None];
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
            let steps = find(format!("{}.step", slot.name))?.to_scalar::<i64>()?;
            let steps = u64::try_from(steps)
                .map_err(|_| wrong(format!("{}.step is {steps}", slot.name)))?;
            expected += 1;
            loaded.push((steps, slot.restored(moments)?));
        }
        if by_name.len() != expected {
            return Err(wrong(format!(
                "{} tensors, expected {expected}: it is of another optimizer or model",
                by_name.len()
            )));
        }
        for (slot, (steps, state)) in self.slots.iter_mut().zip(loaded) {
            slot.steps = steps;
            slot.state = state;
        }
        Ok(())
    }
}

impl State {
    /// State of `moments` tensors as large as `var`.
    fn zeros(moments: usize, var: &Var) -> Self {
        let length = |index| if index < moments { var.elem_count() } else { 0 };
        let lengths = [length(0), length(1)];
        match (var.device().is_cpu(), var.dtype()) {
            (true, DType::F32) => State::F32(lengths.map(|n| vec![0.0; n])),
            (true, DType::F64) => State::F64(lengths.map(|n| vec![0.0; n])),
            _ => State::Tensors([None, None]),
        }
    }
}

impl Slot {
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

    fn apply(&mut self, update: &Update, grad: &Tensor) -> candle_core::Result<()> {
        if let State::Tensors(tensors) = &mut self.state {
            return update.reference(&self.var, grad, tensors);
        }
        let grad = grad.contiguous()?;
        let fused = Fused {
            update,
            state: RefCell::new(&mut self.state),
        };
        self.var.inplace_op2(&grad, &fused)
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
    fn restored(&self, moments: [Option<Tensor>; 2]) -> candle_core::Result<State> {
        fn flat<T: candle_core::WithDType>(t: &Option<Tensor>) -> candle_core::Result<Vec<T>> {
            match t {
                Some(tensor) => tensor.flatten_all()?.to_vec1(),
                None => Ok(Vec::new()),
            }
        }
        Ok(match &self.state {
            State::F32(_) => State::F32([flat(&moments[0])?, flat(&moments[1])?]),
            State::F64(_) => State::F64([flat(&moments[0])?, flat(&moments[1])?]),
            State::Tensors(_) => State::Tensors(moments),
        })
    }
}

/// Update of a parameter in place by [`Update::run`].
struct Fused<'a> {
    update: &'a Update,
    state: RefCell<&'a mut State>,
}

impl InplaceOp2 for Fused<'_> {
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
                self.update.run(&mut p[p0..p1], &g[g0..g1], state);
            }
            (CpuStorage::F64(p), CpuStorage::F64(g), State::F64(state)) => {
                self.update.run(&mut p[p0..p1], &g[g0..g1], state);
            }
            _ => candle_core::bail!("the parameter, its gradient and its state differ in type"),
        }
        Ok(())
    }
}
