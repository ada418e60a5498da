use serde::{Deserialize, Serialize};

use super::on_either::on_either;
use crate::error::Problem;
use crate::functional::{self, Fill, ImageMut};
use crate::image::Image;
use crate::options::MAX_SIDE;
use crate::rng::SampleRng;
use crate::transform::{Stage, Transform};
use crate::values::{check_fill, check_probability};

/// Erasure of a square at a random place, with probability `p` (DeVries and Taylor 2017, arXiv 1708.04552; not in
/// torchvision).
///
/// The centre is any pixel, so that part of the square may lie outside the image. As in the authors' code it covers
/// `size / 2` pixels (rounded down) on either side of the centre, the centre being the first pixel after the middle.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(deny_unknown_fields)]
pub struct Cutout {
    /// Side of the square in pixels.
    pub size: usize,
    /// Value that is written: 0 to 255 before to-tensor, any finite number after it.
    #[serde(default)]
    pub fill: f32,
    /// Probability in `[0, 1]`.
    #[serde(default = "always")]
    pub p: f64,
}

impl Cutout {
    /// Erasure of a square of side `size` in every image, by 0.
    pub fn new(size: usize) -> Self {
        Self {
            size,
            fill: 0.0,
            p: always(),
        }
    }

    /// Draws three words: whether, y and x of the centre.
    fn apply(&self, mut image: ImageMut<'_>, rng: &mut SampleRng) -> Result<(), Problem> {
        let applies = rng.chance(self.p);
        let (height, width) = image.size();
        let half = self.size / 2;
        let mut span = |side: usize| {
            let center = rng.below(side as u32) as usize;
            let start = center.saturating_sub(half);
            (start, (center + half).min(side) - start)
        };
        let ((top, rows), (left, columns)) = (span(height), span(width));
        if !applies {
            return Ok(());
        }
        let fill = Fill::Values(std::slice::from_ref(&self.fill));
        functional::erase(image.reborrow(), (top, left), (rows, columns), fill)
    }
}

impl Transform for Cutout {
    fn name(&self) -> &'static str {
        "cutout"
    }

    fn check(&self, stage: Stage) -> Result<(), Problem> {
        if !(1..=MAX_SIDE).contains(&self.size) {
            return Err(Problem::Size(self.size));
        }
        check_fill(self.fill, stage)?;
        check_probability(self.p)
    }

    on_either!();
}

fn always() -> f64 {
    1.0
}
