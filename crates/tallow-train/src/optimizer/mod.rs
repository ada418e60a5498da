//! Optimizers, equal to those of PyTorch and timm step by step.

mod adam;
mod adjust_lr;
mod built_in;
mod config;
mod lamb;
mod lars;
mod lion;
mod lookahead;
mod muon;
mod nadam;
mod newton_schulz;
mod norm;
mod params;
mod radam;
mod rmsprop;
mod rule;
mod sgd;
mod update;

use std::path::Path;

use candle_core::backprop::GradStore;
use candle_core::{Device, Tensor};

pub use adam::{AdamConfig, AdamWConfig};
pub use adjust_lr::AdjustLr;
pub use config::{MuonConfig, OptimizerConfig};
pub use lamb::LambConfig;
pub use lars::LarsConfig;
pub use lion::LionConfig;
pub use lookahead::{Lookahead, LookaheadConfig};
pub use nadam::NAdamConfig;
pub use radam::RAdamConfig;
pub use rmsprop::RmsPropConfig;
pub(crate) use rule::Groups;
pub use rule::ParamRule;
pub use sgd::SgdConfig;

use crate::error::{Error, Result};
use crate::files::write_atomic;

/// Optimizer: updates parameters from their gradients.
///
/// [`OptimizerConfig`] names the built-in optimizers, and [`OptimizerConfig::build`] makes them. An optimizer of your own is
/// passed to [`Trainer::with_optimizer`](crate::Trainer::with_optimizer):
///
/// ```
/// use candle_core::backprop::GradStore;
/// use candle_core::{Device, Tensor, Var};
/// use tallow_train::{Optimizer, Result};
///
/// /// Sign descent (Bernstein et al. 2018, without momentum): a step of size `lr` against the sign of each gradient.
/// struct SignSgd {
///     parameters: Vec<(String, Var)>,
///     lr: f64,
/// }
///
/// impl Optimizer for SignSgd {
///     fn step(&mut self, grads: &GradStore) -> Result<()> {
///         for (_, parameter) in &self.parameters {
///             if let Some(grad) = grads.get(parameter) {
///                 let step = (grad.sign()? * self.lr)?;
///                 parameter.set(&(parameter.as_detached_tensor() - step)?)?;
///             }
///         }
///         Ok(())
///     }
///     fn lr(&self) -> f64 {
///         self.lr
///     }
///     fn set_lr(&mut self, lr: f64) {
///         self.lr = lr;
///     }
/// }
///
/// let w = Var::new(&[3f32, -2.0], &Device::Cpu)?;
/// let mut optimizer = SignSgd { parameters: vec![("w".into(), w.clone())], lr: 0.5 };
/// optimizer.step(&w.sqr()?.sum_all()?.backward()?)?;
/// assert_eq!(w.to_vec1::<f32>()?, [2.5, -1.5]);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
pub trait Optimizer {
    /// Updates the parameters from their gradients, with the learning rate [`lr`](Self::lr).
    ///
    /// # Errors
    /// The built-in optimizers fail with [`Error::NoGradients`] when no parameter has a gradient, and with [`Error::GradientShape`] or
    /// [`Error::GradientType`] when a gradient does not fit its parameter.
    fn step(&mut self, grads: &GradStore) -> Result<()>;

    /// Learning rate of the next step.
    fn lr(&self) -> f64;

    /// Sets the learning rate of the next steps.
    fn set_lr(&mut self, lr: f64);

    /// Momentum of the next step: the `momentum` of SGD, `beta1` of Adam. `None`, the default, for an optimizer that has none.
    fn momentum(&self) -> Option<f64> {
        None
    }

    /// Sets the momentum of the next steps, as a schedule that cycles it does. Without effect on an optimizer whose
    /// [`momentum`](Self::momentum) is `None`. Like the learning rate, it is no part of the state: a resumed run sets it again.
    fn set_momentum(&mut self, _momentum: f64) {}

    /// Tells the number of steps of the run, before the first step. Without effect on an optimizer that does not depend on it.
    fn set_total_steps(&mut self, _total: u64) {}

    /// State by name, for checkpoints: everything a step depends on besides settings, learning rate and parameters. Empty by default,
    /// for an optimizer without state.
    fn state_dict(&self) -> Result<Vec<(String, Tensor)>> {
        Ok(Vec::new())
    }

    /// Restores a state from [`state_dict`](Self::state_dict). An implementation checks names and shapes before it changes anything.
    ///
    /// # Errors
    /// [`Error::Config`] when the state is of another optimizer or model.
    fn load_state_dict(&mut self, tensors: &[(String, Tensor)]) -> Result<()> {
        match tensors.first() {
            None => Ok(()),
            Some((name, _)) => Err(Error::config(
                "optimizer state",
                format!("found `{name}`, expected an empty state: it is of another optimizer"),
            )),
        }
    }
}

impl<O: Optimizer + ?Sized> Optimizer for Box<O> {
    fn step(&mut self, grads: &GradStore) -> Result<()> {
        (**self).step(grads)
    }
    fn lr(&self) -> f64 {
        (**self).lr()
    }
    fn set_lr(&mut self, lr: f64) {
        (**self).set_lr(lr);
    }
    fn momentum(&self) -> Option<f64> {
        (**self).momentum()
    }
    fn set_momentum(&mut self, momentum: f64) {
        (**self).set_momentum(momentum);
    }
    fn set_total_steps(&mut self, total: u64) {
        (**self).set_total_steps(total);
    }
    fn state_dict(&self) -> Result<Vec<(String, Tensor)>> {
        (**self).state_dict()
    }
    fn load_state_dict(&mut self, tensors: &[(String, Tensor)]) -> Result<()> {
        (**self).load_state_dict(tensors)
    }
}

/// Writes the state of an optimizer to a safetensors file, atomically.
pub(crate) fn save(optimizer: &dyn Optimizer, path: &Path) -> Result<()> {
    let tensors = optimizer.state_dict()?;
    let bytes = safetensors::serialize(tensors.iter().map(|(name, t)| (name, t)), None)
        .map_err(|error| Error::mismatch(path, error))?;
    write_atomic(path, &bytes)
}

/// Reads the state that [`save`] wrote.
pub(crate) fn load(optimizer: &mut dyn Optimizer, path: &Path) -> Result<()> {
    let bytes = std::fs::read(path).map_err(Error::io(path))?;
    let tensors = candle_core::safetensors::load_buffer(&bytes, &Device::Cpu)
        .map_err(|error| Error::mismatch(path, error))?;
    optimizer
        .load_state_dict(&tensors.into_iter().collect::<Vec<_>>())
        .map_err(|error| Error::mismatch(path, error))
}

#[cfg(test)]
mod tests;
