//! The steps that passes are made of, and how they get to the processor's vector instructions.

use std::marker::PhantomData;

use pulp::{Simd, WithSimd};

use super::tile::Tile;
use super::transform::{Maps, Planes, gather, scatter, weights, weights_grad};
use crate::kernels::conv::Epilogue;
use crate::kernels::panel;
use crate::kernels::simd::arch;

/// One step of a pass, run under the best instruction set the processor has.
#[derive(Clone, Copy)]
pub(super) enum Step<'a> {
    /// Tiles of a tensor to frequencies; `grad` for output gradients.
    Gather {
        x: *const f32,
        maps: Maps,
        first: usize,
        count: usize,
        out: Planes,
        row: usize,
        grad: bool,
    },
    /// Frequencies to tiles of a tensor.
    Scatter {
        m: Planes,
        row: usize,
        maps: Maps,
        first: usize,
        count: usize,
        epilogue: Epilogue<'a>,
        y: *mut f32,
    },
    /// One panel of filters to frequencies; `flip` turns them for the input gradient.
    Weights {
        w: &'a [f32],
        dims: (usize, usize),
        panel: usize,
        out: Planes,
        flip: bool,
    },
    /// One panel of frequencies to filter gradients.
    WeightsGrad {
        du: Planes,
        dims: (usize, usize),
        panel: usize,
        dw: *mut f32,
    },
    /// `out = a b` at the frequencies given.
    Multiply {
        dims: (usize, usize, usize),
        a: Planes,
        b: Planes,
        out: Planes,
        frequencies: (usize, usize),
    },
    /// `out (+)= a^T b` at the frequencies given.
    MultiplyTransposed {
        dims: (usize, usize, usize),
        a: Planes,
        b: Planes,
        out: Planes,
        frequencies: (usize, usize),
        accumulate: bool,
    },
}

/// Steps of one task in a row; `F` is the tile size.
struct Task<'a, F>(&'a [Step<'a>], PhantomData<F>);

impl<F: Tile> WithSimd for Task<'_, F> {
    type Output = ();

    #[inline(always)]
    fn with_simd<S: Simd>(self, s: S) {
        for &step in self.0 {
            // SAFETY: whoever made the step promised what its kernel asks for.
            unsafe {
                match step {
                    Step::Gather {
                        x,
                        maps,
                        first,
                        count,
                        out,
                        row,
                        grad: false,
                    } => {
                        gather::<S, F, false>(s, x, maps, first, count, out, row);
                    }
                    Step::Gather {
                        x,
                        maps,
                        first,
                        count,
                        out,
                        row,
                        grad: true,
                    } => {
                        gather::<S, F, true>(s, x, maps, first, count, out, row);
                    }
                    Step::Scatter {
                        m,
                        row,
                        maps,
                        first,
                        count,
                        epilogue,
                        y,
                    } => {
                        scatter::<S, F>(s, m, row, maps, first, count, epilogue, y);
                    }
                    Step::Weights {
                        w,
                        dims,
                        panel,
                        out,
                        flip: false,
                    } => {
                        weights::<S, F, false>(s, w, dims, panel, out);
                    }
                    Step::Weights {
                        w,
                        dims,
                        panel,
                        out,
                        flip: true,
                    } => {
                        weights::<S, F, true>(s, w, dims, panel, out);
                    }
                    Step::WeightsGrad {
                        du,
                        dims,
                        panel,
                        dw,
                    } => weights_grad::<S, F>(s, du, dims, panel, dw),
                    Step::Multiply {
                        dims,
                        a,
                        b,
                        out,
                        frequencies,
                    } => {
                        for f in frequencies.0..frequencies.1 {
                            panel::nn(s, dims, a.of(f), b.of(f), out.of(f));
                        }
                    }
                    Step::MultiplyTransposed {
                        dims,
                        a,
                        b,
                        out,
                        frequencies,
                        accumulate,
                    } => {
                        for f in frequencies.0..frequencies.1 {
                            panel::tn(s, dims, a.of(f), b.of(f), out.of(f), accumulate);
                        }
                    }
                }
            }
        }
    }
}

/// Runs the steps one after another on this thread.
pub(super) fn run<F: Tile>(steps: &[Step]) {
    arch().dispatch(Task::<F>(steps, PhantomData));
}
