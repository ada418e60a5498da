use serde::{Deserialize, Serialize};

use crate::error::{Result, not_negative};

/// Settings for some of the parameters: PyTorch's parameter groups, selected by name or shape.
///
/// The first rule that matches a parameter applies to it. A rule without conditions matches all parameters. Without weight decay for
/// biases and batch norm: `ParamRule { max_dims: Some(1), weight_decay: Some(0.0), ..Default::default() }`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ParamRule {
    /// Condition: the dotted name of the parameter contains this text.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub name_contains: Option<String>,
    /// Condition: the parameter has at most this number of dimensions.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub max_dims: Option<usize>,
    /// Factor of the learning rate that the schedule gives.
    #[serde(default = "one")]
    pub lr_scale: f64,
    /// Weight decay in place of the optimizer's.
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
    pub(super) fn matches(&self, name: &str, dims: usize) -> bool {
        self.name_contains
            .as_deref()
            .is_none_or(|part| name.contains(part))
            && self.max_dims.is_none_or(|max| dims <= max)
    }

    pub(super) fn validate(&self) -> Result<()> {
        not_negative("rules.lr_scale", self.lr_scale)?;
        self.weight_decay
            .map_or(Ok(()), |decay| not_negative("rules.weight_decay", decay))
    }
}
