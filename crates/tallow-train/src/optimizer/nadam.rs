use candle_core::Tensor;
use serde::{Deserialize, Serialize};

use super::adam::check_adam;
use super::params::Settings;
use super::update::{Moments, Real, Update, lerp, previous};
use crate::error::{Result, not_negative};

/// Adam with Nesterov's momentum (Dozat 2016), as
/// [`torch.optim.NAdam`](https://docs.pytorch.org/docs/stable/generated/torch.optim.NAdam.html).
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(default, deny_unknown_fields)]
pub struct NAdamConfig {
    /// Learning rate.
    pub lr: f64,
    /// Decay rates of the running averages of the gradient and of its square, each in `[0, 1)`.
    pub betas: (f64, f64),
    /// Added to the denominator.
    pub eps: f64,
    /// Weight decay: an L2 penalty, added to the gradient, unless `decoupled_weight_decay`.
    pub weight_decay: f64,
    /// Decay of the momentum's warm-up, at least 0.
    pub momentum_decay: f64,
    /// Weight decay as in AdamW: a share of the parameter, times the learning rate.
    pub decoupled_weight_decay: bool,
    /// Maximizes the loss instead of minimizing it.
    pub maximize: bool,
}

impl Default for NAdamConfig {
    fn default() -> Self {
        Self {
            lr: 2e-3,
            betas: (0.9, 0.999),
            eps: 1e-8,
            weight_decay: 0.0,
            momentum_decay: 4e-3,
            decoupled_weight_decay: false,
            maximize: false,
        }
    }
}

impl NAdamConfig {
    pub(super) fn validate(&self) -> Result<()> {
        check_adam(self.betas, self.eps)?;
        not_negative("optimizer.momentum_decay", self.momentum_decay)
    }

    /// Coefficients of a step. Multiplies the product of all momenta so far by that of this step.
    pub(super) fn update(&self, at: &mut Settings) -> NAdamUpdate {
        let t = at.steps as f64;
        let (beta1, beta2) = self.betas;
        let mu = |t: f64| beta1 * (1.0 - 0.5 * 0.96f64.powf(t * self.momentum_decay));
        let (mu, mu_next) = (mu(t), mu(t + 1.0));
        at.mu_product *= mu;
        let (keep, weight_decay) = if self.decoupled_weight_decay {
            (1.0 - at.lr * at.weight_decay, 0.0)
        } else {
            (1.0, at.weight_decay)
        };
        NAdamUpdate {
            sign: if self.maximize { -1.0 } else { 1.0 },
            keep,
            weight_decay,
            betas: self.betas,
            eps: self.eps,
            correction2: 1.0 - beta2.powf(t),
            of_grad: at.lr * (1.0 - mu) / (1.0 - at.mu_product),
            of_average: at.lr * mu_next / (1.0 - at.mu_product * mu_next),
        }
    }
}

#[derive(Clone, Copy)]
pub(super) struct NAdamUpdate {
    sign: f64,
    keep: f64,
    weight_decay: f64,
    betas: (f64, f64),
    eps: f64,
    /// 1 - beta2^t.
    correction2: f64,
    /// Step sizes of the gradient and of its running average.
    of_grad: f64,
    of_average: f64,
}

impl Update for NAdamUpdate {
    #[inline(always)]
    fn apply<T: Real>(&self, param: &mut [T], grad: &[T], [m, v, _]: Moments<&mut [T]>) {
        let (sign, keep, decay) = (T::of(self.sign), T::of(self.keep), T::of(self.weight_decay));
        let (beta1, beta2) = self.betas;
        let (new1, beta2, new2) = (T::of(1.0 - beta1), T::of(beta2), T::of(1.0 - beta2));
        let (correction2, eps) = (T::of(self.correction2), T::of(self.eps));
        let (of_grad, of_average) = (T::of(self.of_grad), T::of(self.of_average));
        for (((p, &g), m), v) in param.iter_mut().zip(grad).zip(m).zip(v) {
            let kept = keep * *p;
            let g = sign * g + decay * *p;
            *m = *m + new1 * (g - *m);
            *v = beta2 * *v + new2 * g * g;
            let denominator = (*v / correction2).root() + eps;
            *p = kept - (of_grad * g + of_average * *m) / denominator;
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
        let denominator = ((&v / self.correction2)?.sqrt()? + self.eps)?;
        let change = (((grad * self.of_grad)? + (&m * self.of_average)?)? / denominator)?;
        (state[0], state[1]) = (Some(m), Some(v));
        (param * self.keep)? - change
    }
}
