//! How much of an experiment is run: `[tiers.smoke]`, `[tiers.standard]`, `[tiers.full]` of its file.

use std::fmt;

use clap::ValueEnum;
use serde::{Deserialize, Serialize};
use toml::Table;

/// How much of an experiment is run.
#[derive(ValueEnum, Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Tier {
    /// Less data, fewer epochs: all experiments in about three minutes on two cores.
    Smoke,
    /// All experiments in about an hour on two cores.
    Standard,
    /// As published.
    Full,
}

impl Tier {
    /// From the least to the most.
    pub const ALL: [Tier; 3] = [Tier::Smoke, Tier::Standard, Tier::Full];

    /// As on the command line.
    pub fn as_str(self) -> &'static str {
        match self {
            Tier::Smoke => "smoke",
            Tier::Standard => "standard",
            Tier::Full => "full",
        }
    }
}

impl fmt::Display for Tier {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.as_str())
    }
}

/// What a tier changes. The file's own settings are those of the full tier.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct FileTier {
    /// Wall time that it takes on two cores, as measured.
    pub seconds: f64,
    /// In place of the file's.
    pub seeds: Option<Vec<u64>>,
    /// The variants that are run; all of them when empty.
    #[serde(default)]
    pub only: Vec<String>,
    /// In place of the file's.
    pub claims: Option<Vec<String>>,
    /// Worked into every variant, after its own changes.
    #[serde(default)]
    pub data: Table,
    /// The same.
    #[serde(default)]
    pub model: Table,
    /// The same.
    #[serde(default)]
    pub train: Table,
}

/// The tiers that a file has.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct FileTiers {
    smoke: Option<FileTier>,
    standard: Option<FileTier>,
    full: Option<FileTier>,
}

impl FileTiers {
    /// What this tier changes, if the file has it.
    pub fn get(&self, tier: Tier) -> Option<&FileTier> {
        match tier {
            Tier::Smoke => self.smoke.as_ref(),
            Tier::Standard => self.standard.as_ref(),
            Tier::Full => self.full.as_ref(),
        }
    }

    /// Each tier that there is, with its seconds. The full one is always there, its time perhaps unknown.
    pub fn list(&self) -> Vec<(Tier, Option<f64>)> {
        let seconds = |tier| Some((tier, self.get(tier).map(|t| t.seconds)));
        Tier::ALL
            .into_iter()
            .filter_map(seconds)
            .filter(|(tier, seconds)| *tier == Tier::Full || seconds.is_some())
            .collect()
    }
}
