use serde::{Deserialize, Serialize};

use super::{
    AdamConfig, AdamWConfig, AdjustLr, LambConfig, LarsConfig, LionConfig, NAdamConfig,
    RAdamConfig, RmsPropConfig, SgdConfig,
};
use crate::error::{Result, not_negative};

/// Built-in optimizer and its settings, with the names and defaults of PyTorch, or of timm where PyTorch lacks it.
///
/// In TOML: `optimizer = { name = "sgd", lr = 0.01, momentum = 0.5 }`.
///
/// ```
/// use candle_core::{Device, Var};
/// use tallow_train::{Optimizer, OptimizerConfig, SgdConfig};
///
/// let w = Var::new(&[1f32, -2.0], &Device::Cpu)?;
/// let config: OptimizerConfig = SgdConfig { lr: 0.25, momentum: 0.9, ..SgdConfig::default() }.into();
/// let mut optimizer = config.build(vec![("w".into(), w.clone())])?;
/// let loss = w.sqr()?.sum_all()?;
/// optimizer.step(&loss.backward()?)?;
/// assert_eq!(w.to_vec1::<f32>()?, [0.5, -1.0]);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(tag = "name", rename_all = "lowercase")]
pub enum OptimizerConfig {
    /// Stochastic gradient descent, with momentum or without: `torch.optim.SGD`.
    Sgd(SgdConfig),
    /// Adam (Kingma and Ba 2014): `torch.optim.Adam`.
    Adam(AdamConfig),
    /// Adam with decoupled weight decay (Loshchilov and Hutter 2017): `torch.optim.AdamW`.
    AdamW(AdamWConfig),
    /// Adam with Nesterov's momentum (Dozat 2016): `torch.optim.NAdam`.
    NAdam(NAdamConfig),
    /// Rectified Adam (Liu et al. 2019): `torch.optim.RAdam`.
    RAdam(RAdamConfig),
    /// RMSprop (Hinton 2012): `torch.optim.RMSprop`.
    RmsProp(RmsPropConfig),
    /// Steps against the sign of a momentum (Chen et al. 2023): `timm.optim.Lion`.
    Lion(LionConfig),
    /// Gradient descent with rates adapted to the norms of the parameters (You et al. 2017): `timm.optim.Lars`.
    Lars(LarsConfig),
    /// Adam with rates adapted to the norms of the parameters (You et al. 2019): `timm.optim.Lamb`.
    Lamb(LambConfig),
    /// Orthogonalized momentum (Jordan et al. 2024) for matrices and the filters of convolutions: `torch.optim.Muon`. `others` takes the
    /// remaining parameters.
    Muon(MuonConfig),
}

/// Evaluates an expression on the settings of any optimizer: all have `lr`, `weight_decay` and `validate`.
macro_rules! settings {
    ($config:expr, $settings:ident => $value:expr) => {
        match $config {
            OptimizerConfig::Sgd($settings) => $value,
            OptimizerConfig::Adam($settings) => $value,
            OptimizerConfig::AdamW($settings) => $value,
            OptimizerConfig::NAdam($settings) => $value,
            OptimizerConfig::RAdam($settings) => $value,
            OptimizerConfig::RmsProp($settings) => $value,
            OptimizerConfig::Lion($settings) => $value,
            OptimizerConfig::Lars($settings) => $value,
            OptimizerConfig::Lamb($settings) => $value,
            OptimizerConfig::Muon($settings) => $value,
        }
    };
}

macro_rules! from_settings {
    ($($variant:ident: $settings:ty),* $(,)?) => {
        $(impl From<$settings> for OptimizerConfig {
            fn from(settings: $settings) -> Self {
                Self::$variant(settings)
            }
        })*
    };
}

from_settings! {
    Sgd: SgdConfig, Adam: AdamConfig, AdamW: AdamWConfig, NAdam: NAdamConfig, RAdam: RAdamConfig, RmsProp: RmsPropConfig,
    Lion: LionConfig, Lars: LarsConfig, Lamb: LambConfig, Muon: MuonConfig,
}

impl OptimizerConfig {
    /// Gradient descent without momentum.
    pub fn sgd(lr: f64) -> Self {
        Self::sgd_momentum(lr, 0.0)
    }

    /// Gradient descent with momentum.
    pub fn sgd_momentum(lr: f64, momentum: f64) -> Self {
        Self::Sgd(SgdConfig {
            lr,
            momentum,
            ..SgdConfig::default()
        })
    }

    /// Adam with PyTorch's defaults.
    pub fn adam(lr: f64) -> Self {
        Self::Adam(AdamConfig {
            lr,
            ..AdamConfig::default()
        })
    }

    /// AdamW with PyTorch's defaults.
    pub fn adamw(lr: f64) -> Self {
        Self::AdamW(AdamWConfig {
            lr,
            ..AdamWConfig::default()
        })
    }

    /// Learning rate before any schedule.
    pub fn lr(&self) -> f64 {
        settings!(self, settings => settings.lr)
    }

