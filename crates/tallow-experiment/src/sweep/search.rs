//! Search of a sweep: the checked content of `[sweep]`.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use tallow_train::Monitor;

use super::parameter::Parameter;
use crate::monitoring::Mode;

/// Choice of the trials of a sweep.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum Method {
    /// All combinations of the values.
    Grid,
    /// Combinations that are drawn at random.
    Random,
    /// Successive halving: all trials begin, and after some epochs the best of them go on.
    Halving,
}

impl Method {
    /// Name in the file.
    pub fn name(self) -> &'static str {
        match self {
            Self::Grid => "grid",
            Self::Random => "random",
            Self::Halving => "halving",
        }
    }
}

/// Search over settings: parameters, and the choice of the trials.
#[derive(Debug, Clone)]
pub(crate) struct Search {
    pub method: Method,
    /// At least one; no key twice, and none inside another.
    pub parameters: Vec<Parameter>,
    /// Variant whose recipe is changed, if it is named.
    pub variant: Option<String>,
    /// Number of trials.
    pub trials: usize,
    /// Seed of trials that are drawn at random; `None` for all combinations.
    pub seed: Option<u64>,
    /// Metric by which trials are compared, and its direction, if they are given.
    pub metric: Option<Monitor>,
    pub mode: Option<Mode>,
    /// One trial in so many goes on to the next rung.
    pub eta: usize,
    /// Epochs of the first rung.
    pub min_epochs: usize,
}
