use serde::{Deserialize, Serialize};

use super::on_either::on_either;
use crate::error::Problem;
use crate::functional::{self, ImageMut, check_kernel_size, check_sigma};
use crate::image::Image;
use crate::options::{Interval, PadMode, Size};
use crate::rng::SampleRng;
use crate::transform::{Stage, Transform};
use crate::values::check_interval;

/// Gaussian blur with a random width (torchvision's `GaussianBlur`).
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(deny_unknown_fields)]
pub struct GaussianBlur {
    /// Size of the kernel in pixels, odd: one number, or `[width, height]` as in torchvision. Half of it must be smaller
    /// than the image.
    pub kernel_size: Size,
    /// Standard deviation in pixels, above 0: one number, or `[min, max]`.
    #[serde(default = "sigma")]
    pub sigma: Interval,
}

impl GaussianBlur {
    /// Blur with a kernel of `kernel_size`, and a standard deviation from 0.1 to 2.
    pub fn new(kernel_size: impl Into<Size>) -> Self {
        Self {
            kernel_size: kernel_size.into(),
            sigma: sigma(),
        }
    }

    /// `[width, height]` of the kernel.
    fn kernel(&self) -> [usize; 2] {
        let (width, height) = self.kernel_size.window();
        [width, height]
    }

    /// Draws one word.
    fn apply(&self, image: ImageMut<'_>, rng: &mut SampleRng) -> Result<(), Problem> {
        let [low, high] = self.sigma.ends();
        let sigma = rng.uniform(low, high);
        functional::gaussian_blur(image, self.kernel(), [sigma; 2])
    }
}

impl Transform for GaussianBlur {
    fn name(&self) -> &'static str {
        "gaussian-blur"
    }

    fn check(&self, _: Stage) -> Result<(), Problem> {
        check_kernel_size(self.kernel())?;
        let ends = self.sigma.ends();
        check_sigma(ends[0])?;
        let expected = "a number above 0, or [min, max] with 0 < min <= max";
        check_interval("sigma", ends, (0.0, f64::MAX), expected)
    }

    fn output_size(&self, (height, width): (usize, usize)) -> Result<(usize, usize), Problem> {
        let [across, down] = self.kernel();
        for (padding, side) in [(across / 2, width), (down / 2, height)] {
            PadMode::Reflect.check(padding, side)?;
        }
        Ok((height, width))
    }

    on_either!();
}

fn sigma() -> Interval {
    Interval::Both([0.1, 2.0])
}
