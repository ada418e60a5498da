use serde::{Deserialize, Serialize};

use crate::error::Problem;
use crate::moves::Move;
use crate::rng::SampleRng;
use crate::transform::{Kind, Stage, Transform};
use crate::values::check_probability;

/// Mirroring top to bottom with probability `p` (torchvision's `RandomVerticalFlip`).
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(deny_unknown_fields)]
pub struct RandomVerticalFlip {
    /// Probability in `[0, 1]`.
    #[serde(default = "half")]
    pub p: f64,
}

impl RandomVerticalFlip {
    /// Flip with probability `p`.
    pub fn new(p: f64) -> Self {
        Self { p }
    }
}

impl Transform for RandomVerticalFlip {
    fn name(&self) -> &'static str {
        "random-vertical-flip"
    }

    fn kind(&self) -> Kind {
        Kind::Geometry
    }

    fn check(&self, _: Stage) -> Result<(), Problem> {
        check_probability(self.p)
    }

    /// Draws one word.
    fn moves(
        &self,
        _: (usize, usize),
        rng: &mut SampleRng,
        moves: &mut Vec<Move>,
    ) -> Result<(), Problem> {
        if rng.chance(self.p) {
            moves.push(Move::FlipVertical);
        }
        Ok(())
    }
}

fn half() -> f64 {
    0.5
}
