use candle_core::Tensor;
use serde::{Deserialize, Serialize};

use super::norm::norm;
use super::params::Settings;
use super::sgd::{SgdUpdate, check_momentum};
use super::update::{Moments, Real, Update, sum_of_squares};
use crate::error::{Result, not_negative};

/// LARS (You, Gitman and Ginsburg 2017): gradient descent whose rate for each parameter follows the ratio of its norm to that of its
/// gradient, as `timm.optim.Lars`.
///
/// Parameters without weight decay (`decay_norm_and_bias = false`) are not adapted, unless `always_adapt`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(default, deny_unknown_fields)]
pub struct LarsConfig {
    /// Learning rate.
    pub lr: f64,
    /// Momentum; 0 keeps no state.
    pub momentum: f64,
    /// Share of each gradient that does not enter the momentum, except in the first step of a parameter.
    pub dampening: f64,
    /// L2 penalty, added to the gradient.
    pub weight_decay: f64,
    /// Nesterov's momentum; needs a momentum and no dampening.
    pub nesterov: bool,
    /// Factor of the ratio of the norms.
    pub trust_coeff: f64,
    /// Added to the denominator of the ratio.
    pub eps: f64,
    /// Limits the adapted rate to `lr`: LARC.
    pub trust_clip: bool,
    /// Adapts the rate of parameters without weight decay too.
    pub always_adapt: bool,
}

impl Default for LarsConfig {
    fn default() -> Self {
        Self {
            lr: 1.0,
            momentum: 0.0,
            dampening: 0.0,
            weight_decay: 0.0,
            nesterov: false,
            trust_coeff: 1e-3,
            eps: 1e-8,
            trust_clip: false,
            always_adapt: false,
        }
    }
}

impl LarsConfig {
    pub(super) fn moments(&self) -> &'static [&'static str] {
        match self.momentum == 0.0 {
            true => &[],
            false => &["momentum_buffer"],
        }
    }

    pub(super) fn validate(&self) -> Result<()> {
        not_negative("optimizer.trust_coeff", self.trust_coeff)?;
        not_negative("optimizer.eps", self.eps)?;
        check_momentum(self.momentum, self.dampening, self.nesterov)
    }

    pub(super) fn update(&self, at: &Settings) -> LarsUpdate {
        let first = at.steps == 1;
        LarsUpdate {
            sgd: SgdUpdate {
                lr: at.lr,
                sign: 1.0,
                weight_decay: 0.0,
                momentum: self.momentum,
                share: if first { 1.0 } else { 1.0 - self.dampening },
                nesterov: self.nesterov,
            },
            weight_decay: at.weight_decay,
            trust_coeff: self.trust_coeff,
            eps: self.eps,
            trust_clip: self.trust_clip,
            adapted: at.weight_decay != 0.0 || self.always_adapt,
            ratio: 1.0,
        }
    }
}

#[derive(Clone, Copy)]
pub(super) struct LarsUpdate {
    sgd: SgdUpdate,
    weight_decay: f64,
    trust_coeff: f64,
    eps: f64,
    trust_clip: bool,
    adapted: bool,
    /// Factor of gradient and penalty.
    ratio: f64,
}

impl Update for LarsUpdate {
    fn is_layer_wise(&self) -> bool {
        self.adapted
    }

    #[inline(always)]
    fn measure<T: Real>(&self, param: &[T], grad: &[T], _: Moments<&mut [T]>) -> [f64; 2] {
        [sum_of_squares(param), sum_of_squares(grad)]
    }

    fn with_norms(self, [param, grad]: [f64; 2]) -> Self {
        let mut ratio = 1.0;
        if param > 0.0 && grad > 0.0 {
            ratio = self.trust_coeff * param / (grad + param * self.weight_decay + self.eps);
        }
        if self.trust_clip {
            ratio = (ratio / self.sgd.lr).min(1.0);
        }
        Self { ratio, ..self }
    }

    #[inline(always)]
    fn apply<T: Real>(&self, param: &mut [T], grad: &[T], [buffer, ..]: Moments<&mut [T]>) {
        let sgd = self.sgd;
        let (lr, momentum, share) = (T::of(sgd.lr), T::of(sgd.momentum), T::of(sgd.share));
        let (decay, ratio) = (T::of(self.weight_decay), T::of(self.ratio));
        if sgd.momentum == 0.0 {
            for (p, &g) in param.iter_mut().zip(grad) {
                *p = *p - lr * (ratio * (g + decay * *p));
            }
            return;
        }
        for ((p, &g), m) in param.iter_mut().zip(grad).zip(buffer) {
            let g = ratio * (g + decay * *p);
            *m = momentum * *m + share * g;
            let direction = if sgd.nesterov { g + momentum * *m } else { *m };
            *p = *p - lr * direction;
        }
    }

    fn reference(
        &self,
        param: &Tensor,
        grad: &Tensor,
        state: &mut Moments<Option<Tensor>>,
    ) -> candle_core::Result<Tensor> {
        let update = if self.adapted {
            self.with_norms([norm(param)?, norm(grad)?])
        } else {
            *self
        };
        let adapted = ((grad + (param * self.weight_decay)?)? * update.ratio)?;
        self.sgd.reference(param, &adapted, state)
    }
}
