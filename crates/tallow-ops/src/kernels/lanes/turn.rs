//! Conversion between images one after another and images in the lanes of vectors.

use pulp::Simd;

use crate::kernels::square::square16;

/// Position of an image in a block `[C][tall][wide][lane]`: its size, that of the block's maps, and the offset of its first pixel.
#[derive(Clone, Copy)]
pub(super) struct Frame {
    pub(super) channels: usize,
    pub(super) size: (usize, usize),
    pub(super) block: (usize, usize),
    pub(super) offset: (usize, usize),
}

impl Frame {
    /// Image that fills its block.
    pub(super) fn whole(elements: usize) -> Self {
        Self {
            channels: 1,
            size: (1, elements),
            block: (1, elements),
            offset: (0, 0),
        }
    }

    /// Elements of an image.
    fn image(self) -> usize {
        self.channels * self.size.0 * self.size.1
    }

    /// Runs of adjacent elements: their number and length.
    fn runs(self) -> (usize, usize) {
        if self.size == self.block {
            (1, self.image())
        } else {
            (self.channels * self.size.0, self.size.1)
        }
    }

    /// Position of the start of a run in the block.
    fn start(self, run: usize) -> usize {
        let (c, y) = (run / self.size.0, run % self.size.0);
        if self.size == self.block {
            0
        } else {
            (c * self.block.0 + y + self.offset.0) * self.block.1 + self.offset.1
        }
    }
}

/// Images `(C, H, W)` into a block, with zeros around them and in lanes that have no image.
#[inline(always)]
pub(super) fn inward<S: Simd>(simd: S, x: &[f32], frame: Frame, block: &mut [f32]) {
    let l = S::F32_LANES;
    let image = frame.image();
    let images = x.len() / image;
    if frame.size != frame.block || images < l {
        block.fill(0.0);
    }
    let (runs, length) = frame.runs();
    for run in 0..runs {
        let block = &mut block[frame.start(run) * l..][..length * l];
        let mut done = 0;
        if images == l {
            let x = &x[run * length..(l - 1) * image + (run + 1) * length];
            while done + l <= length {
                // SAFETY: `l` rows of `l` elements on both sides.
                unsafe {
                    square(
                        simd,
                        (x.as_ptr().add(done), image),
                        (block.as_mut_ptr().add(done * l), l),
                    );
                }
                done += l;
            }
        }
        for i in 0..images {
            let from = &x[i * image + run * length..][..length];
            for j in done..length {
                block[j * l + i] = from[j];
            }
        }
    }
}

/// Images of a block, the inverse of [`inward`].
#[inline(always)]
pub(super) fn outward<S: Simd>(simd: S, block: &[f32], frame: Frame, out: &mut [f32]) {
    let l = S::F32_LANES;
    let image = frame.image();
    let images = out.len() / image;
    let (runs, length) = frame.runs();
    for run in 0..runs {
        let block = &block[frame.start(run) * l..][..length * l];
        let mut done = 0;
        if images == l {
            let out = &mut out[run * length..(l - 1) * image + (run + 1) * length];
            while done + l <= length {
                // SAFETY: `l` rows of `l` elements on both sides.
                unsafe {
                    square(
                        simd,
                        (block.as_ptr().add(done * l), l),
                        (out.as_mut_ptr().add(done), image),
                    );
                }
                done += l;
            }
        }
        for (i, out) in out.chunks_exact_mut(image).enumerate() {
            let to = &mut out[run * length..][..length];
            for j in done..length {
                to[j] = block[j * l + i];
            }
        }
    }
}

/// Transposes as many rows as there are lanes, of as many elements; rows are `.1` apart.
///
/// # Safety
/// The rows of `from` can be read and those of `to` written.
#[inline(always)]
unsafe fn square<S: Simd>(simd: S, from: (*const f32, usize), to: (*mut f32, usize)) {
    if S::F32_LANES == 16 {
        // SAFETY: promised by the caller.
        return unsafe { square16(simd, from, to) };
    }
    for i in 0..S::F32_LANES {
        for j in 0..S::F32_LANES {
            // SAFETY: promised by the caller.
            unsafe { *to.0.add(j * to.1 + i) = *from.0.add(i * from.1 + j) };
        }
    }
}
