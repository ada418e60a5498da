use candle_core::Tensor;
use serde::{Deserialize, Serialize};

use super::adam::check_adam;
use super::params::Settings;
use super::update::{Moments, Real, Update, lerp, previous};
use crate::error::Result;

/// Rectified Adam (Liu et al. 2019): steps of momentum until the variance of the adaptive rate is tractable, then Adam's, scaled. As
/// [`torch.optim.RAdam`](https://docs.pytorch.org/docs/stable/generated/torch.optim.RAdam.html).
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(default, deny_unknown_fields)]
pub struct RAdamConfig {
    /// Learning rate.
    pub lr: f64,
    /// Decay rates of the running averages of the gradient and of its square, each in `[0, 1)`.
    pub betas: (f64, f64),
    /// Added to the denominator.
    pub eps: f64,
    /// Weight decay: an L2 penalty, added to the gradient, unless `decoupled_weight_decay`.
    pub weight_decay: f64,
    /// Weight decay as in AdamW: a share of the parameter, times the learning rate.
    pub decoupled_weight_decay: bool,
    /// Maximizes the loss instead of minimizing it.
    pub maximize: bool,
}

impl Default for RAdamConfig {
    fn default() -> Self {
        Self {
            lr: 1e-3,
            betas: (0.9, 0.999),
            eps: 1e-8,
            weight_decay: 0.0,
            decoupled_weight_decay: false,
            maximize: false,
        }
    }
}

impl RAdamConfig {
    pub(super) fn validate(&self) -> Result<()> {
        check_adam(self.betas, self.eps)
    }

    pub(super) fn update(&self, at: &Settings) -> RAdamUpdate {
        let t = at.steps as f64;
        let (beta1, beta2) = self.betas;
        let correction2 = 1.0 - beta2.powf(t);
        // Length of the simple moving average that the running average of the square amounts to.
        let longest = 2.0 / (1.0 - beta2) - 1.0;
        let length = longest - 2.0 * t * beta2.powf(t) / correction2;
        let rectified = (length > 5.0).then(|| {
            let of = |length: f64| (length - 4.0) * (length - 2.0) / length;
            (of(length) / of(longest)).sqrt() * correction2.sqrt()
        });
        let (keep, weight_decay) = if self.decoupled_weight_decay {
            (1.0 - at.lr * at.weight_decay, 0.0)
        } else {
            (1.0, at.weight_decay)
        };
        RAdamUpdate {
            sign: if self.maximize { -1.0 } else { 1.0 },
            keep,
            weight_decay,
            betas: self.betas,
            eps: self.eps,
            step_size: at.lr / (1.0 - beta1.powf(t)),
            rectified,
        }
    }
}

#[derive(Clone, Copy)]
pub(super) struct RAdamUpdate {
    sign: f64,
    keep: f64,
    weight_decay: f64,
    betas: (f64, f64),
    eps: f64,
    /// lr / (1 - beta1^t).
    step_size: f64,
    /// Factor of Adam's step; `None` for a step of momentum.
    rectified: Option<f64>,
}

impl Update for RAdamUpdate {
    #[inline(always)]
    fn apply<T: Real>(&self, param: &mut [T], grad: &[T], [m, v, _]: Moments<&mut [T]>) {
        let (sign, keep, decay) = (T::of(self.sign), T::of(self.keep), T::of(self.weight_decay));
        let (beta1, beta2) = self.betas;
        let (new1, beta2, new2) = (T::of(1.0 - beta1), T::of(beta2), T::of(1.0 - beta2));
        let (step_size, eps) = (T::of(self.step_size), T::of(self.eps));
        let rectified = self.rectified.map(T::of);
        for (((p, &g), m), v) in param.iter_mut().zip(grad).zip(m).zip(v) {
            let kept = keep * *p;
            let g = sign * g + decay * *p;
            *m = *m + new1 * (g - *m);
            *v = beta2 * *v + new2 * g * g;
            let step = step_size * *m;
            *p = kept
                - match rectified {
                    Some(factor) => step * factor / (v.root() + eps),
                    None => step,
                };
        }
    }

    fn reference(
        &self,
        param: &Tensor,
        grad: &Tensor,
        state: &mut Moments<Option<Tensor>>,
    ) -> candle_core::Result<Tensor> {
        let (beta1, beta2) = self.betas;
        let grad = ((grad * self.sign)? + (param * self.weight_decay)?)?;
        let m = lerp(&previous(&state[0], param)?, &grad, 1.0 - beta1)?;
        let v = ((previous(&state[1], param)? * beta2)? + (grad.sqr()? * (1.0 - beta2))?)?;
        let step = (&m * self.step_size)?;
        let change = match self.rectified {
            Some(factor) => ((step * factor)? / (v.sqrt()? + self.eps)?)?,
            None => step,
        };
        (state[0], state[1]) = (Some(m), Some(v));
        (param * self.keep)? - change
    }
}
