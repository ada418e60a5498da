use candle_core::Tensor;
use serde::{Deserialize, Serialize};

use super::adam::check_adam;
use super::norm::norm;
use super::params::Settings;
use super::update::{Moments, Real, Update, previous, sum_of_squares};
use crate::error::{Result, not_negative};

/// LAMB (You et al. 2019): Adam whose rate for each parameter follows the ratio of its norm to that of its step, as `timm.optim.Lamb`.
///
/// Parameters without weight decay (`decay_norm_and_bias = false`) are not adapted, unless `always_adapt`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(default, deny_unknown_fields)]
pub struct LambConfig {
    /// Learning rate.
    pub lr: f64,
    /// Decay rates of the running averages of the gradient and of its square, each in `[0, 1)`.
    pub betas: (f64, f64),
    /// Added to the denominator.
    pub eps: f64,
    /// Weight decay, added to Adam's step before its norm is taken.
    pub weight_decay: f64,
    /// Divides the running averages by `1 - beta^t`, as Adam does.
    pub bias_correction: bool,
    /// Weight of a new gradient in its running average: 1 - beta1 if true, else 1.
    pub grad_averaging: bool,
    /// Largest norm of all gradients together, which are scaled down to it; 0 for no limit.
    pub max_grad_norm: f64,
    /// Limits the ratio of the norms to 1: LAMBC.
    pub trust_clip: bool,
    /// Adapts the rate of parameters without weight decay too.
    pub always_adapt: bool,
}

impl Default for LambConfig {
    fn default() -> Self {
        Self {
            lr: 1e-3,
            betas: (0.9, 0.999),
            eps: 1e-6,
            weight_decay: 0.01,
            bias_correction: true,
            grad_averaging: true,
            max_grad_norm: 1.0,
            trust_clip: false,
            always_adapt: false,
        }
    }
}

impl LambConfig {
    pub(super) fn validate(&self) -> Result<()> {
        not_negative("optimizer.max_grad_norm", self.max_grad_norm)?;
        check_adam(self.betas, self.eps)
    }

    /// Divisor of these gradients, by which their norm together is at most `max_grad_norm`.
    pub(super) fn clip<'a>(
        &self,
        grads: impl Iterator<Item = &'a Tensor>,
    ) -> candle_core::Result<f64> {
        if self.max_grad_norm == 0.0 {
            return Ok(1.0);
        }
        let mut sum = 0.0;
        for grad in grads {
            sum += norm(grad)?.powi(2);
        }
        Ok((sum.sqrt() / self.max_grad_norm).max(1.0))
    }

    pub(super) fn update(&self, at: &Settings, clip: f64) -> LambUpdate {
        let t = at.steps as f64;
        let (beta1, beta2) = self.betas;
        let correction = |beta: f64| match self.bias_correction {
            true => 1.0 - beta.powf(t),
            false => 1.0,
        };
        LambUpdate {
            clip,
            betas: self.betas,
            new1: if self.grad_averaging {
                1.0 - beta1
            } else {
                1.0
            },
            eps: self.eps,
            weight_decay: at.weight_decay,
            correction1: correction(beta1),
            correction2_sqrt: correction(beta2).sqrt(),
            lr: at.lr,
            adapted: at.weight_decay != 0.0 || self.always_adapt,
            trust_clip: self.trust_clip,
            ratio: 1.0,
        }
    }
}

#[derive(Clone, Copy)]
pub(super) struct LambUpdate {
    /// Divisor of the gradient.
    clip: f64,
    betas: (f64, f64),
    /// Weight of the gradient in its running average.
    new1: f64,
    eps: f64,
    weight_decay: f64,
    /// 1 - beta1^t.
    correction1: f64,
    /// sqrt(1 - beta2^t).
    correction2_sqrt: f64,
    lr: f64,
    adapted: bool,
    trust_clip: bool,
    /// Factor of the step.
    ratio: f64,
}

impl LambUpdate {
    /// Step before its scaling, from the running averages.
    #[inline(always)]
    fn step<T: Real>(&self, p: T, m: T, v: T) -> T {
        let denominator = v.root() / T::of(self.correction2_sqrt) + T::of(self.eps);
        m / T::of(self.correction1) / denominator + T::of(self.weight_decay) * p
    }
}

impl Update for LambUpdate {
    /// Always: the first pass updates the running averages.
    fn is_layer_wise(&self) -> bool {
        true
    }

    #[inline(always)]
    fn measure<T: Real>(&self, param: &[T], grad: &[T], [m, v, _]: Moments<&mut [T]>) -> [f64; 2] {
        let clip = T::of(self.clip);
        let (beta1, beta2) = self.betas;
        let (beta1, new1) = (T::of(beta1), T::of(self.new1));
        let (new2, beta2) = (T::of(1.0 - beta2), T::of(beta2));
        for ((&g, m), v) in grad.iter().zip(&mut *m).zip(&mut *v) {
            let g = g / clip;
            *m = beta1 * *m + new1 * g;
            *v = beta2 * *v + new2 * g * g;
        }
        if !self.adapted {
            return [0.0; 2];
        }
        // The parts are short, so that the step's elements stay in the first cache.
        const PART: usize = 256;
        let mut steps = [T::of(0.0); PART];
        let mut sum = 0.0;
        for ((p, m), v) in param.chunks(PART).zip(m.chunks(PART)).zip(v.chunks(PART)) {
            for (((step, &p), &m), &v) in steps.iter_mut().zip(p).zip(m).zip(v) {
                *step = self.step(p, m, v);
            }
            sum += sum_of_squares(&steps[..p.len()]);
        }
        [sum_of_squares(param), sum]
    }

    fn with_norms(self, [param, step]: [f64; 2]) -> Self {
        let mut ratio = 1.0;
        if self.adapted && param > 0.0 && step > 0.0 {
            ratio = param / step;
        }
        if self.trust_clip {
            ratio = ratio.min(1.0);
        }
        Self { ratio, ..self }
    }

    #[inline(always)]
    fn apply<T: Real>(&self, param: &mut [T], _: &[T], [m, v, _]: Moments<&mut [T]>) {
        let size = T::of(self.lr * self.ratio);
        for ((p, &mut m), &mut v) in param.iter_mut().zip(m).zip(v) {
            *p = *p - size * self.step(*p, m, v);
        }
    }

    fn reference(
        &self,
        param: &Tensor,
        grad: &Tensor,
        state: &mut Moments<Option<Tensor>>,
    ) -> candle_core::Result<Tensor> {
        let (beta1, beta2) = self.betas;
        let grad = (grad / self.clip)?;
        let m = ((previous(&state[0], param)? * beta1)? + (&grad * self.new1)?)?;
        let v = ((previous(&state[1], param)? * beta2)? + (grad.sqr()? * (1.0 - beta2))?)?;
        let denominator = ((v.sqrt()? / self.correction2_sqrt)? + self.eps)?;
        let step = ((&m / self.correction1)? / denominator)?;
        let step = (step + (param * self.weight_decay)?)?;
        let ratio = match self.adapted {
            true => self.with_norms([norm(param)?, norm(&step)?]).ratio,
            false => 1.0,
        };
        (state[0], state[1]) = (Some(m), Some(v));
        param - (step * (self.lr * ratio))?
    }
}
