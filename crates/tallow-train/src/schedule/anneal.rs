use std::f64::consts::PI;

use serde::{Deserialize, Serialize};

/// Interpolation between two learning rates.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(rename_all = "lowercase")]
pub enum Anneal {
    /// Half a cosine.
    #[default]
    Cos,
    /// Linear.
    Linear,
}

impl Anneal {
    pub(super) fn between(self, start: f64, end: f64, share: f64) -> f64 {
        match self {
            Anneal::Cos => end + (start - end) / 2.0 * ((PI * share).cos() + 1.0),
            Anneal::Linear => start + (end - start) * share,
        }
    }
}
