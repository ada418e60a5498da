use serde::{Deserialize, Serialize};

use super::on_either::on_either;
use crate::error::Problem;
use crate::functional::{self, ImageMut};
use crate::image::Image;
use crate::options::{Interpolation, Interval};
use crate::rng::SampleRng;
use crate::transform::{Stage, Transform};
use crate::values::{check_center, check_interval, check_warp};

/// Rotation by a random angle (torchvision's `RandomRotation`). The image keeps its size: `expand` would make images of
/// different sizes, which no batch holds.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(deny_unknown_fields)]
pub struct RandomRotation {
    /// Angle in degrees, counter-clockwise: one number `d` for `[-d, d]`, or `[min, max]`.
    pub degrees: Interval,
    /// Interpolation between pixels.
    #[serde(default = "nearest")]
    pub interpolation: Interpolation,
    /// Fixed point `[x, y]` in pixels from the upper left corner; the centre of the image by default.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub center: Option<[f64; 2]>,
    /// Value outside the image: 0 to 255 before to-tensor, any finite number after it.
    #[serde(default)]
    pub fill: f32,
}

impl RandomRotation {
    /// Rotation about the centre with nearest pixels, outside 0.
    pub fn new(degrees: impl Into<Interval>) -> Self {
        Self {
            degrees: degrees.into(),
            interpolation: nearest(),
            center: None,
            fill: 0.0,
        }
    }

    /// Draws one word.
    fn apply(&self, image: ImageMut<'_>, rng: &mut SampleRng) -> Result<(), Problem> {
        let [low, high] = self.degrees.around(0.0);
        let angle = rng.uniform(low, high);
        functional::rotate(image, angle, self.interpolation, self.center, self.fill)
    }
}

impl Transform for RandomRotation {
    fn name(&self) -> &'static str {
        "random-rotation"
    }

    fn check(&self, stage: Stage) -> Result<(), Problem> {
        let expected = "a number of at least 0, or [min, max] with min <= max, in degrees";
        check_interval("degrees", self.degrees.around(0.0), FINITE, expected)?;
        check_center(self.center)?;
        check_warp(self.interpolation, self.fill, stage)
    }

    on_either!();
}

/// Angles: larger ones lose the digits that matter.
const FINITE: (f64, f64) = (-1e9, 1e9);

fn nearest() -> Interpolation {
    Interpolation::Nearest
}
