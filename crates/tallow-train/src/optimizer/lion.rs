use candle_core::Tensor;
use serde::{Deserialize, Serialize};

use super::adam::check_betas;
use super::params::Settings;
use super::update::{Moments, Real, Update, lerp, previous};
use crate::error::Result;

/// Lion (Chen et al. 2023): steps of one size against the sign of an interpolated momentum, as `timm.optim.Lion`.
///
/// The learning rate is usually a tenth to a third of AdamW's, the weight decay three to ten times as large.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(default, deny_unknown_fields)]
pub struct LionConfig {
    /// Learning rate: the size of the step of every element.
    pub lr: f64,
    /// Share of the momentum in the direction of a step, and decay rate of the momentum, each in `[0, 1)`.
    pub betas: (f64, f64),
    /// Share of a parameter that a step takes away, times the learning rate.
    pub weight_decay: f64,
    /// Maximizes the loss instead of minimizing it.
    pub maximize: bool,
}

impl Default for LionConfig {
    fn default() -> Self {
        Self {
            lr: 1e-4,
            betas: (0.9, 0.99),
            weight_decay: 0.0,
            maximize: false,
        }
    }
}

impl LionConfig {
    pub(super) fn validate(&self) -> Result<()> {
        check_betas(self.betas)
    }

    pub(super) fn update(&self, at: &Settings) -> LionUpdate {
        LionUpdate {
            sign: if self.maximize { -1.0 } else { 1.0 },
            lr: at.lr,
            keep: 1.0 - at.lr * at.weight_decay,
            betas: self.betas,
        }
    }
}

#[derive(Clone, Copy)]
pub(super) struct LionUpdate {
    sign: f64,
    lr: f64,
    keep: f64,
    betas: (f64, f64),
}

impl Update for LionUpdate {
    #[inline(always)]
    fn apply<T: Real>(&self, param: &mut [T], grad: &[T], [m, ..]: Moments<&mut [T]>) {
        let (sign, lr, keep) = (T::of(self.sign), T::of(self.lr), T::of(self.keep));
        let (beta1, beta2) = self.betas;
        let (new1, new2) = (T::of(1.0 - beta1), T::of(1.0 - beta2));
        let zero = T::of(0.0);
        for ((p, &g), m) in param.iter_mut().zip(grad).zip(m) {
            let g = sign * g;
            let direction = *m + new1 * (g - *m);
            let step = if direction > zero {
                lr
            } else if direction < zero {
                zero - lr
            } else {
                zero
            };
            *p = keep * *p - step;
            *m = *m + new2 * (g - *m);
        }
    }

    fn reference(
        &self,
        param: &Tensor,
        grad: &Tensor,
        state: &mut Moments<Option<Tensor>>,
    ) -> candle_core::Result<Tensor> {
        let (beta1, beta2) = self.betas;
        let grad = (grad * self.sign)?;
        let m = previous(&state[0], param)?;
        let direction = lerp(&m, &grad, 1.0 - beta1)?;
        // `Tensor::sign` is 1 at 0.
        let zero = direction.zeros_like()?;
        let sign = (direction.gt(&zero)?.to_dtype(param.dtype())?
            - direction.lt(&zero)?.to_dtype(param.dtype())?)?;
        state[0] = Some(lerp(&m, &grad, 1.0 - beta2)?);
        (param * self.keep)? - (sign * self.lr)?
    }
}
