//! What crop, pad, flip and nearest-pixel scaling do to rows and columns.
//!
//! Each of them treats rows and columns apart, so any chain of them is two index maps ([`Frame`]), whatever its
//! length. The step-by-step path carries out the same [`Move`]s on pixels.

use crate::{Interpolation, PadMode, Padding, Problem, SampleRng, Transform};

/// One rearrangement of pixels, its random numbers drawn.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Move {
    Pad {
        padding: Padding,
        mode: PadMode,
        fill: f32,
    },
    Crop {
        top: usize,
        left: usize,
        height: usize,
        width: usize,
    },
    Mirror,
    Nearest {
        height: usize,
        width: usize,
    },
}

impl Move {
    /// `(height, width)` of an image of the given one, moved.
    pub fn size_after(self, (height, width): (usize, usize)) -> (usize, usize) {
        match self {
            Self::Pad { padding, .. } => (
                height + padding.top + padding.bottom,
                width + padding.left + padding.right,
            ),
            Self::Crop { height, width, .. } | Self::Nearest { height, width } => (height, width),
            Self::Mirror => (height, width),
        }
    }
}

/// Whether the transform is made of [`Move`]s.
pub(crate) fn is_geometry(transform: &Transform) -> bool {
    match transform {
        Transform::RandomCrop { .. }
        | Transform::RandomHorizontalFlip { .. }
        | Transform::CenterCrop { .. }
        | Transform::Pad { .. } => true,
        Transform::Resize { interpolation, .. } => *interpolation == Interpolation::Nearest,
        Transform::ToTensor
        | Transform::Normalize { .. }
        | Transform::Grayscale { .. }
        | Transform::PermutePixels { .. } => false,
    }
}

