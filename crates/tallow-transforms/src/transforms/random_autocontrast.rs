use serde::{Deserialize, Serialize};

use super::on_either::on_either;
use crate::error::Problem;
use crate::functional::{self, ImageMut};
use crate::image::Image;
use crate::rng::SampleRng;
use crate::transform::{Stage, Transform};
use crate::values::check_probability;

/// Stretch of each channel to the whole range with probability `p` (torchvision's `RandomAutocontrast`).
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(deny_unknown_fields)]
pub struct RandomAutocontrast {
    /// Probability in `[0, 1]`.
    #[serde(default = "half")]
    pub p: f64,
}

impl RandomAutocontrast {
    /// Stretch with probability `p`.
    pub fn new(p: f64) -> Self {
        Self { p }
    }

    /// Draws one word.
    fn apply(&self, image: ImageMut<'_>, rng: &mut SampleRng) -> Result<(), Problem> {
        if rng.chance(self.p) {
            functional::autocontrast(image);
        }
        Ok(())
    }
}

impl Transform for RandomAutocontrast {
    fn name(&self) -> &'static str {
        "random-autocontrast"
    }

    fn check(&self, _: Stage) -> Result<(), Problem> {
        check_probability(self.p)
    }

    on_either!();
}

fn half() -> f64 {
    0.5
}
