//! Tiers in an experiment's file: `[tiers.smoke]`, `[tiers.standard]`, `[tiers.full]`.

use schemars::JsonSchema;
use serde::Deserialize;
use tallow_record::Tier;
use toml::Table;

/// Changes of a tier. The file's own settings are those of the full tier.
#[derive(Debug, Clone, Default, Deserialize, JsonSchema)]
#[schemars(rename = "Tier")]
#[serde(deny_unknown_fields)]
pub(crate) struct FileTier {
    /// Wall time on two cores, measured or estimated.
    pub seconds: f64,
    /// Seeds instead of the file's.
    pub seeds: Option<Vec<u64>>,
    /// Variants to run; all of them if empty.
    #[serde(default)]
    pub only: Vec<String>,
    /// Claims instead of the file's.
    pub claims: Option<Vec<String>>,
    /// Whether the statements are judged: `false` where the training is too short to decide them. `false` in the smoke tier by default.
    pub statements: Option<bool>,
    /// Changes of `[data]` of every variant, after the variant's own.
    #[serde(default)]
    #[schemars(with = "crate::recipe::Data")]
    pub data: Table,
    /// The same for `[model]`.
    #[serde(default)]
    #[schemars(with = "crate::recipe::Model")]
    pub model: Table,
    /// The same for `[train]`.
    #[serde(default)]
    #[schemars(with = "crate::recipe::Train")]
    pub train: Table,
}

/// Tiers of a file.
#[derive(Debug, Clone, Default, Deserialize, JsonSchema)]
#[schemars(rename = "Tiers")]
#[serde(deny_unknown_fields)]
pub(crate) struct FileTiers {
    /// A few seconds, to see that everything works.
    smoke: Option<FileTier>,
    /// Minutes, for a first answer.
    standard: Option<FileTier>,
    /// As published; the settings of the file, unless this changes them.
    full: Option<FileTier>,
}

impl FileTiers {
    /// Changes of a tier, if the file has it.
    pub(crate) fn get(&self, tier: Tier) -> Option<&FileTier> {
        match tier {
            Tier::Smoke => self.smoke.as_ref(),
            Tier::Standard => self.standard.as_ref(),
            Tier::Full => self.full.as_ref(),
        }
    }

    /// Tiers with their seconds. The full tier always exists; its time may be unknown.
    pub(crate) fn list(&self) -> Vec<(Tier, Option<f64>)> {
        let seconds = |tier| Some((tier, self.get(tier).map(|t| t.seconds)));
        Tier::ALL
            .into_iter()
            .filter_map(seconds)
            .filter(|(tier, seconds)| *tier == Tier::Full || seconds.is_some())
            .collect()
    }
}
