use serde::{Deserialize, Serialize};

use crate::error::Problem;
use crate::moves::Move;
use crate::rng::SampleRng;
use crate::transform::{Kind, Transform};

/// Mirroring left to right in every second epoch (Jordan 2024, "94% on CIFAR-10 in 3.29 Seconds on a Single GPU",
/// arXiv 2404.00498; not in torchvision).
///
/// Half of the samples, drawn from the seed and the index, are mirrored in even epochs, the others in odd ones. So two
/// epochs in a row show every sample both ways, which [`RandomHorizontalFlip`](crate::RandomHorizontalFlip) does for half
/// of them.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(deny_unknown_fields)]
pub struct AlternatingFlip {}

impl AlternatingFlip {
    /// Alternating flip.
    pub fn new() -> Self {
        Self {}
    }
}

impl Transform for AlternatingFlip {
    fn name(&self) -> &'static str {
        "alternating-flip"
    }

    fn kind(&self) -> Kind {
        Kind::Geometry
    }

    /// Draws no word: the side that a sample begins with is the first word of the stream of (seed, 0, index), odd for
    /// mirrored.
    fn moves(
        &self,
        _: (usize, usize),
        rng: &mut SampleRng,
        moves: &mut Vec<Move>,
    ) -> Result<(), Problem> {
        let (seed, epoch, index) = rng.sample();
        let first = SampleRng::new(seed, 0, index).below(2) == 1;
        if first == (epoch % 2 == 0) {
            moves.push(Move::FlipHorizontal);
        }
        Ok(())
    }
}
