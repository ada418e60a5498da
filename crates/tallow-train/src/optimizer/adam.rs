use candle_core::backprop::GradStore;
use candle_core::{Tensor, Var};

use super::params::{Params, Settings};
use super::update::Update;
use super::{Optimizer, ParamRule};
use crate::error::Result;

/// Adam (Kingma and Ba 2014), as [`torch.optim.Adam`](https://docs.pytorch.org/docs/stable/generated/torch.optim.Adam.html).
///
/// Settings are used as they are; [`OptimizerConfig`](super::OptimizerConfig) checks their ranges.
pub struct Adam {
    betas: (f64, f64),
    eps: f64,
    /// Weight decay shrinks the parameter instead of entering the gradient.
    decoupled: bool,
    pub(super) params: Params,
}

impl Adam {
    /// PyTorch's defaults for these named parameters: betas (0.9, 0.999), eps 1e-8, no weight decay.
    pub fn new(params: Vec<(String, Var)>, lr: f64) -> Self {
        Self {
            betas: (0.9, 0.999),
            eps: 1e-8,
            decoupled: false,
            params: Params::new(params, lr, &["exp_avg", "exp_avg_sq"]),
        }
    }

    /// Sets the decay rates of the running averages of the gradient and of its square, each in `[0, 1)`.
    pub fn betas(mut self, betas: (f64, f64)) -> Self {
        self.betas = betas;
        self
    }

    /// Sets the number that is added to the denominator.
    pub fn eps(mut self, eps: f64) -> Self {
        self.eps = eps;
        self
    }

    /// Sets the L2 penalty, which is added to the gradient.
    pub fn weight_decay(mut self, weight_decay: f64) -> Self {
        self.params.weight_decay = weight_decay;
        self
    }

    /// Sets learning rates and penalties of some parameters.
    ///
    /// # Errors
    /// [`Error::Config`](crate::Error::Config) when a rule is out of range or matches no parameter.
    pub fn rules(mut self, rules: &[ParamRule]) -> Result<Self> {
        self.params.set_rules(rules)?;
        Ok(self)
    }
}

impl Optimizer for Adam {
    fn step(&mut self, grads: &GradStore) -> Result<()> {
        let (betas, eps, decoupled) = (self.betas, self.eps, self.decoupled);
        self.params.step(grads, |at: Settings| {
            let t = at.steps as f64;
            let (keep, weight_decay) = if decoupled {
                (1.0 - at.lr * at.weight_decay, 0.0)
            } else {
                (1.0, at.weight_decay)
            };
            Update::Adam {
                keep,
                weight_decay,
                betas,
                eps,
                step_size: at.lr / (1.0 - betas.0.powf(t)),
                correction2_sqrt: (1.0 - betas.1.powf(t)).sqrt(),
            }
        })
    }

    fn lr(&self) -> f64 {
        self.params.lr
    }

    fn set_lr(&mut self, lr: f64) {
        self.params.lr = lr;
    }

    fn momentum(&self) -> Option<f64> {
        Some(self.betas.0)
    }

    fn set_momentum(&mut self, momentum: f64) {
        self.betas.0 = momentum;
    }

    fn state_dict(&self) -> Result<Vec<(String, Tensor)>> {
        self.params.state_dict()
    }

    fn load_state_dict(&mut self, tensors: &[(String, Tensor)]) -> Result<()> {
        self.params.load_state_dict(tensors)
    }
}

/// Adam with decoupled weight decay (Loshchilov and Hutter 2017), as
/// [`torch.optim.AdamW`](https://docs.pytorch.org/docs/stable/generated/torch.optim.AdamW.html).
///
/// Settings are used as they are; [`OptimizerConfig`](super::OptimizerConfig) checks their ranges.
pub struct AdamW(pub(super) Adam);

impl AdamW {
    /// PyTorch's defaults for these named parameters: betas (0.9, 0.999), eps 1e-8, weight decay 0.01.
    pub fn new(params: Vec<(String, Var)>, lr: f64) -> Self {
        let mut adam = Adam::new(params, lr).weight_decay(0.01);
        adam.decoupled = true;
        Self(adam)
    }

    /// Sets the decay rates of the running averages of the gradient and of its square, each in `[0, 1)`.
    pub fn betas(self, betas: (f64, f64)) -> Self {
        Self(self.0.betas(betas))
    }

    /// Sets the number that is added to the denominator.
    pub fn eps(self, eps: f64) -> Self {
        Self(self.0.eps(eps))
    }

    /// Sets the decoupled weight decay: the share of a parameter that a step takes away, times the learning rate.
    pub fn weight_decay(self, weight_decay: f64) -> Self {
        Self(self.0.weight_decay(weight_decay))
    }

    /// Sets learning rates and weight decays of some parameters.
    ///
    /// # Errors
    /// [`Error::Config`](crate::Error::Config) when a rule is out of range or matches no parameter.
    pub fn rules(self, rules: &[ParamRule]) -> Result<Self> {
        self.0.rules(rules).map(Self)
    }
}

impl Optimizer for AdamW {
    fn step(&mut self, grads: &GradStore) -> Result<()> {
        self.0.step(grads)
    }
    fn lr(&self) -> f64 {
        self.0.lr()
    }
    fn set_lr(&mut self, lr: f64) {
        self.0.set_lr(lr);
    }
    fn momentum(&self) -> Option<f64> {
        self.0.momentum()
    }
    fn set_momentum(&mut self, momentum: f64) {
        self.0.set_momentum(momentum);
    }
    fn state_dict(&self) -> Result<Vec<(String, Tensor)>> {
        self.0.state_dict()
    }
    fn load_state_dict(&mut self, tensors: &[(String, Tensor)]) -> Result<()> {
        self.0.load_state_dict(tensors)
    }
}
