//! Checks of hyper-parameters that several transforms share.

use crate::error::Problem;
use crate::options::{MAX_SIDE, Padding, Size};
use crate::transform::Stage;

/// Each side is in `1..=MAX_SIDE`.
pub(crate) fn check_size(size: Size) -> Result<(), Problem> {
    let (height, width) = size.window();
    match [height, width]
        .into_iter()
        .find(|side| !(1..=MAX_SIDE).contains(side))
    {
        Some(side) => Err(Problem::Size(side)),
        None => Ok(()),
    }
}

/// No side is above `MAX_SIDE`.
pub(crate) fn check_padding(padding: Padding) -> Result<(), Problem> {
    let Padding {
        left,
        top,
        right,
        bottom,
    } = padding;
    match [left, top, right, bottom]
        .into_iter()
        .find(|side| *side > MAX_SIDE)
    {
        Some(side) => Err(Problem::Padding(side)),
        None => Ok(()),
    }
}

/// The fill is a value of the image: a whole number in `0..=255` for u8, finite for f32.
pub(crate) fn check_fill(fill: f32, stage: Stage) -> Result<(), Problem> {
    if stage == Stage::U8 && (fill.fract() != 0.0 || !(0.0..=255.0).contains(&fill)) {
        return Err(Problem::FillU8(fill));
    }
    if !fill.is_finite() {
        return Err(Problem::Fill(fill));
    }
    Ok(())
}
