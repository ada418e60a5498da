//! Experiment to be compared with its baseline.

use serde_json::Value;
use tallow_record::Tier;

use crate::claim::Claim;

/// Experiment to be compared with its baseline.
#[derive(Clone, Debug)]
pub struct Plan {
    /// Name of the experiment.
    pub experiment: String,
    /// Tier of the experiment.
    pub tier: Tier,
    /// Seeds of the first round.
    pub seeds: Vec<u64>,
    /// Variants, in the order of the experiment.
    pub variants: Vec<PlannedVariant>,
    /// Claims that must hold whatever the baseline says.
    pub claims: Vec<Claim>,
    /// Command that renews the baseline, for messages.
    pub update_command: String,
}

/// Variant of an experiment.
#[derive(Clone, Debug, PartialEq)]
pub struct PlannedVariant {
    /// Name of the variant.
    pub name: String,
    /// Name of its model.
    pub model: String,
    /// Complete recipe: all that determines the result, except the seed.
    pub recipe: Value,
}

impl Plan {
    /// Variant of this name.
    pub fn variant(&self, name: &str) -> Option<&PlannedVariant> {
        self.variants.iter().find(|variant| variant.name == name)
    }
}
