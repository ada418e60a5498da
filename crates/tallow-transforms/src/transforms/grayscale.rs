use serde::{Deserialize, Serialize};

use crate::error::Problem;
use crate::image::Image;
use crate::rng::SampleRng;
use crate::transform::{Stage, Transform};

/// RGB to luma by ITU-R 601-2 (torchvision's `Grayscale`). A grey image is kept.
///
/// On u8 the formula is that of PIL, which torchvision applies to the images of its datasets:
/// `(19595 R + 38470 G + 7471 B + 32768) >> 16`, rounded to nearest. (On u8 *tensors* torchvision computes
/// `0.2989 R + 0.587 G + 0.114 B` in f32 and truncates, which is the same or one less.) After to-tensor it is that f32
/// sum, not rounded.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(deny_unknown_fields)]
pub struct Grayscale {
    /// Channels of the output: 1, or 3 to repeat the grey plane.
    #[serde(default = "one")]
    pub num_output_channels: usize,
}

impl Grayscale {
    /// Conversion to `num_output_channels` equal channels, 1 or 3.
    pub fn new(num_output_channels: usize) -> Self {
        Self {
            num_output_channels,
        }
    }
}

impl Default for Grayscale {
    /// One channel.
    fn default() -> Self {
        Self::new(one())
    }
}

impl Transform for Grayscale {
    fn name(&self) -> &'static str {
        "grayscale"
    }

    fn check(&self, _: Stage) -> Result<(), Problem> {
        match self.num_output_channels {
            1 | 3 => Ok(()),
            other => Err(Problem::GrayChannels(other)),
        }
    }

    fn is_random(&self) -> bool {
        false
    }

    fn channels(&self, channels: Option<usize>) -> Result<Option<usize>, Problem> {
        match channels {
            None | Some(1 | 3) => Ok(Some(self.num_output_channels)),
            Some(found) => Err(Problem::Channels { expected: 3, found }),
        }
    }

    fn apply_u8(&self, image: &mut Image<u8>, _: &mut SampleRng) -> Result<(), Problem> {
        image.grayscale(self.num_output_channels, |r, g, b| {
            let [r, g, b] = [r, g, b].map(u32::from);
            ((19_595 * r + 38_470 * g + 7_471 * b + 32_768) >> 16) as u8
        });
        Ok(())
    }

    fn apply_f32(&self, image: &mut Image<f32>, _: &mut SampleRng) -> Result<(), Problem> {
        image.grayscale(self.num_output_channels, |r, g, b| {
            0.2989 * r + 0.587 * g + 0.114 * b
        });
        Ok(())
    }
}

fn one() -> usize {
    1
}
