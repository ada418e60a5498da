use candle_core::Tensor;
use serde::{Deserialize, Serialize};

use super::params::Settings;
use super::update::{Moments, Real, Update, lerp, previous};
use crate::error::{Error, Result, not_negative};

/// RMSprop (Hinton 2012, lecture 6e of "Neural Networks for Machine Learning"), as
/// [`torch.optim.RMSprop`](https://docs.pytorch.org/docs/stable/generated/torch.optim.RMSprop.html).
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(default, deny_unknown_fields)]
pub struct RmsPropConfig {
    /// Learning rate.
    pub lr: f64,
    /// Decay rate of the running average of the gradient's square, in `[0, 1)`.
    pub alpha: f64,
    /// Added to the denominator.
    pub eps: f64,
    /// L2 penalty, added to the gradient.
    pub weight_decay: f64,
    /// Momentum of the steps; 0 keeps no state for it.
    pub momentum: f64,
    /// Divides by the standard deviation of the gradient instead of its root mean square.
    pub centered: bool,
    /// Maximizes the loss instead of minimizing it.
    pub maximize: bool,
}

impl Default for RmsPropConfig {
    fn default() -> Self {
        Self {
            lr: 1e-2,
            alpha: 0.99,
            eps: 1e-8,
            weight_decay: 0.0,
            momentum: 0.0,
            centered: false,
            maximize: false,
        }
    }
}

impl RmsPropConfig {
    pub(super) fn moments(&self) -> &'static [&'static str] {
        match (self.momentum != 0.0, self.centered) {
            (false, false) => &["square_avg"],
            (true, false) => &["square_avg", "momentum_buffer"],
            (false, true) => &["square_avg", "grad_avg"],
            (true, true) => &["square_avg", "grad_avg", "momentum_buffer"],
        }
    }

    pub(super) fn validate(&self) -> Result<()> {
        not_negative("optimizer.eps", self.eps)?;
        not_negative("optimizer.momentum", self.momentum)?;
        match (0.0..1.0).contains(&self.alpha) {
            true => Ok(()),
            false => Err(Error::config(
                "optimizer.alpha",
                format!("{} is not in [0, 1)", self.alpha),
            )),
        }
    }

    pub(super) fn update(&self, at: &Settings) -> RmsPropUpdate {
        RmsPropUpdate {
            sign: if self.maximize { -1.0 } else { 1.0 },
            lr: at.lr,
            weight_decay: at.weight_decay,
            alpha: self.alpha,
            eps: self.eps,
            momentum: self.momentum,
            centered: self.centered,
        }
    }
}

#[derive(Clone, Copy)]
pub(super) struct RmsPropUpdate {
    sign: f64,
    lr: f64,
    weight_decay: f64,
    alpha: f64,
    eps: f64,
    momentum: f64,
    centered: bool,
}

impl RmsPropUpdate {
    /// Updates `average`, and `mean` of the gradient where there is one, and gives the gradient, divided.
    #[inline(always)]
    fn divided<T: Real>(&self, p: T, g: T, average: &mut T, mean: Option<&mut T>) -> T {
        let (alpha, new) = (T::of(self.alpha), T::of(1.0 - self.alpha));
        let g = T::of(self.sign) * g + T::of(self.weight_decay) * p;
        *average = alpha * *average + new * g * g;
        let square = match mean {
            Some(mean) => {
                *mean = *mean + new * (g - *mean);
                *average - *mean * *mean
            }
            None => *average,
        };
        g / (square.root() + T::of(self.eps))
    }
}

impl Update for RmsPropUpdate {
    #[inline(always)]
    fn apply<T: Real>(&self, param: &mut [T], grad: &[T], state: Moments<&mut [T]>) {
        let (lr, momentum) = (T::of(self.lr), T::of(self.momentum));
        let [average, second, third] = state;
        let elements = param.iter_mut().zip(grad).zip(average);
        // A momentum of 0 leaves the buffer as it is, as in PyTorch.
        match (self.momentum != 0.0, self.centered) {
            (false, false) => {
                for ((p, &g), average) in elements {
                    *p = *p - lr * self.divided(*p, g, average, None);
                }
            }
            (false, true) => {
                for (((p, &g), average), mean) in elements.zip(second) {
                    *p = *p - lr * self.divided(*p, g, average, Some(mean));
                }
            }
            (true, false) => {
                for (((p, &g), average), buffer) in elements.zip(second) {
                    *buffer = momentum * *buffer + self.divided(*p, g, average, None);
                    *p = *p - lr * *buffer;
                }
            }
            (true, true) => {
                for ((((p, &g), average), mean), buffer) in elements.zip(second).zip(third) {
                    *buffer = momentum * *buffer + self.divided(*p, g, average, Some(mean));
                    *p = *p - lr * *buffer;
                }
            }
        }
    }

    fn reference(
        &self,
        param: &Tensor,
        grad: &Tensor,
        state: &mut Moments<Option<Tensor>>,
    ) -> candle_core::Result<Tensor> {
        let new = 1.0 - self.alpha;
        let grad = ((grad * self.sign)? + (param * self.weight_decay)?)?;
        let average = ((previous(&state[0], param)? * self.alpha)? + (grad.sqr()? * new)?)?;
        let square = if self.centered {
            let mean = lerp(&previous(&state[1], param)?, &grad, new)?;
            let square = (&average - mean.sqr()?)?;
            state[1] = Some(mean);
            square
        } else {
            average.clone()
        };
        state[0] = Some(average);
        let divided = (grad / (square.sqrt()? + self.eps)?)?;
        let direction = if self.momentum == 0.0 {
            divided
        } else {
            let slot = &mut state[if self.centered { 2 } else { 1 }];
            let buffer = ((previous(slot, param)? * self.momentum)? + divided)?;
            *slot = Some(buffer.clone());
            buffer
        };
        param - (direction * self.lr)?
    }
}
