//! What an optimizer is set to.

use serde::{Deserialize, Serialize};

use crate::{Error, Result};

/// An optimizer and its settings, with PyTorch's names and defaults.
///
/// In TOML: `optimizer = { name = "sgd", lr = 0.01, momentum = 0.5 }`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(tag = "name", rename_all = "lowercase", deny_unknown_fields)]
pub enum OptimizerConfig {
    /// Stochastic gradient descent, as [`torch.optim.SGD`](https://docs.pytorch.org/docs/stable/generated/torch.optim.SGD.html).
    Sgd {
        /// Learning rate.
        lr: f64,
        /// Momentum; 0 keeps no state.
        #[serde(default)]
        momentum: f64,
        /// How much of each new gradient the momentum leaves out; not on a parameter's first step.
        #[serde(default)]
        dampening: f64,
        /// L2 penalty, added to the gradient.
        #[serde(default)]
        weight_decay: f64,
        /// Nesterov's momentum: needs a momentum and no dampening.
        #[serde(default)]
        nesterov: bool,
    },
    /// Adam (Kingma and Ba 2014), as [`torch.optim.Adam`](https://docs.pytorch.org/docs/stable/generated/torch.optim.Adam.html).
    Adam {
        /// Learning rate.
        #[serde(default = "default_lr")]
        lr: f64,
        /// Decay of the running averages of the gradient and of its square.
        #[serde(default = "default_betas")]
        betas: (f64, f64),
        /// Added to the denominator.
        #[serde(default = "default_eps")]
        eps: f64,
        /// L2 penalty, added to the gradient.
        #[serde(default)]
        weight_decay: f64,
    },
    /// Adam with decoupled weight decay (Loshchilov and Hutter 2017), as
    /// [`torch.optim.AdamW`](https://docs.pytorch.org/docs/stable/generated/torch.optim.AdamW.html).
    AdamW {
        /// Learning rate.
        #[serde(default = "default_lr")]
        lr: f64,
        /// Decay of the running averages of the gradient and of its square.
        #[serde(default = "default_betas")]
        betas: (f64, f64),
        /// Added to the denominator.
        #[serde(default = "default_eps")]
        eps: f64,
        /// The share of a parameter that a step takes away, times the learning rate.
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
    /// Plain gradient descent.
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

    /// The learning rate before any schedule.
    pub fn lr(&self) -> f64 {
        match *self {
            Self::Sgd { lr, .. } | Self::Adam { lr, .. } | Self::AdamW { lr, .. } => lr,
        }
    }

    /// The weight decay of parameters that no rule names.
    pub fn weight_decay(&self) -> f64 {
        match *self {
            Self::Sgd { weight_decay, .. }
            | Self::Adam { weight_decay, .. }
            | Self::AdamW { weight_decay, .. } => weight_decay,
        }
    }

    /// Checks the ranges that PyTorch checks.
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

pub(crate) fn not_negative(setting: &'static str, value: f64) -> Result<()> {
    if value.is_finite() && value >= 0.0 {
        return Ok(());
    }
    Err(Error::config(
        setting,
        format!("{value} is not a number of at least 0"),
    ))
}

/// Other settings for some of the parameters: PyTorch's parameter groups, chosen by name or shape.
///
/// The first rule that matches a parameter holds for it. A rule without conditions matches all.
/// To spare biases and batch norm the weight decay: `ParamRule { max_dims: Some(1), weight_decay: Some(0.0), .. }`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ParamRule {
    /// Only parameters whose dotted name contains this.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub name_contains: Option<String>,
    /// Only parameters of at most this many dimensions.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub max_dims: Option<usize>,
    /// Times the learning rate, whatever the schedule makes of it.
    #[serde(default = "one")]
    pub lr_scale: f64,
    /// In place of the optimizer's weight decay.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub weight_decay: Option<f64>,
}

fn one() -> f64 {
    1.0
}

impl Default for ParamRule {
    fn default() -> Self {
        Self {
            name_contains: None,
            max_dims: None,
            lr_scale: 1.0,
            weight_decay: None,
        }
    }
}

impl ParamRule {
    pub(crate) fn matches(&self, name: &str, dims: usize) -> bool {
        self.name_contains
            .as_deref()
            .is_none_or(|part| name.contains(part))
            && self.max_dims.is_none_or(|max| dims <= max)
    }

    pub(crate) fn validate(&self) -> Result<()> {
        not_negative("rules.lr_scale", self.lr_scale)?;
        self.weight_decay
            .map_or(Ok(()), |decay| not_negative("rules.weight_decay", decay))
    }
}
