use serde::{Deserialize, Serialize};

use super::on_either::on_either;
use crate::error::Problem;
use crate::functional::{self, ImageMut};
use crate::image::Image;
use crate::rng::SampleRng;
use crate::transform::{Stage, Transform};
use crate::values::{check_number, check_probability};

/// Inversion of the values at or above a threshold with probability `p` (torchvision's `RandomSolarize`).
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(deny_unknown_fields)]
pub struct RandomSolarize {
    /// Least value that is inverted: 0 to 255 before to-tensor, 0 to 1 after it.
    pub threshold: f64,
    /// Probability in `[0, 1]`.
    #[serde(default = "half")]
    pub p: f64,
}

impl RandomSolarize {
    /// Inversion of the values from `threshold` up with probability `p`.
    pub fn new(threshold: f64, p: f64) -> Self {
        Self { threshold, p }
    }

    /// Draws one word.
    fn apply(&self, image: ImageMut<'_>, rng: &mut SampleRng) -> Result<(), Problem> {
        if rng.chance(self.p) {
            functional::solarize(image, self.threshold);
        }
        Ok(())
    }
}

impl Transform for RandomSolarize {
    fn name(&self) -> &'static str {
        "random-solarize"
    }

    fn check(&self, stage: Stage) -> Result<(), Problem> {
        match stage {
            Stage::U8 => check_number(
                "threshold",
                self.threshold,
                (0.0, 255.0),
                "0 to 255 before to-tensor",
            )?,
            Stage::F32 => check_number(
                "threshold",
                self.threshold,
                (0.0, 1.0),
                "0 to 1 after to-tensor",
            )?,
        }
        check_probability(self.p)
    }

    on_either!();
}

fn half() -> f64 {
    0.5
}
