use serde::{Deserialize, Serialize};

use super::policy_options::{check_bins, check_policy, nearest};
use crate::error::Problem;
use crate::image::Image;
use crate::options::Interpolation;
use crate::policy::{Canvas, Look, Space};
use crate::rng::SampleRng;
use crate::transform::{Stage, Transform};
use crate::values::check_grey_or_rgb;

/// Random operations of one strength (Cubuk et al. 2019, arXiv 1909.13719; torchvision's `RandAugment`). Before to-tensor
/// only.
///
/// The operations are identity, shear and translation along x and y, rotation, brightness, colour, contrast, sharpness,
/// posterize, solarize, autocontrast and equalize, as torchvision applies them to PIL images.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(deny_unknown_fields)]
pub struct RandAugment {
    /// Operations in a row.
    #[serde(default = "two")]
    pub num_ops: usize,
    /// Strength of all operations, in `0..num_magnitude_bins`.
    #[serde(default = "nine")]
    pub magnitude: usize,
    /// Number of strengths.
    #[serde(default = "bins")]
    pub num_magnitude_bins: usize,
    /// Interpolation of the operations that move pixels.
    #[serde(default = "nearest")]
    pub interpolation: Interpolation,
    /// Value outside the image, 0 to 255.
    #[serde(default)]
    pub fill: f32,
}

impl RandAugment {
    /// `num_ops` operations of strength `magnitude` of 31.
    pub fn new(num_ops: usize, magnitude: usize) -> Self {
        Self {
            num_ops,
            magnitude,
            num_magnitude_bins: bins(),
            interpolation: nearest(),
            fill: 0.0,
        }
    }
}

impl Default for RandAugment {
    /// Two operations of strength 9 of 31.
    fn default() -> Self {
        Self::new(two(), nine())
    }
}

impl Transform for RandAugment {
    fn name(&self) -> &'static str {
        "rand-augment"
    }

    fn check(&self, stage: Stage) -> Result<(), Problem> {
        check_policy(stage, self.fill)?;
        check_bins(self.num_magnitude_bins)?;
        if self.num_ops > 1000 {
            let expected = "a whole number in 0..=1000";
            return Err(Problem::parameter("num_ops", self.num_ops, expected));
        }
        if self.magnitude >= self.num_magnitude_bins {
            let expected = "a whole number below num_magnitude_bins";
            return Err(Problem::parameter("magnitude", self.magnitude, expected));
        }
        Ok(())
    }

    fn channels(&self, channels: Option<usize>) -> Result<Option<usize>, Problem> {
        check_grey_or_rgb(channels)
    }

    /// Draws a fork, and from it two words for each operation: which, and the sign (negative with probability 1/2, also
    /// where it has none).
    fn apply_u8(&self, image: &mut Image<u8>, rng: &mut SampleRng) -> Result<(), Problem> {
        let mut rng = rng.fork();
        let size = image.size();
        let look = Look {
            interpolation: self.interpolation,
            fill: self.fill,
        };
        let mut canvas = Canvas::new(image, look)?;
        for _ in 0..self.num_ops {
            let operation = Space::Rand.draw(&mut rng);
            let (bin, bins) = (self.magnitude, self.num_magnitude_bins);
            let magnitude = Space::Rand.magnitude(operation, bin, bins, size);
            canvas.apply(operation, operation.sign(magnitude, &mut rng))?;
        }
        canvas.flush();
        Ok(())
    }
}

fn two() -> usize {
    2
}

fn nine() -> usize {
    9
}

fn bins() -> usize {
    31
}
