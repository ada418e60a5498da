use serde::{Deserialize, Serialize};

use super::{Curve, Per, Warmup};

/// Built-in learning-rate schedule and its settings, as PyTorch's schedulers of the same names.
///
/// With a `warmup` the curve starts after it, as in `SequentialLR([LinearLR, curve])`.
///
/// In TOML: `schedule = { curve = { name = "cosine" }, per = "step", warmup = { epochs = 5 } }`.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(deny_unknown_fields)]
pub struct ScheduleConfig {
    /// Learning rate after the warmup.
    #[serde(default)]
    pub curve: Curve,
    /// Unit of time.
    #[serde(default)]
    pub per: Per,
    /// Increase at the start.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub warmup: Option<Warmup>,
}

impl ScheduleConfig {
    /// Constant learning rate.
    pub fn constant() -> Self {
        Self::default()
    }
}
