use serde::{Deserialize, Serialize};

use super::pad::append_pad;
use crate::error::Problem;
use crate::moves::Move;
use crate::options::{PadMode, Padding, Size};
use crate::rng::SampleRng;
use crate::transform::{Kind, Stage, Transform};
use crate::values::{check_fill, check_padding, check_size};

/// Crop at a place drawn uniformly, after optional padding (torchvision's `RandomCrop`).
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(deny_unknown_fields)]
pub struct RandomCrop {
    /// Size of the crop; one number is a square.
    pub size: Size,
    /// Border added before cropping.
    #[serde(default)]
    pub padding: Padding,
    /// Whether an image that is still too small is padded further by what it lacks, on either side (so twice in all, as
    /// in torchvision).
    #[serde(default)]
    pub pad_if_needed: bool,
    /// Value of constant padding: 0 to 255 before to-tensor, any finite number after it.
    #[serde(default)]
    pub fill: f32,
    /// Padding mode.
    #[serde(default)]
    pub padding_mode: PadMode,
}

impl RandomCrop {
    /// Random crop of `size` after constant padding with 0: `RandomCrop::new(32, 4)` is the usual recipe for CIFAR.
    pub fn new(size: impl Into<Size>, padding: impl Into<Padding>) -> Self {
        Self {
            size: size.into(),
            padding: padding.into(),
            pad_if_needed: false,
            fill: 0.0,
            padding_mode: PadMode::Constant,
        }
    }
}

impl Transform for RandomCrop {
    fn name(&self) -> &'static str {
        "random-crop"
    }

    fn kind(&self) -> Kind {
        Kind::Geometry
    }

    fn check(&self, stage: Stage) -> Result<(), Problem> {
        check_size(self.size)?;
        check_padding(self.padding)?;
        check_fill(self.fill, stage)
    }

    /// Draws the top and then the left.
    fn moves(
        &self,
        (height, width): (usize, usize),
        rng: &mut SampleRng,
        moves: &mut Vec<Move>,
    ) -> Result<(), Problem> {
        let (crop_height, crop_width) = self.size.window();
        let mut padding = self.padding;
        if self.pad_if_needed {
            let rows = crop_height.saturating_sub(height + padding.top + padding.bottom);
            let columns = crop_width.saturating_sub(width + padding.left + padding.right);
            padding.top += rows;
            padding.bottom += rows;
            padding.left += columns;
            padding.right += columns;
        }
        let height = height + padding.top + padding.bottom;
        let width = width + padding.left + padding.right;
        if crop_height > height || crop_width > width {
            return Err(Problem::CropTooLarge {
                crop_height,
                crop_width,
                height,
                width,
            });
        }
        let top = rng.below((height - crop_height + 1) as u32) as usize;
        let left = rng.below((width - crop_width + 1) as u32) as usize;
        append_pad(padding, self.padding_mode, self.fill, moves);
        moves.push(Move::Crop {
            top,
            left,
            height: crop_height,
            width: crop_width,
        });
        Ok(())
    }
}
