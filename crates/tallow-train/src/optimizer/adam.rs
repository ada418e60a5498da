use candle_core::Tensor;
use serde::{Deserialize, Serialize};

use super::params::Settings;
use super::update::{Moments, Real, Update, lerp, previous};
use crate::error::{Error, Result, not_negative};

/// Adam (Kingma and Ba 2014), as [`torch.optim.Adam`](https://docs.pytorch.org/docs/stable/generated/torch.optim.Adam.html).
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(default, deny_unknown_fields)]
pub struct AdamConfig {
    /// Learning rate.
    pub lr: f64,
    /// Decay rates of the running averages of the gradient and of its square, each in `[0, 1)`.
    pub betas: (f64, f64),
    /// Added to the denominator.
    pub eps: f64,
    /// L2 penalty, added to the gradient.
    pub weight_decay: f64,
    /// Divides by the largest running average of the square so far: AMSGrad (Reddi et al. 2018).
    #[serde(skip_serializing_if = "crate::unset::is_default")]
    pub amsgrad: bool,
    /// Maximizes the loss instead of minimizing it.
    #[serde(skip_serializing_if = "crate::unset::is_default")]
    pub maximize: bool,
}

impl Default for AdamConfig {
    fn default() -> Self {
        Self {
            lr: 1e-3,
            betas: (0.9, 0.999),
            eps: 1e-8,
            weight_decay: 0.0,
            amsgrad: false,
            maximize: false,
        }
    }
}

/// Adam with decoupled weight decay (Loshchilov and Hutter 2017), as
/// [`torch.optim.AdamW`](https://docs.pytorch.org/docs/stable/generated/torch.optim.AdamW.html).
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(default, deny_unknown_fields)]
pub struct AdamWConfig {
    /// Learning rate.
    pub lr: f64,
    /// Decay rates of the running averages of the gradient and of its square, each in `[0, 1)`.
    pub betas: (f64, f64),
    /// Added to the denominator.
    pub eps: f64,
    /// Share of a parameter that a step takes away, times the learning rate.
    pub weight_decay: f64,
    /// Divides by the largest running average of the square so far: AMSGrad (Reddi et al. 2018).
    #[serde(skip_serializing_if = "crate::unset::is_default")]
    pub amsgrad: bool,
    /// Maximizes the loss instead of minimizing it.
    #[serde(skip_serializing_if = "crate::unset::is_default")]
    pub maximize: bool,
}

impl Default for AdamWConfig {
    fn default() -> Self {
        Self {
            lr: 1e-3,
            betas: (0.9, 0.999),
            eps: 1e-8,
            weight_decay: 1e-2,
            amsgrad: false,
            maximize: false,
        }
    }
}

/// Names of the state of the optimizers of Adam's family.
pub(super) const AVERAGES: &[&str] = &["exp_avg", "exp_avg_sq"];

fn moments(amsgrad: bool) -> &'static [&'static str] {
    match amsgrad {
        true => &["exp_avg", "exp_avg_sq", "max_exp_avg_sq"],
        false => AVERAGES,
    }
}

impl AdamConfig {
    pub(super) fn moments(&self) -> &'static [&'static str] {
        moments(self.amsgrad)
    }

    pub(super) fn validate(&self) -> Result<()> {
        check_adam(self.betas, self.eps)
    }

    pub(super) fn update(&self, at: &Settings) -> AdamUpdate {
        AdamUpdate {
            weight_decay: at.weight_decay,
            ..AdamUpdate::new(at, self.betas, self.eps, self.amsgrad, self.maximize)
        }
    }
}

impl AdamWConfig {
    pub(super) fn moments(&self) -> &'static [&'static str] {
        moments(self.amsgrad)
    }

    pub(super) fn validate(&self) -> Result<()> {
        check_adam(self.betas, self.eps)
    }

    pub(super) fn update(&self, at: &Settings) -> AdamUpdate {
        AdamUpdate {
            keep: 1.0 - at.lr * at.weight_decay,
            ..AdamUpdate::new(at, self.betas, self.eps, self.amsgrad, self.maximize)
        }
    }
}

