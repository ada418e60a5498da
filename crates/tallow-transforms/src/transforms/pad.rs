use serde::{Deserialize, Serialize};

use crate::error::Problem;
use crate::moves::Move;
use crate::options::{PadMode, Padding};
use crate::rng::SampleRng;
use crate::transform::{Kind, Stage, Transform};
use crate::values::{check_fill, check_padding};

/// Border around the image (torchvision's `Pad`).
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(deny_unknown_fields)]
pub struct Pad {
    /// Border widths.
    pub padding: Padding,
    /// Value of constant padding: 0 to 255 before to-tensor, any finite number after it.
    #[serde(default)]
    pub fill: f32,
    /// Padding mode.
    #[serde(default)]
    pub padding_mode: PadMode,
}

impl Pad {
    /// Constant padding with 0.
    pub fn new(padding: impl Into<Padding>) -> Self {
        Self {
            padding: padding.into(),
            fill: 0.0,
            padding_mode: PadMode::Constant,
        }
    }
}

impl Transform for Pad {
    fn name(&self) -> &'static str {
        "pad"
    }

    fn kind(&self) -> Kind {
        Kind::Geometry
    }

    fn check(&self, stage: Stage) -> Result<(), Problem> {
        check_padding(self.padding)?;
        check_fill(self.fill, stage)
    }

    fn is_random(&self) -> bool {
        false
    }

    fn moves(
        &self,
        _: (usize, usize),
        _: &mut SampleRng,
        moves: &mut Vec<Move>,
    ) -> Result<(), Problem> {
        append_pad(self.padding, self.padding_mode, self.fill, moves);
        Ok(())
    }
}

/// Appends a border, unless it is empty.
pub(super) fn append_pad(padding: Padding, mode: PadMode, fill: f32, moves: &mut Vec<Move>) {
    if padding != Padding::default() {
        moves.push(Move::Pad {
            padding,
            mode,
            fill,
        });
    }
}
