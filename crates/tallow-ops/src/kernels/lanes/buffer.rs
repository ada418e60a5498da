//! Memory on cache lines: a vector across two costs two loads.

use std::ops::{Deref, DerefMut};

use crate::kernels::scratch::{self, Scratch};

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

/// Scratch memory that starts on a cache line.
pub(super) struct Buffer {
    scratch: Scratch<f32>,
    start: usize,
    len: usize,
}

/// Takes a buffer of `len` floats; its contents are whatever the last user left.
pub(super) fn take(len: usize) -> Buffer {
    // The first line may start anywhere in the first sixteen floats, however many of them a vector holds.
    let scratch = scratch::take::<f32>(len + LINE - 1);
    let start = scratch.as_ptr().align_offset(align_of::<Line>());
    assert!(start < LINE);
    Buffer {
        scratch,
        start,
        len,
    }
}

impl Deref for Buffer {
    type Target = [f32];

    fn deref(&self) -> &[f32] {
        &self.scratch[self.start..][..self.len]
    }
}

impl DerefMut for Buffer {
    fn deref_mut(&mut self) -> &mut [f32] {
        &mut self.scratch[self.start..][..self.len]
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn buffers_start_on_cache_lines_and_are_as_long_as_asked() {
        for len in [0, 1, 15, 16, 17, 1000] {
            let mut buffer = take(len);
            assert_eq!(buffer.len(), len);
            assert_eq!(buffer.as_ptr() as usize % 64, 0);
            buffer.fill(1.0);
        }
    }
}
