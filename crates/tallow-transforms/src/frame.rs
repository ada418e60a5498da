//! Index maps of a chain of moves.
//!
//! Each [`Move`] treats rows and columns apart, so a chain of them is two index maps, whatever its length.

use crate::moves::{Move, nearest_sources, padded_source};
use crate::options::PadMode;

/// Index maps of rows and columns, and the fills that they refer to.
#[derive(Debug, Default)]
pub(crate) struct Frame {
    pub rows: Axis,
    pub columns: Axis,
    /// Constant borders in the order in which they were added.
    pub fills: Vec<Fill>,
    /// False while both maps are the identity.
    pub moved: bool,
}

/// Value of a constant border and the position of its transform in the pipeline.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Fill {
    pub value: f32,
    pub position: usize,
}

impl Frame {
    pub fn reset(&mut self, height: usize, width: usize) {
        self.rows.reset(height);
        self.columns.reset(width);
        self.fills.clear();
        self.moved = false;
    }

    pub fn size(&self) -> (usize, usize) {
        (self.rows.map.len(), self.columns.map.len())
    }

    /// Adds a move, already checked against [`size`](Self::size), of the transform at `position`.
    pub fn add(&mut self, step: Move, position: usize) {
        self.moved = true;
        match step {
            Move::Pad {
                padding,
                mode,
                fill,
            } => {
                let code = -1 - self.fills.len() as i32;
                self.fills.push(Fill {
                    value: fill,
                    position,
                });
                self.rows.pad(padding.top, padding.bottom, mode, code);
                self.columns.pad(padding.left, padding.right, mode, code);
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
            Move::FlipHorizontal => self.columns.map.reverse(),
            Move::FlipVertical => self.rows.map.reverse(),
            Move::ResizeNearest { height, width } => {
                self.rows.nearest(height);
                self.columns.nearest(width);
            }
        }
    }
}

/// For each output row or column, the index in the source, or `-1 - i` for the fill `i` of the frame.
///
/// A pixel is a fill if its row or its column is. If they are different fills, the later one covers the other, and its
/// code is the smaller number: the code of the pixel is the minimum of both.
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

    fn pad(&mut self, before: usize, after: usize, mode: PadMode, fill: i32) {
        let size = self.map.len();
        let code = |at| match padded_source(at, before, size, mode) {
            Some(index) => self.map[index],
            None => fill,
        };
        self.spare.clear();
        self.spare.extend((0..before).map(code));
        self.spare.extend_from_slice(&self.map);
        self.spare
            .extend((before + size..before + size + after).map(code));
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
