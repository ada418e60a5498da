use serde::{Deserialize, Serialize};

use super::on_either::on_either;
use crate::error::Problem;
use crate::functional::{self, ImageMut};
use crate::image::Image;
use crate::options::Interval;
use crate::rng::SampleRng;
use crate::transform::{Stage, Transform};
use crate::values::{check_grey_or_rgb, check_interval};

/// Random changes of brightness, contrast, saturation and hue, in random order (torchvision's `ColorJitter`).
///
/// One number `x` of the first three is the interval `[max(0, 1 - x), 1 + x]` of factors, and one `hue` is `[-hue, hue]`. A
/// change that is 0, the default, is left out.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(deny_unknown_fields)]
pub struct ColorJitter {
    /// Factor of [`adjust_brightness`](functional::adjust_brightness), not negative.
    #[serde(default = "none")]
    pub brightness: Interval,
    /// Factor of [`adjust_contrast`](functional::adjust_contrast), not negative.
    #[serde(default = "none")]
    pub contrast: Interval,
    /// Factor of [`adjust_saturation`](functional::adjust_saturation), not negative.
    #[serde(default = "none")]
    pub saturation: Interval,
    /// Turns of [`adjust_hue`](functional::adjust_hue), in `[-0.5, 0.5]`.
    #[serde(default = "none")]
    pub hue: Interval,
}

impl ColorJitter {
    /// Jitter of the four in this order.
    pub fn new(
        brightness: impl Into<Interval>,
        contrast: impl Into<Interval>,
        saturation: impl Into<Interval>,
        hue: impl Into<Interval>,
    ) -> Self {
        Self {
            brightness: brightness.into(),
            contrast: contrast.into(),
            saturation: saturation.into(),
            hue: hue.into(),
        }
    }

    /// Draws seven words: the order by Fisher-Yates (as [`permutation`](crate::permutation)), then the four parameters.
    fn apply(&self, mut image: ImageMut<'_>, rng: &mut SampleRng) -> Result<(), Problem> {
        let mut order = [0, 1, 2, 3];
        for i in (1..4).rev() {
            order.swap(i, rng.below(i as u32 + 1) as usize);
        }
        let ends = [
            factors(self.brightness),
            factors(self.contrast),
            factors(self.saturation),
            self.hue.around(0.0),
        ];
        let drawn = ends.map(|[low, high]| rng.uniform(low, high));
        for change in order {
            let same = if change == 3 { 0.0 } else { 1.0 };
            if ends[change] == [same; 2] {
                continue;
            }
            let by = drawn[change];
            let image = image.reborrow();
            match change {
                0 => functional::adjust_brightness(image, by),
                1 => functional::adjust_contrast(image, by)?,
                2 => functional::adjust_saturation(image, by)?,
                _ => functional::adjust_hue(image, by)?,
            }
        }
        Ok(())
    }
}

/// Interval of factors around 1, not negative if it is given as one number.
fn factors(interval: Interval) -> [f64; 2] {
    let [low, high] = interval.around(1.0);
    match interval {
        Interval::One(_) => [low.max(0.0), high],
        Interval::Both(_) => [low, high],
    }
}

impl Transform for ColorJitter {
    fn name(&self) -> &'static str {
        "color-jitter"
    }

    fn check(&self, _: Stage) -> Result<(), Problem> {
        for (key, interval) in [
            ("brightness", self.brightness),
            ("contrast", self.contrast),
            ("saturation", self.saturation),
        ] {
            let expected = "a number of at least 0, or [min, max] with 0 <= min <= max";
            check_interval(key, factors(interval), (0.0, f64::MAX), expected)?;
        }
        let expected = "a number in [0, 0.5], or [min, max] with -0.5 <= min <= max <= 0.5";
        check_interval("hue", self.hue.around(0.0), (-0.5, 0.5), expected)
    }

    fn channels(&self, channels: Option<usize>) -> Result<Option<usize>, Problem> {
        check_grey_or_rgb(channels)
    }

    on_either!();
}

fn none() -> Interval {
    Interval::One(0.0)
}
