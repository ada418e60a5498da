//! Size of an experiment: smoke, standard or full.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

use crate::error::Error;

/// Size at which an experiment is run.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Tier {
    /// Less data and fewer epochs: all experiments that have it in about three minutes on two cores.
    Smoke,
    /// All experiments in about an hour on two cores.
    Standard,
    /// As published.
    Full,
}

impl Tier {
    /// All tiers, the smallest first.
    pub const ALL: [Tier; 3] = [Tier::Smoke, Tier::Standard, Tier::Full];

    /// Name, as on the command line and in files.
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

impl FromStr for Tier {
    type Err = Error;

    fn from_str(name: &str) -> Result<Self, Error> {
        let tier = Self::ALL.into_iter().find(|tier| tier.as_str() == name);
        tier.ok_or_else(|| Error::UnknownTier {
            name: name.to_string(),
        })
    }
}
