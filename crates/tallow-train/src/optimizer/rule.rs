use std::collections::BTreeMap;

use candle_core::Var;
use serde::{Deserialize, Serialize};

use crate::error::{Error, Result, not_negative};

/// Settings for some of the parameters: PyTorch's parameter groups, selected by name or shape.
///
/// The first rule that matches a parameter applies to it. A rule without conditions matches all parameters. Without weight decay for
/// biases and batch norm: [`TrainConfig::decay_norm_and_bias`](crate::TrainConfig::decay_norm_and_bias), or
/// `ParamRule { max_dims: Some(1), weight_decay: Some(0.0), ..Default::default() }`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
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
    fn matches(&self, name: &str, dims: usize) -> bool {
        self.name_contains
            .as_deref()
            .is_none_or(|part| name.contains(part))
            && self.max_dims.is_none_or(|max| dims <= max)
    }

    fn validate(&self) -> Result<()> {
        not_negative("rules.lr_scale", self.lr_scale)?;
        self.weight_decay
            .map_or(Ok(()), |decay| not_negative("rules.weight_decay", decay))
    }
}

/// Settings that differ between parameters.
pub(crate) struct Groups<'a> {
    pub rules: &'a [ParamRule],
    /// Without it, parameters of at most one dimension and those named `bias` have no weight decay, as in timm, unless a rule sets one.
    pub decay_norm_and_bias: bool,
    /// Factors of the learning rate by the name of a parameter.
    pub lr_scales: &'a BTreeMap<String, f64>,
}

/// Parameter with the settings of its group.
pub(super) struct Member {
    pub name: String,
    pub var: Var,
    /// Factor of the learning rate.
    pub lr_scale: f64,
    /// In place of the optimizer's.
    pub weight_decay: Option<f64>,
}

/// Gives each parameter the settings of the first rule that matches it.
///
/// Fails when a rule or a factor is out of range, or a rule matches no parameter, as after a typing mistake.
pub(super) fn members(params: Vec<(String, Var)>, groups: &Groups) -> Result<Vec<Member>> {
    let rules = groups.rules;
    for scale in groups.lr_scales.values() {
        not_negative("lr_scales", *scale)?;
    }
    for rule in rules {
        rule.validate()?;
        if !params
            .iter()
            .any(|(name, var)| rule.matches(name, var.rank()))
        {
            let message = format!("{rule:?} matches no parameter");
            return Err(Error::config("rules", message));
        }
    }
    let member = |(name, var): (String, Var)| {
        let rule = rules.iter().find(|rule| rule.matches(&name, var.rank()));
        let decays = groups.decay_norm_and_bias || !is_norm_or_bias(&name, var.rank());
        let weight_decay = rule.and_then(|rule| rule.weight_decay);
        Member {
            lr_scale: rule.map_or(1.0, |rule| rule.lr_scale)
                * groups.lr_scales.get(&name).copied().unwrap_or(1.0),
            weight_decay: weight_decay.or((!decays).then_some(0.0)),
            name,
            var,
        }
    };
    Ok(params.into_iter().map(member).collect())
}

fn is_norm_or_bias(name: &str, dims: usize) -> bool {
    dims <= 1 || name.ends_with(".bias")
}