/// The moves of `transform` on an image of `height` x `width`, in order. Transforms that are no geometry have none.
///
/// A random crop draws its top and then its left, a flip one word; always, so that what one transform draws does
/// not depend on another's fields.
pub(crate) fn moves(
    transform: &Transform,
    (height, width): (usize, usize),
    rng: &mut SampleRng,
) -> Result<[Option<Move>; 2], Problem> {
    let pad = |padding: Padding, mode: PadMode, fill: f32| -> Result<Option<Move>, Problem> {
        check_mirror(padding, mode, height, width)?;
        Ok((padding != Padding::default()).then_some(Move::Pad {
            padding,
            mode,
            fill,
        }))
    };
    Ok(match *transform {
        Transform::RandomCrop {
            size,
            mut padding,
            pad_if_needed,
            fill,
            padding_mode,
        } => {
            let (crop_height, crop_width) = size.window();
            if pad_if_needed {
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
            let crop = Move::Crop {
                top,
                left,
                height: crop_height,
                width: crop_width,
            };
            [pad(padding, padding_mode, fill)?, Some(crop)]
        }
        Transform::RandomHorizontalFlip { p } => [rng.chance(p).then_some(Move::Mirror), None],
        Transform::CenterCrop { size } => {
            let (crop_height, crop_width) = size.window();
            let (rows, columns) = (
                crop_height.saturating_sub(height),
                crop_width.saturating_sub(width),
            );
            let padding = Padding {
                left: columns / 2,
                top: rows / 2,
                right: columns.div_ceil(2),
                bottom: rows.div_ceil(2),
            };
            let crop = Move::Crop {
                top: round_half(height + rows - crop_height),
                left: round_half(width + columns - crop_width),
                height: crop_height,
                width: crop_width,
            };
            [pad(padding, PadMode::Constant, 0.0)?, Some(crop)]
        }
        Transform::Pad {
            padding,
            fill,
            padding_mode,
        } => [pad(padding, padding_mode, fill)?, None],
        Transform::Resize {
            size,
            interpolation: Interpolation::Nearest,
        } => {
            let (height, width) = size.scaled(height, width)?;
            [Some(Move::Nearest { height, width }), None]
        }
        Transform::ToTensor
        | Transform::Normalize { .. }
        | Transform::Resize { .. }
        | Transform::Grayscale { .. }
        | Transform::PermutePixels { .. } => [None, None],
    })
}

/// `n / 2`, a half going to the even neighbour, as Python's `round` does in torchvision's centre crop.
fn round_half(n: usize) -> usize {
    let half = n / 2;
    if n % 2 == 1 && half % 2 == 1 {
        half + 1
    } else {
        half
    }
}

fn check_mirror(
    padding: Padding,
    mode: PadMode,
    height: usize,
    width: usize,
) -> Result<(), Problem> {
    let (mode, spare) = match mode {
        PadMode::Constant | PadMode::Edge => return Ok(()),
        PadMode::Reflect => ("reflect", 1),
        PadMode::Symmetric => ("symmetric", 0),
    };
    let sides = [
        (padding.left, width),
        (padding.right, width),
        (padding.top, height),
        (padding.bottom, height),
    ];
    for (padding, side) in sides {
        if padding + spare > side && padding > 0 {
            return Err(Problem::MirrorTooWide {
                mode,
                padding,
                side,
            });
        }
    }
    Ok(())
}

/// Which of `0..size` shows at position `at` of a side padded by `before`; none where a constant does.
pub(crate) fn padded_source(at: usize, before: usize, size: usize, mode: PadMode) -> Option<usize> {
    let (distance, inside) = match at.checked_sub(before) {
        Some(index) if index < size => return Some(index),
        // How far outside, 1 being next to the edge, and the pixel at that edge.
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

/// The pixels that nearest-pixel scaling of a side from `size` to `scaled` shows. The sum runs in f64 as PIL's does,
/// for equality where a centre falls between two pixels.
pub(crate) fn nearest_sources(size: usize, scaled: usize) -> impl Iterator<Item = usize> {
    let step = size as f64 / scaled as f64;
    let mut at = step * 0.5;
    (0..scaled).map(move |_| {
        let source = (at as usize).min(size - 1);
        at += step;
        source
    })
}

/// A chain of moves as index maps.
#[derive(Debug, Default)]
pub(crate) struct Frame {
    pub rows: Axis,
    pub columns: Axis,
    /// False while both maps are the identity.
    pub moved: bool,
}

impl Frame {
    pub fn reset(&mut self, height: usize, width: usize) {
        self.rows.reset(height);
        self.columns.reset(width);
        self.moved = false;
    }

    pub fn size(&self) -> (usize, usize) {
        (self.rows.map.len(), self.columns.map.len())
    }

    /// Adds a move of the transform at `position`.
    pub fn add(&mut self, step: Move, position: usize) {
        self.moved = true;
        match step {
            Move::Pad { padding, mode, .. } => {
                self.rows.pad(padding.top, padding.bottom, mode, position);
                self.columns
                    .pad(padding.left, padding.right, mode, position);
            }
            Move::Crop {
                top,
                left,
                height,
                width,
            } => {
                self.rows.crop(top, height);
                self.columns.crop(left, width);
            }
            Move::Mirror => self.columns.map.reverse(),
            Move::Nearest { height, width } => {
                self.rows.nearest(height);
                self.columns.nearest(width);
            }
        }
    }
}

/// For each output row or column, the source's index, or `-1 - position` for the fill of the transform there.
///
/// A pixel shows a fill if its row or its column does. Where they show different ones the later transform's covers
/// the other, and that is the smaller number: the pixel's fill is the minimum of both.
#[derive(Debug, Default)]
pub(crate) struct Axis {
    pub map: Vec<i32>,
    spare: Vec<i32>,
}

impl Axis {
    fn reset(&mut self, size: usize) {
        self.map.clear();
        self.map.extend(0..size as i32);
    }

    fn pad(&mut self, before: usize, after: usize, mode: PadMode, position: usize) {
        let size = self.map.len();
        let shown = |at| match padded_source(at, before, size, mode) {
            Some(index) => self.map[index],
            None => -1 - position as i32,
        };
        self.spare.clear();
        self.spare.extend((0..before).map(shown));
        self.spare.extend_from_slice(&self.map);
        self.spare
            .extend((before + size..before + size + after).map(shown));
        std::mem::swap(&mut self.map, &mut self.spare);
    }

    fn crop(&mut self, start: usize, size: usize) {
        self.map.copy_within(start..start + size, 0);
        self.map.truncate(size);
    }

    fn nearest(&mut self, scaled: usize) {
        self.spare.clear();
        self.spare
            .extend(nearest_sources(self.map.len(), scaled).map(|index| self.map[index]));
        std::mem::swap(&mut self.map, &mut self.spare);
    }
}
