use serde::{Deserialize, Serialize};

use super::policy_options::{check_policy, nearest};
use crate::error::Problem;
use crate::image::Image;
use crate::options::Interpolation;
use crate::policy::{CIFAR10, Canvas, Choice, IMAGENET, Look, SVHN, Space};
use crate::rng::SampleRng;
use crate::transform::{Stage, Transform};
use crate::values::check_grey_or_rgb;

/// Pairs of operations that were found to work on a dataset (Cubuk et al. 2018, arXiv 1805.09501; torchvision's
/// `AutoAugment`). Before to-tensor only.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(deny_unknown_fields)]
pub struct AutoAugment {
    /// Dataset on which the pairs were found.
    #[serde(default)]
    pub policy: AutoAugmentPolicy,
    /// Interpolation of the operations that move pixels.
    #[serde(default = "nearest")]
    pub interpolation: Interpolation,
    /// Value outside the image, 0 to 255.
    #[serde(default)]
    pub fill: f32,
}

/// Policy of [`AutoAugment`]: 25 pairs of operations with their probabilities and strengths.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(rename_all = "lowercase")]
pub enum AutoAugmentPolicy {
    /// `"imagenet"`.
    #[default]
    ImageNet,
    /// `"cifar10"`.
    Cifar10,
    /// `"svhn"`.
    Svhn,
}

impl AutoAugmentPolicy {
    fn pairs(self) -> &'static [[Choice; 2]; 25] {
        match self {
            Self::ImageNet => IMAGENET,
            Self::Cifar10 => CIFAR10,
            Self::Svhn => SVHN,
        }
    }
}

impl AutoAugment {
    /// A policy, with nearest pixels, outside 0.
    pub fn new(policy: AutoAugmentPolicy) -> Self {
        Self {
            policy,
            interpolation: nearest(),
            fill: 0.0,
        }
    }
}

impl Transform for AutoAugment {
    fn name(&self) -> &'static str {
        "auto-augment"
    }

    fn check(&self, stage: Stage) -> Result<(), Problem> {
        check_policy(stage, self.fill)
    }

    fn channels(&self, channels: Option<usize>) -> Result<Option<usize>, Problem> {
        check_grey_or_rgb(channels)
    }

    /// Draws a fork, and from it five words: the pair, then for each operation whether, and the sign.
    fn apply_u8(&self, image: &mut Image<u8>, rng: &mut SampleRng) -> Result<(), Problem> {
        let mut rng = rng.fork();
        let size = image.size();
        let look = Look {
            interpolation: self.interpolation,
            fill: self.fill,
        };
        let mut canvas = Canvas::new(image, look)?;
        let pairs = self.policy.pairs();
        let pair = pairs[rng.below(pairs.len() as u32) as usize];
        for (operation, probability, bin) in pair {
            let applies = rng.chance(probability);
            let magnitude = Space::Rand.magnitude(operation, bin, 10, size);
            let magnitude = operation.sign(magnitude, &mut rng);
            if applies {
                canvas.apply(operation, magnitude)?;
            }
        }
        canvas.flush();
        Ok(())
    }
}
