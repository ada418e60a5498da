use serde::{Deserialize, Serialize};

use super::policy_options::{check_bins, check_policy, nearest};
use crate::error::Problem;
use crate::image::Image;
use crate::options::Interpolation;
use crate::policy::{Canvas, Look, Space};
use crate::rng::SampleRng;
use crate::transform::{Stage, Transform};
use crate::values::check_grey_or_rgb;

/// One random operation of random strength (Mueller and Hutter 2021, arXiv 2103.10158; torchvision's
/// `TrivialAugmentWide`). Before to-tensor only.
///
/// The operations are those of [`RandAugment`](crate::RandAugment), with wider ranges.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(deny_unknown_fields)]
pub struct TrivialAugmentWide {
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

impl TrivialAugmentWide {
    /// One operation of one of 31 strengths.
    pub fn new() -> Self {
        Self {
            num_magnitude_bins: bins(),
            interpolation: nearest(),
            fill: 0.0,
        }
    }
}

impl Default for TrivialAugmentWide {
    fn default() -> Self {
        Self::new()
    }
}

impl Transform for TrivialAugmentWide {
    fn name(&self) -> &'static str {
        "trivial-augment-wide"
    }

    fn check(&self, stage: Stage) -> Result<(), Problem> {
        check_policy(stage, self.fill)?;
        check_bins(self.num_magnitude_bins)
    }

    fn channels(&self, channels: Option<usize>) -> Result<Option<usize>, Problem> {
        check_grey_or_rgb(channels)
    }

    /// Draws a fork, and from it three words: the operation, the strength and the sign.
    fn apply_u8(&self, image: &mut Image<u8>, rng: &mut SampleRng) -> Result<(), Problem> {
        let mut rng = rng.fork();
        let size = image.size();
        let look = Look {
            interpolation: self.interpolation,
            fill: self.fill,
        };
        let mut canvas = Canvas::new(image, look)?;
        let operation = Space::Wide.draw(&mut rng);
        let bins = self.num_magnitude_bins;
        let bin = rng.below(bins as u32) as usize;
        let magnitude = Space::Wide.magnitude(operation, bin, bins, size);
        canvas.apply(operation, operation.sign(magnitude, &mut rng))?;
        canvas.flush();
        Ok(())
    }
}

fn bins() -> usize {
    31
}
