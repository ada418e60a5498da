use serde::{Deserialize, Serialize};

use crate::error::Problem;
use crate::transform::{Kind, Stage, Transform};

/// Normalization by channel: `(value - mean) / std` in f32 (torchvision's `Normalize`). After to-tensor only.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(deny_unknown_fields)]
pub struct Normalize {
    /// Mean of each channel, or one for all.
    pub mean: Vec<f32>,
    /// Standard deviation of each channel, as many as `mean`, none 0.
    pub std: Vec<f32>,
}

impl Normalize {
    /// Normalization with `mean` and `std`: arrays, slices or vectors.
    pub fn new(mean: impl AsRef<[f32]>, std: impl AsRef<[f32]>) -> Self {
        Self {
            mean: mean.as_ref().to_vec(),
            std: std.as_ref().to_vec(),
        }
    }
}

impl Transform for Normalize {
    fn name(&self) -> &'static str {
        "normalize"
    }

    fn kind(&self) -> Kind {
        Kind::Values
    }

    fn check(&self, stage: Stage) -> Result<(), Problem> {
        let Self { mean, std } = self;
        if stage == Stage::U8 {
            return Err(Problem::BeforeToTensor);
        }
        if mean.is_empty() || mean.len() != std.len() {
            return Err(Problem::Lengths {
                mean: mean.len(),
                std: std.len(),
            });
        }
        if let Some(mean) = mean.iter().find(|mean| !mean.is_finite()) {
            return Err(Problem::Mean(*mean));
        }
        match std.iter().find(|std| **std == 0.0 || !std.is_finite()) {
            Some(std) => Err(Problem::Std(*std)),
            None => Ok(()),
        }
    }

    fn is_random(&self) -> bool {
        false
    }

    fn channels(&self, channels: Option<usize>) -> Result<Option<usize>, Problem> {
        match (self.mean.len(), channels) {
            (1, _) => Ok(channels),
            (expected, Some(found)) if expected != found => {
                Err(Problem::Channels { expected, found })
            }
            (expected, _) => Ok(Some(expected)),
        }
    }

    fn map_f32(&self, values: &mut [f32], channel: usize) {
        let (mean, std) = (
            self.mean[channel % self.mean.len()],
            self.std[channel % self.std.len()],
        );
        for value in values {
            *value = (*value - mean) / std;
        }
    }
}
