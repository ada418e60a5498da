//! Checks of hyper-parameters that several transforms share.

use crate::error::Problem;
use crate::options::{Interpolation, MAX_SIDE, Padding, Size};
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

/// The probability is in `[0, 1]`.
pub(crate) fn check_probability(p: f64) -> Result<(), Problem> {
    match (0.0..=1.0).contains(&p) {
        true => Ok(()),
        false => Err(Problem::Probability(p)),
    }
}

/// A number of `[low, high]`, with the name of its key.
pub(crate) fn check_number(
    key: &'static str,
    value: f64,
    (low, high): (f64, f64),
    expected: &'static str,
) -> Result<(), Problem> {
    match (low..=high).contains(&value) {
        true => Ok(()),
        false => Err(Problem::parameter(key, value, expected)),
    }
}

/// Two numbers of `[low, high]`, the first not above the second.
pub(crate) fn check_interval(
    key: &'static str,
    [first, second]: [f64; 2],
    (low, high): (f64, f64),
    expected: &'static str,
) -> Result<(), Problem> {
    match low <= first && first <= second && second <= high {
        true => Ok(()),
        false => Err(Problem::parameter(
            key,
            format!("[{first}, {second}]"),
            expected,
        )),
    }
}

/// Bicubic interpolation of a warp is for u8.
pub(crate) fn check_warp(
    interpolation: Interpolation,
    fill: f32,
    stage: Stage,
) -> Result<(), Problem> {
    if stage == Stage::F32 && interpolation == Interpolation::Bicubic {
        return Err(Problem::BicubicF32);
    }
    check_fill(fill, stage)
}

/// A centre is of finite numbers.
pub(crate) fn check_center(center: Option<[f64; 2]>) -> Result<(), Problem> {
    match center {
        Some([x, y]) if !(x.is_finite() && y.is_finite()) => Err(Problem::parameter(
            "center",
            format!("[{x}, {y}]"),
            "two finite numbers, [x, y] in pixels",
        )),
        _ => Ok(()),
    }
}

/// Transforms with a definition for grey and RGB images alone.
pub(crate) fn check_grey_or_rgb(channels: Option<usize>) -> Result<Option<usize>, Problem> {
    match channels {
        None | Some(1 | 3) => Ok(channels),
        Some(found) => Err(Problem::Channels { expected: 3, found }),
    }
}
