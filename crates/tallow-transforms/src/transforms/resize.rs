use serde::{Deserialize, Serialize};

use crate::error::Problem;
use crate::functional;
use crate::image::Image;
use crate::moves::Move;
use crate::options::{Interpolation, MAX_SIDE, Size};
use crate::rng::SampleRng;
use crate::transform::{Kind, Stage, Transform};
use crate::values::check_size;

/// Scaling to a size (torchvision's `Resize`). Bilinear and bicubic interpolation work before to-tensor only.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(deny_unknown_fields)]
pub struct Resize {
    /// One number is the shorter side, and the other keeps the aspect ratio; `[height, width]` is exact.
    pub size: Size,
    /// Interpolation between pixels.
    #[serde(default)]
    pub interpolation: Interpolation,
}

impl Resize {
    /// Bilinear scaling to `size`.
    pub fn new(size: impl Into<Size>) -> Self {
        Self {
            size: size.into(),
            interpolation: Interpolation::Bilinear,
        }
    }

    /// The same with another interpolation.
    pub fn with_interpolation(self, interpolation: Interpolation) -> Self {
        Self {
            interpolation,
            ..self
        }
    }
}

impl Transform for Resize {
    fn name(&self) -> &'static str {
        "resize"
    }

    fn kind(&self) -> Kind {
        match self.interpolation {
            Interpolation::Nearest => Kind::Geometry,
            Interpolation::Bilinear | Interpolation::Bicubic => Kind::General,
        }
    }

    fn check(&self, stage: Stage) -> Result<(), Problem> {
        if stage == Stage::F32 && self.interpolation != Interpolation::Nearest {
            return Err(Problem::AfterToTensor);
        }
        check_size(self.size)
    }

    fn is_random(&self) -> bool {
        false
    }

    fn output_size(&self, (height, width): (usize, usize)) -> Result<(usize, usize), Problem> {
        let short = match self.size {
            Size::Both([height, width]) => return Ok((height, width)),
            Size::One(short) => short,
        };
        let long = short * height.max(width) / height.min(width);
        if long > MAX_SIDE {
            return Err(Problem::Size(long));
        }
        Ok(if width <= height {
            (long, short)
        } else {
            (short, long)
        })
    }

    fn moves(
        &self,
        size: (usize, usize),
        _: &mut SampleRng,
        moves: &mut Vec<Move>,
    ) -> Result<(), Problem> {
        let (height, width) = self.output_size(size)?;
        moves.push(Move::ResizeNearest { height, width });
        Ok(())
    }

    fn apply_u8(&self, image: &mut Image<u8>, _: &mut SampleRng) -> Result<(), Problem> {
        let before = image.size();
        let size = self.output_size(before)?;
        functional::resized_crop(image, (0, 0), before, size, self.interpolation)
    }
}
