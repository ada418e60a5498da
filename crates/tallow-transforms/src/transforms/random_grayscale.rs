use serde::{Deserialize, Serialize};

use super::on_either::on_either;
use crate::error::Problem;
use crate::functional::{self, ImageMut};
use crate::image::Image;
use crate::rng::SampleRng;
use crate::transform::{Stage, Transform};
use crate::values::{check_grey_or_rgb, check_probability};

/// Grey values in all channels with probability `p` (torchvision's `RandomGrayscale`). A grey image is kept.
///
/// The formulas are those of [`Grayscale`](crate::Grayscale).
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(deny_unknown_fields)]
pub struct RandomGrayscale {
    /// Probability in `[0, 1]`.
    #[serde(default = "tenth")]
    pub p: f64,
}

impl RandomGrayscale {
    /// Grey values with probability `p`.
    pub fn new(p: f64) -> Self {
        Self { p }
    }

    /// Draws one word.
    fn apply(&self, image: ImageMut<'_>, rng: &mut SampleRng) -> Result<(), Problem> {
        if rng.chance(self.p) {
            functional::rgb_to_grayscale(image)?;
        }
        Ok(())
    }
}

impl Transform for RandomGrayscale {
    fn name(&self) -> &'static str {
        "random-grayscale"
    }

    fn check(&self, _: Stage) -> Result<(), Problem> {
        check_probability(self.p)
    }

    fn channels(&self, channels: Option<usize>) -> Result<Option<usize>, Problem> {
        check_grey_or_rgb(channels)
    }

    on_either!();
}

fn tenth() -> f64 {
    0.1
}
