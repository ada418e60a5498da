use serde::{Deserialize, Serialize};

use super::on_either::on_either;
use crate::error::Problem;
use crate::functional::{self, ImageMut};
use crate::image::Image;
use crate::rng::SampleRng;
use crate::transform::{Stage, Transform};
use crate::values::check_probability;

/// Reduction of each value to its highest bits with probability `p` (torchvision's `RandomPosterize`).
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(deny_unknown_fields)]
pub struct RandomPosterize {
    /// Bits kept, 0 to 8.
    pub bits: u32,
    /// Probability in `[0, 1]`.
    #[serde(default = "half")]
    pub p: f64,
}

impl RandomPosterize {
    /// Reduction to `bits` bits with probability `p`.
    pub fn new(bits: u32, p: f64) -> Self {
        Self { bits, p }
    }

    /// Draws one word.
    fn apply(&self, image: ImageMut<'_>, rng: &mut SampleRng) -> Result<(), Problem> {
        if rng.chance(self.p) {
            functional::posterize(image, self.bits);
        }
        Ok(())
    }
}

impl Transform for RandomPosterize {
    fn name(&self) -> &'static str {
        "random-posterize"
    }

    fn check(&self, _: Stage) -> Result<(), Problem> {
        if self.bits > 8 {
            return Err(Problem::parameter(
                "bits",
                self.bits,
                "a whole number in 0..=8",
            ));
        }
        check_probability(self.p)
    }

    on_either!();
}

fn half() -> f64 {
    0.5
}
