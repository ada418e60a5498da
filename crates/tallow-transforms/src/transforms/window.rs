//! Random windows by area and aspect ratio, for random-resized-crop and random-erasing.

use crate::error::Problem;
use crate::rng::SampleRng;
use crate::values::check_interval;

/// Ten attempts at a size and the place of the one that is taken, with torchvision's distributions.
///
/// Always 22 words: area and ratio of each attempt, then two for the place.
pub(super) struct Attempts {
    /// Area as a share of the image's, and the ratio.
    sizes: [(f64, f64); 10],
    places: [f64; 2],
}

impl Attempts {
    pub fn draw(scale: [f64; 2], ratio: [f64; 2], rng: &mut SampleRng) -> Self {
        let log_ratio = ratio.map(libm::log);
        let sizes = std::array::from_fn(|_| {
            let area = rng.uniform(scale[0], scale[1]);
            (area, libm::exp(rng.uniform(log_ratio[0], log_ratio[1])))
        });
        Self {
            sizes,
            places: [rng.uniform(0.0, 1.0), rng.uniform(0.0, 1.0)],
        }
    }

    /// Sides of each attempt in an image of `(height, width)`: the one that grows with the ratio, and the other.
    pub fn sizes(&self, (height, width): (usize, usize)) -> impl Iterator<Item = (usize, usize)> {
        let image = (height * width) as f64;
        let side = |square: f64| square.sqrt().round_ties_even() as usize;
        self.sizes.iter().map(move |&(share, ratio)| {
            let area = image * share;
            (side(area * ratio), side(area / ratio))
        })
    }

    /// Place `axis` in `0..=last`, uniform.
    pub fn place(&self, axis: usize, last: usize) -> usize {
        (self.places[axis] * (last + 1) as f64) as usize
    }
}

pub(super) fn check_scale(scale: [f64; 2]) -> Result<(), Problem> {
    check_interval(
        "scale",
        scale,
        (0.0, 1.0),
        "[min, max] with 0 <= min <= max <= 1",
    )
}

pub(super) fn check_ratio(ratio: [f64; 2]) -> Result<(), Problem> {
    check_interval(
        "ratio",
        ratio,
        (1e-6, 1e6),
        "[min, max] with 0 < min <= max",
    )
}
