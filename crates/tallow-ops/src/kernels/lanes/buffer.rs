//! Memory on cache lines: a vector across two costs two loads.

use std::ops::Deref;

const LINE: usize = 16;

#[derive(Clone, Copy)]
#[repr(C, align(64))]
struct Line([f32; LINE]);

/// Floats that start on a cache line.
pub(crate) struct Lines {
    lines: Vec<Line>,
    len: usize,
}

impl Lines {
    /// `len` floats that `fill` writes.
    ///
    /// # Safety
    /// `fill` writes every element, and reads none before it has.
    pub(crate) unsafe fn fresh(len: usize, fill: impl FnOnce(&mut [f32])) -> Self {
        let mut lines: Vec<Line> = Vec::with_capacity(len.div_ceil(LINE));
        // SAFETY: the capacity is there, the caller promises that nothing is read before it is written, and no line is read beyond
        // `len`.
        unsafe {
            fill(std::slice::from_raw_parts_mut(
                lines.as_mut_ptr().cast(),
                len,
            ));
            lines.set_len(len.div_ceil(LINE));
        }
        Self { lines, len }
    }
}

impl Deref for Lines {
    type Target = [f32];

    fn deref(&self) -> &[f32] {
        // SAFETY: the lines are `len` floats or more in a row.
        unsafe { std::slice::from_raw_parts(self.lines.as_ptr().cast(), self.len) }
    }
}

/// The part of `buffer` from its first cache line on; up to fifteen floats less.
pub(super) fn aligned(buffer: &mut [f32]) -> &mut [f32] {
    let skip = buffer.as_ptr().align_offset(64).min(buffer.len());
    &mut buffer[skip..]
}
