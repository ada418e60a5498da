use candle_core::Tensor;
use serde::{Deserialize, Serialize};

use super::params::Settings;
use super::update::{Moments, Real, Update, previous};
use crate::error::{Error, Result, not_negative};

/// Stochastic gradient descent, as [`torch.optim.SGD`](https://docs.pytorch.org/docs/stable/generated/torch.optim.SGD.html).
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(deny_unknown_fields)]
pub struct SgdConfig {
    /// Learning rate.
    pub lr: f64,
    /// Momentum; 0 keeps no state.
    #[serde(default)]
    pub momentum: f64,
    /// Share of each gradient that does not enter the momentum, except in the first step of a parameter.
    #[serde(default)]
    pub dampening: f64,
    /// L2 penalty, added to the gradient.
    #[serde(default)]
    pub weight_decay: f64,
    /// Nesterov's momentum; needs a momentum and no dampening.
    #[serde(default)]
    pub nesterov: bool,
    /// Maximizes the loss instead of minimizing it.
    #[serde(default, skip_serializing_if = "crate::unset::is_default")]
    pub maximize: bool,
}

impl Default for SgdConfig {
    fn default() -> Self {
        Self {
            lr: 1e-3,
            momentum: 0.0,
            dampening: 0.0,
            weight_decay: 0.0,
            nesterov: false,
            maximize: false,
        }
    }
}

impl SgdConfig {
    pub(super) fn moments(&self) -> &'static [&'static str] {
        match self.momentum == 0.0 {
            true => &[],
            false => &["momentum_buffer"],
        }
    }

    pub(super) fn validate(&self) -> Result<()> {
        check_momentum(self.momentum, self.dampening, self.nesterov)
    }

    pub(super) fn update(&self, at: &Settings) -> SgdUpdate {
        SgdUpdate {
            lr: at.lr,
            sign: if self.maximize { -1.0 } else { 1.0 },
            weight_decay: at.weight_decay,
            momentum: self.momentum,
            share: if at.steps == 1 {
                1.0
            } else {
                1.0 - self.dampening
            },
            nesterov: self.nesterov,
        }
    }
}

pub(super) fn check_momentum(momentum: f64, dampening: f64, nesterov: bool) -> Result<()> {
    not_negative("optimizer.momentum", momentum)?;
    if !dampening.is_finite() {
        return Err(Error::config(
            "optimizer.dampening",
            format!("{dampening} is not a number"),
        ));
    }
    if nesterov && (momentum == 0.0 || dampening != 0.0) {
        return Err(Error::config(
            "optimizer.nesterov",
            "Nesterov's momentum needs a momentum and no dampening",
        ));
    }
    Ok(())
}

#[derive(Clone, Copy)]
pub(super) struct SgdUpdate {
    pub lr: f64,
    /// Sign of the gradient: -1 to maximize.
    pub sign: f64,
    pub weight_decay: f64,
    pub momentum: f64,
    /// Share of the gradient that enters the momentum: 1 - dampening, 1 in the first step.
    pub share: f64,
    pub nesterov: bool,
}

impl Update for SgdUpdate {
    #[inline(always)]
    fn apply<T: Real>(&self, param: &mut [T], grad: &[T], [buffer, ..]: Moments<&mut [T]>) {
        let (lr, sign, decay) = (T::of(self.lr), T::of(self.sign), T::of(self.weight_decay));
        if self.momentum == 0.0 {
            for (p, &g) in param.iter_mut().zip(grad) {
                *p = *p - lr * (sign * g + decay * *p);
            }
            return;
        }
        let (momentum, share, nesterov) = (T::of(self.momentum), T::of(self.share), self.nesterov);
        for ((p, &g), m) in param.iter_mut().zip(grad).zip(buffer) {
            let g = sign * g + decay * *p;
            *m = momentum * *m + share * g;
            let direction = if nesterov { g + momentum * *m } else { *m };
            *p = *p - lr * direction;
        }
    }

    #[cfg(feature = "cuda")]
    fn rule(&self) -> Option<tallow_cuda::ops::optimizer::Rule> {
        Some(tallow_cuda::ops::optimizer::Rule::Sgd {
            lr: self.lr as f32,
            sign: self.sign as f32,
            weight_decay: self.weight_decay as f32,
            momentum: (self.momentum != 0.0).then_some(self.momentum as f32),
            share: self.share as f32,
            nesterov: self.nesterov,
        })
    }

    fn reference(
        &self,
        param: &Tensor,
        grad: &Tensor,
        state: &mut Moments<Option<Tensor>>,
    ) -> candle_core::Result<Tensor> {
        let grad = ((grad * self.sign)? + (param * self.weight_decay)?)?;
        let direction = if self.momentum == 0.0 {
            grad
        } else {
            let m = ((previous(&state[0], param)? * self.momentum)? + (&grad * self.share)?)?;
            state[0] = Some(m.clone());
            if self.nesterov {
                (grad + (m * self.momentum)?)?
            } else {
                m
            }
        };
        param - (direction * self.lr)?
    }
}
