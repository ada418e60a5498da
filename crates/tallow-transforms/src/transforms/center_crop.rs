use serde::{Deserialize, Serialize};

use super::pad::append_pad;
use crate::error::Problem;
use crate::moves::Move;
use crate::options::{PadMode, Padding, Size};
use crate::rng::SampleRng;
use crate::transform::{Kind, Stage, Transform};
use crate::values::check_size;

/// Crop of the center (torchvision's `CenterCrop`). An image smaller than the crop is padded with 0 first.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(deny_unknown_fields)]
pub struct CenterCrop {
    /// Size of the crop; one number is a square.
    pub size: Size,
}

impl CenterCrop {
    /// Center crop of `size`.
    pub fn new(size: impl Into<Size>) -> Self {
        Self { size: size.into() }
    }
}

impl Transform for CenterCrop {
    fn name(&self) -> &'static str {
        "center-crop"
    }

    fn kind(&self) -> Kind {
        Kind::Geometry
    }

    fn check(&self, _: Stage) -> Result<(), Problem> {
        check_size(self.size)
    }

    fn is_random(&self) -> bool {
        false
    }

    fn moves(
        &self,
        (height, width): (usize, usize),
        _: &mut SampleRng,
        moves: &mut Vec<Move>,
    ) -> Result<(), Problem> {
        let (crop_height, crop_width) = self.size.window();
        let rows = crop_height.saturating_sub(height);
        let columns = crop_width.saturating_sub(width);
        let padding = Padding {
            left: columns / 2,
            top: rows / 2,
            right: columns.div_ceil(2),
            bottom: rows.div_ceil(2),
        };
        append_pad(padding, PadMode::Constant, 0.0, moves);
        moves.push(Move::Crop {
            top: round_half(height + rows - crop_height),
            left: round_half(width + columns - crop_width),
            height: crop_height,
            width: crop_width,
        });
        Ok(())
    }
}

/// `n / 2`, rounded half to even, as Python's `round` does in torchvision's center crop.
fn round_half(n: usize) -> usize {
    let half = n / 2;
    if n % 2 == 1 && half % 2 == 1 {
        half + 1
    } else {
        half
    }
}
