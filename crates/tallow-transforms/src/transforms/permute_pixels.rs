use serde::{Deserialize, Serialize};

use crate::rng::permutation;
use crate::transform::{Kind, Transform};

/// Fixed permutation of the `H * W` pixels, the same for every sample and channel. torchvision has none.
///
/// The permutation is [`permutation`] of `seed` and the number of pixels.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(deny_unknown_fields)]
pub struct PermutePixels {
    /// Seed of the permutation.
    pub seed: u64,
}

impl PermutePixels {
    /// The permutation of `seed`.
    pub fn new(seed: u64) -> Self {
        Self { seed }
    }
}

impl Transform for PermutePixels {
    fn name(&self) -> &'static str {
        "permute-pixels"
    }

    fn kind(&self) -> Kind {
        Kind::Permutation
    }

    fn is_random(&self) -> bool {
        false
    }

    fn permutation(&self, pixels: u32) -> Vec<u32> {
        permutation(self.seed, pixels)
    }
}
