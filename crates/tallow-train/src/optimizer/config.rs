use candle_core::Var;
use serde::{Deserialize, Serialize};

use super::{Adam, AdamW, Optimizer, ParamRule, Sgd};
use crate::error::{Error, Result, not_negative};

/// Built-in optimizer and its settings, with PyTorch's names and defaults.
///
/// In TOML: `optimizer = { name = "sgd", lr = 0.01, momentum = 0.5 }`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(tag = "name", rename_all = "lowercase", deny_unknown_fields)]
pub enum OptimizerConfig {
    /// [`Sgd`].
    Sgd {
        /// Learning rate.
        lr: f64,
        /// Momentum; 0 keeps no state.
        #[serde(default)]
        momentum: f64,
        /// Share of each gradient that does not enter the momentum, except in the first step of a parameter.
        #[serde(default)]
        dampening: f64,
        /// L2 penalty, added to the gradient.
        #[serde(default)]
        weight_decay: f64,
        /// Nesterov's momentum; needs a momentum and no dampening.
        #[serde(default)]
        nesterov: bool,
    },
    /// [`Adam`].
    Adam {
        /// Learning rate.
        #[serde(default = "default_lr")]
        lr: f64,
        /// Decay rates of the running averages of the gradient and of its square, each in `[0, 1)`.
        #[serde(default = "default_betas")]
        betas: (f64, f64),
        /// Added to the denominator.
        #[serde(default = "default_eps")]
        eps: f64,
        /// L2 penalty, added to the gradient.
        #[serde(default)]
        weight_decay: f64,
    },
    /// [`AdamW`].
    AdamW {
        /// Learning rate.
        #[serde(default = "default_lr")]
        lr: f64,
        /// Decay rates of the running averages of the gradient and of its square, each in `[0, 1)`.
        #[serde(default = "default_betas")]
        betas: (f64, f64),
        /// Added to the denominator.
        #[serde(default = "default_eps")]
        eps: f64,
        /// Share of a parameter that a step takes away, times the learning rate.
        #[serde(default = "default_decoupled_decay")]
        weight_decay: f64,
    },
}

fn default_lr() -> f64 {
    1e-3
}

fn default_betas() -> (f64, f64) {
    (0.9, 0.999)
}

fn default_eps() -> f64 {
    1e-8
}

fn default_decoupled_decay() -> f64 {
    1e-2
}

impl OptimizerConfig {
    /// Gradient descent without momentum.
    pub fn sgd(lr: f64) -> Self {
        Self::sgd_momentum(lr, 0.0)
    }

    /// Gradient descent with momentum.
    pub fn sgd_momentum(lr: f64, momentum: f64) -> Self {
        Self::Sgd {
            lr,
            momentum,
            dampening: 0.0,
            weight_decay: 0.0,
            nesterov: false,
        }
    }

    /// Adam with PyTorch's defaults.
    pub fn adam(lr: f64) -> Self {
        Self::Adam {
            lr,
            betas: default_betas(),
            eps: default_eps(),
            weight_decay: 0.0,
        }
    }

    /// AdamW with PyTorch's defaults.
    pub fn adamw(lr: f64) -> Self {
        Self::AdamW {
            lr,
            betas: default_betas(),
            eps: default_eps(),
            weight_decay: default_decoupled_decay(),
        }
    }

    /// Learning rate before any schedule.
    pub fn lr(&self) -> f64 {
        match *self {
            Self::Sgd { lr, .. } | Self::Adam { lr, .. } | Self::AdamW { lr, .. } => lr,
        }
    }

    /// Weight decay of parameters that no rule matches.
    pub fn weight_decay(&self) -> f64 {
        match *self {
            Self::Sgd { weight_decay, .. }
            | Self::Adam { weight_decay, .. }
            | Self::AdamW { weight_decay, .. } => weight_decay,
        }
    }

    /// The optimizer of these named parameters, all with the same settings.
    ///
    /// # Errors
    /// As [`build_with_rules`](Self::build_with_rules).
    pub fn build(&self, params: Vec<(String, Var)>) -> Result<Box<dyn Optimizer>> {
        self.build_with_rules(params, &[])
    }

    /// The optimizer of these named parameters, with other learning rates and weight decays for some of them.
    ///
    /// # Errors
    /// [`Error::Config`] when a setting is out of range, or when a rule matches no parameter, as after a typing mistake.
    /// [`Error::NoParameters`] when there is none.
    pub fn build_with_rules(
        &self,
        params: Vec<(String, Var)>,
        rules: &[ParamRule],
    ) -> Result<Box<dyn Optimizer>> {
        self.validate()?;
        if params.is_empty() {
            return Err(Error::NoParameters);
        }
        Ok(match *self {
            Self::Sgd {
                lr,
                momentum,
                dampening,
                weight_decay,
                nesterov,
            } => Box::new(
                Sgd::new(params, lr)
                    .momentum(momentum)
                    .dampening(dampening)
                    .nesterov(nesterov)
                    .weight_decay(weight_decay)
                    .rules(rules)?,
            ),
            Self::Adam {
                lr,
                betas,
                eps,
                weight_decay,
            } => Box::new(
                Adam::new(params, lr)
                    .betas(betas)
                    .eps(eps)
                    .weight_decay(weight_decay)
                    .rules(rules)?,
            ),
            Self::AdamW {
                lr,
                betas,
                eps,
                weight_decay,
            } => Box::new(
                AdamW::new(params, lr)
                    .betas(betas)
                    .eps(eps)
                    .weight_decay(weight_decay)
                    .rules(rules)?,
            ),
        })
    }

    /// Checks the ranges of the settings, as PyTorch does.
    pub fn validate(&self) -> Result<()> {
        not_negative("optimizer.lr", self.lr())?;
        not_negative("optimizer.weight_decay", self.weight_decay())?;
        match *self {
            Self::Sgd {
                momentum,
                dampening,
                nesterov,
                ..
            } => {
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
            }
            Self::Adam { betas, eps, .. } | Self::AdamW { betas, eps, .. } => {
                not_negative("optimizer.eps", eps)?;
                for beta in [betas.0, betas.1] {
                    if !(0.0..1.0).contains(&beta) {
                        return Err(Error::config(
                            "optimizer.betas",
                            format!("{beta} is not in [0, 1)"),
                        ));
                    }
                }
            }
        }
        Ok(())
    }
}
