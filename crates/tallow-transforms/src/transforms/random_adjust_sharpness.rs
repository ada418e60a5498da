use serde::{Deserialize, Serialize};

use super::on_either::on_either;
use crate::error::Problem;
use crate::functional::{self, ImageMut};
use crate::image::Image;
use crate::rng::SampleRng;
use crate::transform::{Stage, Transform};
use crate::values::{check_number, check_probability};

/// Change of the sharpness with probability `p` (torchvision's `RandomAdjustSharpness`).
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(deny_unknown_fields)]
pub struct RandomAdjustSharpness {
    /// 0 smooths, 1 keeps the image, 2 sharpens. Not negative.
    pub sharpness_factor: f64,
    /// Probability in `[0, 1]`.
    #[serde(default = "half")]
    pub p: f64,
}

impl RandomAdjustSharpness {
    /// Sharpness changed by `sharpness_factor` with probability `p`.
    pub fn new(sharpness_factor: f64, p: f64) -> Self {
        Self {
            sharpness_factor,
            p,
        }
    }

    /// Draws one word.
    fn apply(&self, image: ImageMut<'_>, rng: &mut SampleRng) -> Result<(), Problem> {
        if rng.chance(self.p) {
            functional::adjust_sharpness(image, self.sharpness_factor);
        }
        Ok(())
    }
}

impl Transform for RandomAdjustSharpness {
    fn name(&self) -> &'static str {
        "random-adjust-sharpness"
    }

    fn check(&self, _: Stage) -> Result<(), Problem> {
        check_number(
            "sharpness_factor",
            self.sharpness_factor,
            (0.0, f64::MAX),
            "a number of at least 0",
        )?;
        check_probability(self.p)
    }

    on_either!();
}

fn half() -> f64 {
    0.5
}
