//! Mixup and CutMix: images of a batch mixed with others of it.

use candle_core::{Device, IndexOp, Tensor};
use serde::{Deserialize, Serialize};

use crate::elements::weighted_sum;
use crate::error::{Error, Result};
use crate::loss::Target;
use crate::stream::Stream;

/// Tag of the random numbers, see [`Stream`].
const TAG: [u8; 8] = *b"tallow.m";

/// Mixup (Zhang et al. 2018) and CutMix (Yun et al. 2019) of training batches, with timm's names and torchvision's definitions
/// ([`v2.MixUp`](https://docs.pytorch.org/vision/stable/generated/torchvision.transforms.v2.MixUp.html),
/// [`v2.CutMix`](https://docs.pytorch.org/vision/stable/generated/torchvision.transforms.v2.CutMix.html)).
///
/// Image `i` is mixed with image `i - 1`, the first with the last (`roll(1, 0)`), by one draw for the batch; the targets become soft
/// labels `(N, K)`. The training accuracy counts a prediction as right if it is the class with the largest share of the image, as
/// torchvision's reference scripts do, the lower class if two are equal.
///
/// In TOML: `mix = { mixup_alpha = 0.2 }`, or both: `mix = { mixup_alpha = 0.8, cutmix_alpha = 1.0 }`.
///
/// The draws are a function of the loader's seed, the epoch and the step.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(deny_unknown_fields)]
pub struct MixConfig {
    /// Mixup with a share from the distribution Beta(alpha, alpha); 0, no mixup, by default.
    #[serde(default)]
    pub mixup_alpha: f64,
    /// CutMix with a share from the distribution Beta(alpha, alpha); 0, no CutMix, by default.
    #[serde(default)]
    pub cutmix_alpha: f64,
    /// Probability in `[0, 1]` that a batch is mixed at all; 1 by default.
    #[serde(default = "one")]
    pub probability: f64,
    /// Probability in `[0, 1]` of CutMix where both are set; 0.5 by default.
    #[serde(default = "half")]
    pub switch_probability: f64,
}

fn one() -> f64 {
    1.0
}

fn half() -> f64 {
    0.5
}

impl Default for MixConfig {
    /// Neither; each batch is mixed once one of the two is set.
    fn default() -> Self {
        Self {
            mixup_alpha: 0.0,
            cutmix_alpha: 0.0,
            probability: one(),
            switch_probability: half(),
        }
    }
}

/// Mixing of one batch.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Mixing {
    /// Every pixel: `share` of the image and `1 - share` of the one before it.
    Mixup {
        /// Share of the image itself, in `[0, 1]`.
        share: f64,
    },
    /// A box of pixels from the image before it.
    CutMix {
        /// Rows of the box: the first, and the one after the last.
        rows: (usize, usize),
        /// Columns of the box: the first, and the one after the last.
        columns: (usize, usize),
    },
}

impl MixConfig {
    /// Mixing of the batch of `step` in `epoch` of a run with this seed, for images of this height and width; `None` if the batch stays
    /// as it is.
    pub fn draw(
        &self,
        (seed, epoch, step): (u64, usize, usize),
        (height, width): (usize, usize),
    ) -> Option<Mixing> {
        let mut stream = Stream::new(seed, epoch as u64, step as u64, TAG);
        if stream.uniform() >= self.probability {
            return None;
        }
        let cutmix = match (self.mixup_alpha > 0.0, self.cutmix_alpha > 0.0) {
            (true, true) => stream.uniform() < self.switch_probability,
            (false, cutmix) => cutmix,
            (true, false) => false,
        };
        if !cutmix {
            // Neither is set in a configuration that `validate` refuses.
            return (self.mixup_alpha > 0.0).then(|| Mixing::Mixup {
                share: stream.beta(self.mixup_alpha),
            });
        }
        let share = stream.beta(self.cutmix_alpha);
        let center = (stream.below(width), stream.below(height));
        Some(Mixing::cutmix(share, center, (height, width)))
    }

    /// Checks the ranges of the settings.
    pub fn validate(&self) -> Result<()> {
        for (setting, alpha) in [
            ("mix.mixup_alpha", self.mixup_alpha),
            ("mix.cutmix_alpha", self.cutmix_alpha),
        ] {
            crate::error::not_negative(setting, alpha)?;
        }
        if self.mixup_alpha == 0.0 && self.cutmix_alpha == 0.0 {
            let message =
                "neither `mixup_alpha` nor `cutmix_alpha` is above 0: set one, or leave `mix` out";
            return Err(Error::config("mix", message));
        }
        for (setting, p) in [
            ("mix.probability", self.probability),
            ("mix.switch_probability", self.switch_probability),
        ] {
            if !(0.0..=1.0).contains(&p) {
                return Err(Error::config(setting, format!("{p} is not in [0, 1]")));
            }
        }
        Ok(())
    }
}

impl Mixing {
    /// CutMix with a box around the pixel `(x, y)` that has the share `1 - share` of an image of this height and width, less where it
    /// reaches over the edge, as torchvision cuts it.
    pub fn cutmix(share: f64, (x, y): (usize, usize), (height, width): (usize, usize)) -> Self {
        let half = 0.5 * (1.0 - share).sqrt();
        let range = |center: usize, size: usize| {
            let half = (half * size as f64) as usize;
            (center.saturating_sub(half), (center + half).min(size))
        };
        Mixing::CutMix {
            rows: range(y, height),
            columns: range(x, width),
        }
    }

    /// Images `(N, C, H, W)` mixed.
    ///
    /// # Errors
    /// Errors of the tensor operations, as for a box outside of the images.
    pub fn images(&self, images: &Tensor) -> Result<Tensor> {
        let before = roll(images)?;
        Ok(match *self {
            Mixing::Mixup { share } => weighted_sum((images, share), (&before, 1.0 - share))?,
            Mixing::CutMix { rows, columns } => {
                let (_, _, height, width) = images.dims4()?;
                let inside = |at: usize, range: (usize, usize)| (range.0..range.1).contains(&at);
                let mask = (0..height * width)
                    .map(|i| u8::from(inside(i / width, rows) && inside(i % width, columns)));
                let mask = Tensor::from_iter(mask, &Device::Cpu)?
                    .reshape((1, 1, height, width))?
                    .to_device(images.device())?
                    .broadcast_as(images.shape())?;
                mask.where_cond(&before, images)?
            }
        })
    }

    /// Soft labels `(N, K)` of class indices `(N)`, for images of this height and width.
    ///
    /// # Errors
    /// As [`Target::probabilities`].
    pub fn target(
        &self,
        labels: &Tensor,
        classes: usize,
        (height, width): (usize, usize),
    ) -> Result<Tensor> {
        let share = match *self {
            Mixing::Mixup { share } => share,
            Mixing::CutMix { rows, columns } => {
                let area = (rows.1 - rows.0) * (columns.1 - columns.0);
                1.0 - area as f64 / (height * width) as f64
            }
        };
        let rows = Target::Classes(labels.clone()).probabilities(classes)?;
        Ok(weighted_sum((&rows, share), (&roll(&rows)?, 1.0 - share))?)
    }
}

/// Entries of the first axis moved on by one, the last to the front, as `torch.roll(x, 1, 0)`.
fn roll(x: &Tensor) -> candle_core::Result<Tensor> {
    match x.dim(0)? {
        0 | 1 => Ok(x.clone()),
        n => Tensor::cat(&[x.i(n - 1..)?, x.i(..n - 1)?], 0),
    }
}
