//! Setting of a proposed recipe.

use serde::Serialize;

/// Setting of a recipe with the reason for it.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Choice {
    /// Key of the recipe, such as `train.epochs`.
    pub key: String,
    /// Value as TOML.
    pub value: String,
    /// Reason, a phrase without a full stop.
    pub reason: String,
}
