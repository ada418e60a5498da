//! Gradient descent and Adam, step for step as PyTorch does them.

mod config;
mod state;
mod update;

use std::cell::RefCell;

use candle_core::backprop::GradStore;
use candle_core::{CpuStorage, DType, InplaceOp2, Layout, Tensor, Var};

pub(crate) use config::not_negative;
pub use config::{OptimizerConfig, ParamRule};
use update::Update;

use crate::{Error, Result};

/// Updates parameters from their gradients.
///
/// On the CPU, f32 and f64 parameters are updated in place in one pass over parameter, gradient
/// and state; elsewhere by tensor operations that say the same. A parameter without a gradient
/// is left as it is, and its state does not age, as in PyTorch.
///
/// ```
/// use candle_core::{DType, Device, Var};
/// use tallow_train::{Optimizer, OptimizerConfig};
///
/// let w = Var::new(&[1f32, -2.0], &Device::Cpu)?;
/// let mut optimizer = Optimizer::new(OptimizerConfig::sgd(0.25), vec![("w".into(), w.clone())])?;
/// let loss = w.sqr()?.sum_all()?;
/// optimizer.step(&loss.backward()?)?;
/// assert_eq!(w.to_vec1::<f32>()?, [0.5, -1.0]);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
pub struct Optimizer {
    config: OptimizerConfig,
    lr: f64,
    slots: Vec<Slot>,
}

/// One parameter with its settings and state.
struct Slot {
    name: String,
    var: Var,
    lr_scale: f64,
    weight_decay: f64,
    /// Steps this parameter has taken.
    steps: u64,
    state: State,
}

/// Momentum, or Adam's two running averages.
enum State {
    F32([Vec<f32>; 2]),
    F64([Vec<f64>; 2]),
    Tensors([Option<Tensor>; 2]),
}

impl Optimizer {
    /// An optimizer of these named parameters, all with the same settings.
    pub fn new(config: OptimizerConfig, params: Vec<(String, Var)>) -> Result<Self> {
        Self::with_rules(config, params, &[])
    }

    /// An optimizer whose `rules` set a rate or a weight decay of their own for some parameters.
    ///
    /// Fails when a setting is out of range, or a rule matches no parameter: a misspelt name
    /// should not pass silently.
    pub fn with_rules(
        config: OptimizerConfig,
        params: Vec<(String, Var)>,
        rules: &[ParamRule],
    ) -> Result<Self> {
        config.validate()?;
        for rule in rules {
            rule.validate()?;
            if !params
                .iter()
                .any(|(name, var)| rule.matches(name, var.rank()))
            {
                return Err(Error::config(
                    "rules",
                    format!("{rule:?} matches no parameter"),
                ));
            }
        }
        let slots = params
            .into_iter()
            .map(|(name, var)| {
                let rule = rules.iter().find(|rule| rule.matches(&name, var.rank()));
                Slot {
                    lr_scale: rule.map_or(1.0, |rule| rule.lr_scale),
                    weight_decay: rule
                        .and_then(|rule| rule.weight_decay)
                        .unwrap_or(config.weight_decay()),
                    steps: 0,
                    state: State::new(&config, &var),
                    name,
                    var,
                }
            })
            .collect();
        Ok(Self {
            lr: config.lr(),
            config,
            slots,
        })
    }

    /// The settings.
    pub fn config(&self) -> &OptimizerConfig {
        &self.config
    }

    /// The learning rate of the next step.
    pub fn lr(&self) -> f64 {
        self.lr
    }

    /// Sets the learning rate of the steps to come.
    pub fn set_lr(&mut self, lr: f64) {
        self.lr = lr;
    }

    /// Updates every parameter that has a gradient.
    ///
    /// Fails when no parameter has one, or a gradient differs in shape from its parameter.
    pub fn step(&mut self, grads: &GradStore) -> Result<()> {
        let mut found = self.slots.is_empty();
        for slot in &mut self.slots {
            let Some(grad) = grads.get(&slot.var) else {
                continue;
            };
            found = true;
            slot.steps += 1;
            let update = slot.update(&self.config, self.lr);
            slot.apply(&update, grad)?;
        }
        if found {
            Ok(())
        } else {
            Err(Error::NoGradients)
        }
    }
}

impl State {
    fn new(config: &OptimizerConfig, var: &Var) -> Self {
        let lengths = match *config {
            OptimizerConfig::Sgd { momentum: 0.0, .. } => [0, 0],
            OptimizerConfig::Sgd { .. } => [var.elem_count(), 0],
            _ => [var.elem_count(); 2],
        };
        match (var.device().is_cpu(), var.dtype()) {
            (true, DType::F32) => State::F32(lengths.map(|n| vec![0.0; n])),
            (true, DType::F64) => State::F64(lengths.map(|n| vec![0.0; n])),
            _ => State::Tensors([None, None]),
        }
    }
}

impl Slot {
    /// The numbers of this parameter's step, in f64 as PyTorch computes them.
    fn update(&self, config: &OptimizerConfig, lr: f64) -> Update {
        let lr = lr * self.lr_scale;
        let adam = |betas: (f64, f64), eps: f64, keep: f64, weight_decay: f64| {
            let t = self.steps as f64;
            Update::Adam {
                keep,
                weight_decay,
                betas,
                eps,
                step_size: lr / (1.0 - betas.0.powf(t)),
                correction2_sqrt: (1.0 - betas.1.powf(t)).sqrt(),
            }
        };
        match *config {
            OptimizerConfig::Sgd {
                momentum,
                dampening,
                nesterov,
                ..
            } => Update::Sgd {
                lr,
                weight_decay: self.weight_decay,
                momentum,
                share: if self.steps == 1 {
                    1.0
                } else {
                    1.0 - dampening
                },
                nesterov,
            },
            OptimizerConfig::Adam { betas, eps, .. } => adam(betas, eps, 1.0, self.weight_decay),
            OptimizerConfig::AdamW { betas, eps, .. } => {
                adam(betas, eps, 1.0 - lr * self.weight_decay, 0.0)
            }
        }
    }

    fn apply(&mut self, update: &Update, grad: &Tensor) -> candle_core::Result<()> {
        if grad.shape() != self.var.shape() {
            candle_core::bail!(
                "the gradient of {} has shape {:?}, the parameter {:?}",
                self.name,
                grad.shape(),
                self.var.shape()
            );
        }
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
}

/// Lends the parameter's memory to [`Update::run`].
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
            _ => candle_core::bail!("a parameter and its gradient differ in type"),
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests;
