use serde::{Deserialize, Serialize};

use crate::error::Problem;
use crate::moves::Move;
use crate::rng::SampleRng;
use crate::transform::{Kind, Stage, Transform};

/// Mirroring left to right with probability `p` (torchvision's `RandomHorizontalFlip`).
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(deny_unknown_fields)]
pub struct RandomHorizontalFlip {
    /// Probability in `[0, 1]`.
    #[serde(default = "half")]
    pub p: f64,
}

impl RandomHorizontalFlip {
    /// Flip with probability `p`.
    pub fn new(p: f64) -> Self {
        Self { p }
    }
}

impl Default for RandomHorizontalFlip {
    /// Flip of every second image on average.
    fn default() -> Self {
        Self { p: half() }
    }
}

impl Transform for RandomHorizontalFlip {
    fn name(&self) -> &'static str {
        "random-horizontal-flip"
    }

    fn kind(&self) -> Kind {
        Kind::Geometry
    }

    fn check(&self, _: Stage) -> Result<(), Problem> {
        match (0.0..=1.0).contains(&self.p) {
            true => Ok(()),
            false => Err(Problem::Probability(self.p)),
        }
    }

    /// Draws one word.
    fn moves(
        &self,
        _: (usize, usize),
        rng: &mut SampleRng,
        moves: &mut Vec<Move>,
    ) -> Result<(), Problem> {
        if rng.chance(self.p) {
            moves.push(Move::FlipHorizontal);
        }
        Ok(())
    }
}

fn half() -> f64 {
    0.5
}
