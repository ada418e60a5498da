//! Rearrangements of pixels that treat rows and columns apart: pad, crop, flip, scaling to the nearest pixel.

use crate::error::Problem;
use crate::options::{MAX_SIDE, PadMode, Padding};

/// Rearrangement of the pixels of one image, with its random numbers already drawn.
///
/// A transform of [`Kind::Geometry`](crate::Kind::Geometry) is a list of them. Chains of any length run as one pass.
#[derive(Clone, Copy, Debug, PartialEq)]
#[non_exhaustive]
pub enum Move {
    /// Adds a border.
    Pad {
        /// Border widths.
        padding: Padding,
        /// Values of the border.
        mode: PadMode,
        /// Value of [`PadMode::Constant`], in the units of the image (0 to 255 before to-tensor).
        fill: f32,
    },
    /// Cuts out a window.
    Crop {
        /// First row.
        top: usize,
        /// First column.
        left: usize,
        /// Rows.
        height: usize,
        /// Columns.
        width: usize,
    },
    /// Mirrors left to right.
    FlipHorizontal,
    /// Mirrors top to bottom.
    FlipVertical,
    /// Scales to a size, each pixel taken from the nearest one of the source (PIL's `NEAREST`).
    ResizeNearest {
        /// Rows.
        height: usize,
        /// Columns.
        width: usize,
    },
}

impl Move {
    /// Size `(H, W)` after the move.
    ///
    /// # Errors
    /// If a mirrored border is wider than the image allows, a crop reaches beyond the image, or a size or padding is
    /// outside the range accepted.
    pub fn output_size(self, (height, width): (usize, usize)) -> Result<(usize, usize), Problem> {
        match self {
            Self::Pad { padding, mode, .. } => {
                let sides = [
                    (padding.left, width),
                    (padding.right, width),
                    (padding.top, height),
                    (padding.bottom, height),
                ];
                for (padding, side) in sides {
                    check_border(padding, side, mode)?;
                }
                Ok((
                    height + padding.top + padding.bottom,
                    width + padding.left + padding.right,
                ))
            }
            Self::Crop {
                top,
                left,
                height: crop_height,
                width: crop_width,
            } => {
                let fits = |start: usize, length: usize, side: usize| {
                    length > 0 && start.checked_add(length).is_some_and(|end| end <= side)
                };
                if !fits(top, crop_height, height) || !fits(left, crop_width, width) {
                    return Err(Problem::CropOutside {
                        top,
                        left,
                        crop_height,
                        crop_width,
                        height,
                        width,
                    });
                }
                Ok((crop_height, crop_width))
            }
            Self::FlipHorizontal | Self::FlipVertical => Ok((height, width)),
            Self::ResizeNearest { height, width } => {
                for side in [height, width] {
                    if !(1..=MAX_SIDE).contains(&side) {
                        return Err(Problem::Size(side));
                    }
                }
                Ok((height, width))
            }
        }
    }
}

impl PadMode {
    /// A side can be padded by so much.
    pub(crate) fn check(self, padding: usize, side: usize) -> Result<(), Problem> {
        check_border(padding, side, self)
    }
}

fn check_border(padding: usize, side: usize, mode: PadMode) -> Result<(), Problem> {
    if padding > MAX_SIDE {
        return Err(Problem::Padding(padding));
    }
    let (mode, spare) = match mode {
        PadMode::Constant | PadMode::Edge => return Ok(()),
        PadMode::Reflect => ("reflect", 1),
        PadMode::Symmetric => ("symmetric", 0),
    };
    if padding > 0 && padding + spare > side {
        return Err(Problem::MirrorTooWide {
            mode,
            padding,
            side,
        });
    }
    Ok(())
}

/// Index in `0..size` of the pixel at position `at` of a side padded by `before`; none where the fill is.
pub(crate) fn padded_source(at: usize, before: usize, size: usize, mode: PadMode) -> Option<usize> {
    let (distance, inside) = match at.checked_sub(before) {
        Some(index) if index < size => return Some(index),
        // The distance from the image, 1 being next to the edge, and the pixel at that edge.
        Some(index) => (index - size + 1, size - 1),
        None => (before - at, 0),
    };
    let offset = match mode {
        PadMode::Constant => return None,
        PadMode::Edge => 0,
        PadMode::Reflect => distance,
        PadMode::Symmetric => distance - 1,
    };
    Some(inside.abs_diff(offset))
}

/// Indices of the pixels that scaling a side from `size` to `scaled` selects. The sum runs in f64 as PIL's does, for
/// equality where a center is halfway between two pixels.
pub(crate) fn nearest_sources(size: usize, scaled: usize) -> impl Iterator<Item = usize> {
    let step = size as f64 / scaled as f64;
    let mut at = step * 0.5;
    (0..scaled).map(move |_| {
        let source = (at as usize).min(size - 1);
        at += step;
        source
    })
}