    /// Weight decay of parameters that no rule matches.
    pub fn weight_decay(&self) -> f64 {
        settings!(self, settings => settings.weight_decay)
    }

    /// Momentum, or beta1.
    pub(super) fn momentum(&self) -> f64 {
        match self {
            Self::Sgd(c) => c.momentum,
            Self::Adam(c) => c.betas.0,
            Self::AdamW(c) => c.betas.0,
            Self::NAdam(c) => c.betas.0,
            Self::RAdam(c) => c.betas.0,
            Self::RmsProp(c) => c.momentum,
            Self::Lion(c) => c.betas.0,
            Self::Lars(c) => c.momentum,
            Self::Lamb(c) => c.betas.0,
            Self::Muon(c) => c.momentum,
        }
    }

    /// Whether there is state for a momentum.
    pub(super) fn keeps_momentum(&self) -> bool {
        match self {
            Self::Sgd(_) | Self::RmsProp(_) | Self::Lars(_) => self.momentum() != 0.0,
            _ => true,
        }
    }

    pub(super) fn set_momentum(&mut self, momentum: f64) {
        let setting = match self {
            Self::Sgd(c) => &mut c.momentum,
            Self::Adam(c) => &mut c.betas.0,
            Self::AdamW(c) => &mut c.betas.0,
            Self::NAdam(c) => &mut c.betas.0,
            Self::RAdam(c) => &mut c.betas.0,
            Self::RmsProp(c) => &mut c.momentum,
            Self::Lion(c) => &mut c.betas.0,
            Self::Lars(c) => &mut c.momentum,
            Self::Lamb(c) => &mut c.betas.0,
            Self::Muon(c) => &mut c.momentum,
        };
        *setting = momentum;
    }

    /// Checks the ranges of the settings, as PyTorch does.
    pub fn validate(&self) -> Result<()> {
        not_negative("optimizer.lr", self.lr())?;
        not_negative("optimizer.weight_decay", self.weight_decay())?;
        settings!(self, settings => settings.validate())
    }
}

/// Muon (Jordan et al. 2024): momentum, orthogonalized by the iteration of Newton and Schulz, for matrices and for the filters of
/// convolutions. As [`torch.optim.Muon`](https://docs.pytorch.org/docs/stable/generated/torch.optim.Muon.html), but in the type of the
/// parameters instead of `bf16`.
///
/// Filters (O, I, H, W) are matrices (O, I H W), as in airbench94. Muon takes the parameters of at least `min_dims` dimensions that
/// `exclude` does not name and whose first two dimensions are above 1 (which the filters of depthwise convolutions are not, as in timm).
/// `others` takes the rest: biases, norms and what is excluded. The first and last layers of a network are usually excluded too. A
/// schedule scales the rates of both by the same factors; a cycled momentum is Muon's alone.
///
/// `min_dims = 4`, `ns_steps = 3`, `adjust_lr_fn = "none"`, `normalize_weights = true`, `weight_decay = 0` and
/// `others = { name = "sgd", ... }` is Muon of airbench94 (github.com/KellerJordan/cifar10-airbench).
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(default, deny_unknown_fields)]
pub struct MuonConfig {
    /// Learning rate.
    pub lr: f64,
    /// Decoupled weight decay: the share of a parameter that a step takes away, times the learning rate.
    pub weight_decay: f64,
    /// Decay rate of the running average of the gradient, in `[0, 1)`.
    pub momentum: f64,
    /// Nesterov's momentum.
    pub nesterov: bool,
    /// Coefficients of the iteration: `a X + (b A + c A^2) X` with `A = X X^T`.
    pub ns_coefficients: (f64, f64, f64),
    /// Lower limit of the norm by which a matrix is divided.
    pub eps: f64,
    /// Steps of the iteration, below 100.
    pub ns_steps: usize,
    /// Factor of the learning rate from the shape of the matrix.
    pub adjust_lr_fn: AdjustLr,
    /// Scales the filters to the norm `sqrt(O)` before each step, as airbench94.
    pub normalize_weights: bool,
    /// Fewest dimensions of a parameter that Muon takes, at least 2; 4 for the filters of convolutions alone.
    pub min_dims: usize,
    /// Parameters that `others` takes, by name or layer; `*` matches any characters.
    pub exclude: Vec<String>,
    /// Optimizer of the other parameters, with a learning rate of its own.
    pub others: Box<OptimizerConfig>,
}

impl Default for MuonConfig {
    fn default() -> Self {
        Self {
            lr: 1e-3,
            weight_decay: 0.1,
            momentum: 0.95,
            nesterov: true,
            ns_coefficients: (3.4445, -4.775, 2.0315),
            eps: 1e-7,
            ns_steps: 5,
            adjust_lr_fn: AdjustLr::Original,
            normalize_weights: false,
            min_dims: 2,
            exclude: Vec::new(),
            others: Box::new(OptimizerConfig::adamw(1e-3)),
        }
    }
}
