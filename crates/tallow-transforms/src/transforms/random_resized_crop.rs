use serde::{Deserialize, Serialize};

use super::window::{Attempts, check_ratio, check_scale};
use crate::error::Problem;
use crate::functional;
use crate::image::Image;
use crate::options::{Interpolation, Size};
use crate::rng::SampleRng;
use crate::transform::{Stage, Transform};
use crate::values::check_size;

/// Window of random area and aspect ratio at a random place, scaled to a size (torchvision's `RandomResizedCrop`). Before
/// to-tensor only.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(deny_unknown_fields)]
pub struct RandomResizedCrop {
    /// Size of the output; one number is a square.
    pub size: Size,
    /// Area of the window as a share of the image's: `[min, max]` in `[0, 1]`.
    #[serde(default = "scale")]
    pub scale: [f64; 2],
    /// Width of the window divided by its height: `[min, max]`, above 0. Drawn uniformly on a logarithmic scale.
    #[serde(default = "ratio")]
    pub ratio: [f64; 2],
    /// Interpolation between pixels, antialiased except nearest.
    #[serde(default)]
    pub interpolation: Interpolation,
}

impl RandomResizedCrop {
    /// Window of 8 % to 100 % of the area and a ratio of 3/4 to 4/3, scaled bilinearly.
    pub fn new(size: impl Into<Size>) -> Self {
        Self {
            size: size.into(),
            scale: scale(),
            ratio: ratio(),
            interpolation: Interpolation::Bilinear,
        }
    }

    /// Window `(top, left, height, width)`. Draws 22 words: see [`Attempts`].
    fn window(&self, (height, width): (usize, usize), rng: &mut SampleRng) -> [usize; 4] {
        let attempts = Attempts::draw(self.scale, self.ratio, rng);
        let first = attempts
            .sizes((height, width))
            // The ratio is width to height.
            .map(|(long, short)| (short, long))
            .find(|&(h, w)| (1..=height).contains(&h) && (1..=width).contains(&w));
        if let Some((h, w)) = first {
            let top = attempts.place(0, height - h);
            let left = attempts.place(1, width - w);
            return [top, left, h, w];
        }
        // The largest window in the middle whose ratio is within bounds.
        let [least, greatest] = self.ratio;
        let whole = width as f64 / height as f64;
        let (h, w) = if whole < least {
            ((width as f64 / least).round_ties_even() as usize, width)
        } else if whole > greatest {
            (
                height,
                (height as f64 * greatest).round_ties_even() as usize,
            )
        } else {
            (height, width)
        };
        let (h, w) = (h.clamp(1, height), w.clamp(1, width));
        [(height - h) / 2, (width - w) / 2, h, w]
    }
}

impl Transform for RandomResizedCrop {
    fn name(&self) -> &'static str {
        "random-resized-crop"
    }

    fn check(&self, stage: Stage) -> Result<(), Problem> {
        if stage == Stage::F32 {
            return Err(Problem::AfterToTensor);
        }
        check_size(self.size)?;
        check_scale(self.scale)?;
        check_ratio(self.ratio)
    }

    fn output_size(&self, _: (usize, usize)) -> Result<(usize, usize), Problem> {
        Ok(self.size.window())
    }

    fn apply_u8(&self, image: &mut Image<u8>, rng: &mut SampleRng) -> Result<(), Problem> {
        let [top, left, height, width] = self.window(image.size(), rng);
        functional::resized_crop(
            image,
            (top, left),
            (height, width),
            self.size.window(),
            self.interpolation,
        )
    }
}

fn scale() -> [f64; 2] {
    [0.08, 1.0]
}

fn ratio() -> [f64; 2] {
    [3.0 / 4.0, 4.0 / 3.0]
}