pub(super) fn check_adam(betas: (f64, f64), eps: f64) -> Result<()> {
    not_negative("optimizer.eps", eps)?;
    check_betas(betas)
}

pub(super) fn check_betas(betas: (f64, f64)) -> Result<()> {
    match [betas.0, betas.1]
        .into_iter()
        .find(|beta| !(0.0..1.0).contains(beta))
    {
        None => Ok(()),
        Some(beta) => Err(Error::config(
            "optimizer.betas",
            format!("{beta} is not in [0, 1)"),
        )),
    }
}

#[derive(Clone, Copy)]
pub(super) struct AdamUpdate {
    /// Sign of the gradient: -1 to maximize.
    sign: f64,
    /// Factor of the parameter before the step: 1 - lr * decay if decoupled, else 1.
    keep: f64,
    /// Added to the gradient per parameter value: 0 if decoupled.
    weight_decay: f64,
    betas: (f64, f64),
    eps: f64,
    /// lr / (1 - beta1^t).
    step_size: f64,
    /// sqrt(1 - beta2^t).
    correction2_sqrt: f64,
    amsgrad: bool,
}

impl AdamUpdate {
    fn new(at: &Settings, betas: (f64, f64), eps: f64, amsgrad: bool, maximize: bool) -> Self {
        let t = at.steps as f64;
        Self {
            sign: if maximize { -1.0 } else { 1.0 },
            keep: 1.0,
            weight_decay: 0.0,
            betas,
            eps,
            step_size: at.lr / (1.0 - betas.0.powf(t)),
            correction2_sqrt: (1.0 - betas.1.powf(t)).sqrt(),
            amsgrad,
        }
    }
}

impl Update for AdamUpdate {
    #[inline(always)]
    fn apply<T: Real>(&self, param: &mut [T], grad: &[T], [m, v, largest]: Moments<&mut [T]>) {
        let (keep, decay, eps) = (T::of(self.keep), T::of(self.weight_decay), T::of(self.eps));
        let sign = T::of(self.sign);
        let (beta1, beta2) = self.betas;
        let (new1, beta2, new2) = (T::of(1.0 - beta1), T::of(beta2), T::of(1.0 - beta2));
        let (step_size, root2) = (T::of(self.step_size), T::of(self.correction2_sqrt));
        let elements = param.iter_mut().zip(grad).zip(m).zip(v);
        if self.amsgrad {
            for ((((p, &g), m), v), largest) in elements.zip(largest) {
                let kept = keep * *p;
                let g = sign * g + decay * *p;
                *m = *m + new1 * (g - *m);
                *v = beta2 * *v + new2 * g * g;
                *largest = if *v > *largest { *v } else { *largest };
                *p = kept - step_size * *m / (largest.root() / root2 + eps);
            }
            return;
        }
        for (((p, &g), m), v) in elements {
            let kept = keep * *p;
            let g = sign * g + decay * *p;
            *m = *m + new1 * (g - *m);
            *v = beta2 * *v + new2 * g * g;
            *p = kept - step_size * *m / (v.root() / root2 + eps);
        }
    }

    #[cfg(feature = "cuda")]
    fn rule(&self) -> Option<tallow_cuda::ops::optimizer::Rule> {
        let (beta1, beta2) = self.betas;
        Some(tallow_cuda::ops::optimizer::Rule::Adam {
            keep: self.keep as f32,
            weight_decay: self.weight_decay as f32,
            eps: self.eps as f32,
            sign: self.sign as f32,
            new1: (1.0 - beta1) as f32,
            beta2: beta2 as f32,
            new2: (1.0 - beta2) as f32,
            step_size: self.step_size as f32,
            root2: self.correction2_sqrt as f32,
            amsgrad: self.amsgrad,
        })
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
        let square = if self.amsgrad {
            let largest = previous(&state[2], param)?.maximum(&v)?;
            state[2] = Some(largest.clone());
            largest
        } else {
            v.clone()
        };
        let denominator = ((square.sqrt()? / self.correction2_sqrt)? + self.eps)?;
        let change = ((&m / denominator)? * self.step_size)?;
        (state[0], state[1]) = (Some(m), Some(v));
        (param * self.keep)? - change
    }
}
