//! Between images one after another and images side by side.

use pulp::Simd;

/// Where an image lies in a block `[C][tall][wide][lane]`: its size, that of the block's maps, and the offset of its first pixel.
#[derive(Clone, Copy)]
pub(super) struct Frame {
    pub(super) channels: usize,
    pub(super) size: (usize, usize),
    pub(super) block: (usize, usize),
    pub(super) offset: (usize, usize),
}

impl Frame {
    /// An image that fills its block.
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

    /// Runs of neighbouring elements: how many, their length.
    fn runs(self) -> (usize, usize) {
        if self.size == self.block {
            (1, self.image())
        } else {
            (self.channels * self.size.0, self.size.1)
        }
    }

    /// Where in the block a run starts.
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
pub(super) fn inward<S: Simd>(_simd: S, x: &[f32], frame: Frame, block: &mut [f32]) {
    let l = S::F32_LANES;
    let image = frame.image();
    let images = x.len() / image;
    if frame.size != frame.block || images < l {
        block.fill(0.0);
    }
    let (runs, length) = frame.runs();
    for run in 0..runs {
        let block = &mut block[frame.start(run) * l..][..length * l];
        for (x0, block) in block.chunks_mut(l * l).enumerate() {
            let count = block.len() / l;
            for i in 0..images {
                let from = &x[i * image + run * length + x0 * l..][..count];
                for (j, v) in from.iter().enumerate() {
                    block[j * l + i] = *v;
                }
            }
        }
    }
}

/// The way back: the images of a block.
#[inline(always)]
pub(super) fn outward<S: Simd>(_simd: S, block: &[f32], frame: Frame, out: &mut [f32]) {
    let l = S::F32_LANES;
    let image = frame.image();
    let (runs, length) = frame.runs();
    for run in 0..runs {
        let block = &block[frame.start(run) * l..][..length * l];
        for (x0, block) in block.chunks(l * l).enumerate() {
            let count = block.len() / l;
            for (i, out) in out.chunks_exact_mut(image).enumerate() {
                let to = &mut out[run * length + x0 * l..][..count];
                for (j, to) in to.iter_mut().enumerate() {
                    *to = block[j * l + i];
                }
            }
        }
    }
}
