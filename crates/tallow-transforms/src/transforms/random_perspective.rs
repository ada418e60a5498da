use serde::{Deserialize, Serialize};

use super::on_either::on_either;
use crate::error::Problem;
use crate::functional::{self, ImageMut};
use crate::image::Image;
use crate::options::Interpolation;
use crate::rng::SampleRng;
use crate::transform::{Stage, Transform};
use crate::values::{check_number, check_probability, check_warp};

/// Random perspective with probability `p` (torchvision's `RandomPerspective`): each corner moves inwards. The image keeps
/// its size.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(deny_unknown_fields)]
pub struct RandomPerspective {
    /// Largest movement of a corner, as a share of half of the sides, in `[0, 1]`.
    #[serde(default = "half")]
    pub distortion_scale: f64,
    /// Probability in `[0, 1]`.
    #[serde(default = "half")]
    pub p: f64,
    /// Interpolation between pixels.
    #[serde(default)]
    pub interpolation: Interpolation,
    /// Value outside the image: 0 to 255 before to-tensor, any finite number after it.
    #[serde(default)]
    pub fill: f32,
}

impl RandomPerspective {
    /// Perspective of `distortion_scale` with probability `p`, bilinear, outside 0.
    pub fn new(distortion_scale: f64, p: f64) -> Self {
        Self {
            distortion_scale,
            p,
            interpolation: Interpolation::Bilinear,
            fill: 0.0,
        }
    }

    /// Draws nine words: whether, then x and y of the corners, from the upper left one clockwise.
    fn apply(&self, mut image: ImageMut<'_>, rng: &mut SampleRng) -> Result<(), Problem> {
        let applies = rng.chance(self.p);
        let (height, width) = image.size();
        let most = |side: usize| (self.distortion_scale * (side / 2) as f64) as u32 + 1;
        let (across, down) = (most(width), most(height));
        let (right, bottom) = (width as f64 - 1.0, height as f64 - 1.0);
        let start = [[0.0, 0.0], [right, 0.0], [right, bottom], [0.0, bottom]];
        let mut draw = |from: f64, bound: u32| {
            // A corner at the far side moves back.
            let steps = f64::from(rng.below(bound));
            match from > 0.0 {
                true => from - f64::from(bound - 1) + steps,
                false => steps,
            }
        };
        let end = start.map(|[x, y]| [draw(x, across), draw(y, down)]);
        if !applies {
            return Ok(());
        }
        // The corners of a single row or column, and corners that meet, have no map: the image is kept.
        let Ok(coefficients) = functional::perspective_coefficients(start, end) else {
            return Ok(());
        };
        functional::perspective(
            image.reborrow(),
            &coefficients,
            self.interpolation,
            self.fill,
        )
    }
}

impl Transform for RandomPerspective {
    fn name(&self) -> &'static str {
        "random-perspective"
    }

    fn check(&self, stage: Stage) -> Result<(), Problem> {
        let expected = "a number in [0, 1]";
        check_number(
            "distortion_scale",
            self.distortion_scale,
            (0.0, 1.0),
            expected,
        )?;
        check_probability(self.p)?;
        check_warp(self.interpolation, self.fill, stage)
    }

    on_either!();
}

fn half() -> f64 {
    0.5
}
