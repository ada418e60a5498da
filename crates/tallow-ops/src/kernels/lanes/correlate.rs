//! The product of filters with rows of maps: forward, and with turned filters the input gradient.

use std::ops::Range;

use pulp::Simd;

use crate::kernels::conv::geometry::Geometry;
use crate::kernels::panel::{load, store};

/// Filters in the order the kernel reads them: `[K / block][C][KH][KW][block]`, the last block filled up with zeros.
pub(super) struct Filters {
    values: Vec<f32>,
    outputs: usize,
    block: usize,
    inputs: usize,
    kernel: (usize, usize),
}

impl Filters {
    /// Of `(K, C, KH, KW)`.
    pub(super) fn forward(g: &Geometry, w: &[f32]) -> Self {
        let taps = g.taps();
        Self::new(g.out_channels, g.channels, g.kernel, |k, c, tap| {
            w[(k * g.channels + c) * taps + tap]
        })
    }

    /// Of the same with inputs and outputs exchanged and the kernel turned by 180 degrees.
    pub(super) fn turned(g: &Geometry, w: &[f32]) -> Self {
        let taps = g.taps();
        Self::new(g.channels, g.out_channels, g.kernel, |k, c, tap| {
            w[(c * g.channels + k) * taps + taps - 1 - tap]
        })
    }

    pub(super) fn new(
        outputs: usize,
        inputs: usize,
        kernel: (usize, usize),
        at: impl Fn(usize, usize, usize) -> f32,
    ) -> Self {
        let block = if !outputs.is_multiple_of(4) && outputs.is_multiple_of(6) {
            6
        } else {
            4
        };
        let mut values =
            Vec::with_capacity(outputs.next_multiple_of(block) * inputs * kernel.0 * kernel.1);
        for first in (0..outputs).step_by(block) {
            for c in 0..inputs {
                for tap in 0..kernel.0 * kernel.1 {
                    values.extend(
                        (first..first + block)
                            .map(|k| if k < outputs { at(k, c, tap) } else { 0.0 }),
                    );
                }
            }
        }
        Self {
            values,
            outputs,
            block,
            inputs,
            kernel,
        }
    }

    /// The first output channel of each block, how many there are of it, and its filters.
    pub(super) fn blocks(&self) -> impl Iterator<Item = (usize, usize, &[f32])> {
        let size = self.inputs * self.kernel.0 * self.kernel.1 * self.block;
        self.values
            .chunks_exact(size)
            .enumerate()
            .map(move |(i, values)| {
                let first = i * self.block;
                (first, self.block.min(self.outputs - first), values)
            })
    }

    /// Output channels of a block.
    pub(super) fn block(&self) -> usize {
        self.block
    }

    /// Output channels.
    pub(super) fn outputs(&self) -> usize {
        self.outputs
    }
}

/// Maps to read: vectors of a channel, `row` apart from line to line, channels `plane` apart. Distances count vectors.
#[derive(Clone, Copy)]
pub(super) struct Source {
    pub(super) start: *const f32,
    pub(super) plane: usize,
    pub(super) row: usize,
}

/// One line of `width` vectors for every output channel, from the kernel's rows `rows`; lines of `out` are `.1` vectors apart.
///
/// # Safety
/// Every vector that the rows and columns of the kernel meet can be read, and the lines of `out` can be written.
#[inline(always)]
pub(super) unsafe fn correlate<S: Simd>(
    simd: S,
    source: Source,
    filters: &Filters,
    rows: Range<usize>,
    bias: Option<&[f32]>,
    width: usize,
    out: (*mut f32, usize),
) {
    let l = S::F32_LANES;
    for (first, live, values) in filters.blocks() {
        let mut x = 0;
        macro_rules! columns {
            ($block:literal: $($columns:literal)*) => {{$(
                while width - x >= $columns {
                    let source = Source { start: source.start.wrapping_add(x * l), ..source };
                    // SAFETY: promised by the caller.
                    unsafe {
                        let acc = tile::<S, $block, $columns>(
                            simd, source, values.as_ptr(), filters.inputs, filters.kernel, rows.clone(), (bias, first, live),
                        );
                        for k in 0..live {
                            for j in 0..$columns {
                                store::<S>(out.0.add(((first + k) * out.1 + x + j) * l), acc[k][j]);
                            }
                        }
                    }
                    x += $columns;
                }
            )*}};
        }
        // As many accumulators as leave registers for the operands.
        match (filters.block, S::REGISTER_COUNT >= 32) {
            (6, true) => columns!(6: 4 2 1),
            (6, false) => columns!(6: 2 1),
            (_, true) => columns!(4: 6 4 2 1),
            (_, false) => columns!(4: 3 1),
        }
    }
}

/// `BLOCK` output channels of `COLUMNS` neighbouring pixels.
#[inline(always)]
unsafe fn tile<S: Simd, const BLOCK: usize, const COLUMNS: usize>(
    simd: S,
    source: Source,
    values: *const f32,
    inputs: usize,
    kernel: (usize, usize),
    rows: Range<usize>,
    (bias, first, live): (Option<&[f32]>, usize, usize),
) -> [[S::f32s; COLUMNS]; BLOCK] {
    let l = S::F32_LANES;
    let mut acc = [[simd.splat_f32s(0.0); COLUMNS]; BLOCK];
    if let Some(bias) = bias {
        for k in 0..live {
            acc[k] = [simd.splat_f32s(bias[first + k]); COLUMNS];
        }
    }
    for c in 0..inputs {
        for ky in rows.clone() {
            let line = source
                .start
                .wrapping_add((c * source.plane + ky * source.row) * l);
            let taps = values.wrapping_add((c * kernel.0 + ky) * kernel.1 * BLOCK);
            for kx in 0..kernel.1 {
                // SAFETY: promised by the caller; the filters have these taps.
                unsafe {
                    let mut x = [simd.splat_f32s(0.0); COLUMNS];
                    for j in 0..COLUMNS {
                        x[j] = load::<S>(line.add((kx + j) * l));
                    }
                    for k in 0..BLOCK {
                        let w = simd.splat_f32s(*taps.add(kx * BLOCK + k));
                        for j in 0..COLUMNS {
                            acc[k][j] = simd.mul_add_e_f32s(w, x[j], acc[k][j]);
                        }
                    }
                }
            }
        }
    }
    acc
}
