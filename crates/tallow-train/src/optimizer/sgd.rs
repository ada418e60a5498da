use candle_core::backprop::GradStore;
use candle_core::{Tensor, Var};

use super::params::{Params, Settings};
use super::update::Update;
use super::{Optimizer, ParamRule};
use crate::error::Result;

/// Stochastic gradient descent, as [`torch.optim.SGD`](https://docs.pytorch.org/docs/stable/generated/torch.optim.SGD.html).
///
/// ```
/// use candle_core::{Device, Var};
/// use tallow_train::{Optimizer, Sgd};
///
/// let w = Var::new(&[1f32, -2.0], &Device::Cpu)?;
/// let mut optimizer = Sgd::new(vec![("w".into(), w.clone())], 0.25);
/// let loss = w.sqr()?.sum_all()?;
/// optimizer.step(&loss.backward()?)?;
/// assert_eq!(w.to_vec1::<f32>()?, [0.5, -1.0]);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
///
/// Settings are used as they are; [`OptimizerConfig`](super::OptimizerConfig) checks their ranges.
pub struct Sgd {
    momentum: f64,
    dampening: f64,
    nesterov: bool,
    pub(super) params: Params,
}

impl Sgd {
    /// Gradient descent without momentum and weight decay, for these named parameters.
    pub fn new(params: Vec<(String, Var)>, lr: f64) -> Self {
        Self {
            momentum: 0.0,
            dampening: 0.0,
            nesterov: false,
            params: Params::new(params, lr, &[]),
        }
    }

    /// Sets the momentum, and the state to 0.
    pub fn momentum(mut self, momentum: f64) -> Self {
        self.momentum = momentum;
        let moments: &[_] = if momentum == 0.0 {
            &[]
        } else {
            &["momentum_buffer"]
        };
        self.params.keep(moments);
        self
    }

    /// Sets the share of each gradient that does not enter the momentum, except in the first step of a parameter.
    pub fn dampening(mut self, dampening: f64) -> Self {
        self.dampening = dampening;
        self
    }

    /// Turns Nesterov's momentum on or off. It needs a momentum and no dampening.
    pub fn nesterov(mut self, nesterov: bool) -> Self {
        self.nesterov = nesterov;
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

impl Optimizer for Sgd {
    fn step(&mut self, grads: &GradStore) -> Result<()> {
        let (momentum, dampening, nesterov) = (self.momentum, self.dampening, self.nesterov);
        self.params.step(grads, |at: Settings| Update::Sgd {
            lr: at.lr,
            weight_decay: at.weight_decay,
            momentum,
            share: if at.steps == 1 { 1.0 } else { 1.0 - dampening },
            nesterov,
        })
    }

    fn lr(&self) -> f64 {
        self.params.lr
    }

    fn set_lr(&mut self, lr: f64) {
        self.params.lr = lr;
    }

    /// `None` if made without momentum: there is no buffer for it.
    fn momentum(&self) -> Option<f64> {
        self.params.has_state().then_some(self.momentum)
    }

    fn set_momentum(&mut self, momentum: f64) {
        if self.params.has_state() {
            self.momentum = momentum;
        }
    }

    fn state_dict(&self) -> Result<Vec<(String, Tensor)>> {
        self.params.state_dict()
    }

    fn load_state_dict(&mut self, tensors: &[(String, Tensor)]) -> Result<()> {
        self.params.load_state_dict(tensors)
    }
}
