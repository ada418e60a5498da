//! The steps that passes are made of, and how they get to the processor's vector instructions.

use std::marker::PhantomData;

use pulp::{Simd, WithSimd};

use super::filters::{weights, weights_grad};
use super::tile::{Line, Tile};
use super::transform::{Maps, Planes, gather, scatter};
use crate::kernels::conv::passes::Epilogue;
use crate::kernels::panel;
use crate::kernels::simd::arch;

/// Runs a step on this thread under the best instruction set the processor has.
pub(super) fn run(step: impl WithSimd<Output = ()>) {
    arch().dispatch(step);
}

/// Tiles `first..first + count` of a tensor to frequencies, in rows from `row` on.
pub(super) struct Gather<L> {
    pub(super) line: PhantomData<L>,
    pub(super) x: *const f32,
    pub(super) maps: Maps,
    pub(super) first: usize,
    pub(super) count: usize,
    pub(super) out: Planes,
    pub(super) row: usize,
}

impl<L: Line> WithSimd for Gather<L> {
    type Output = ();

    #[inline(always)]
    fn with_simd<S: Simd>(self, simd: S) {
        let Self {
            x,
            maps,
            first,
            count,
            out,
            row,
            ..
        } = self;
        // SAFETY: whoever made the step promised what its kernel asks for.
        unsafe { gather::<S, L>(simd, x, maps, first, count, out, row) }
    }
}

/// Frequencies, in rows from `row` on, to tiles `first..first + count` of a tensor.
pub(super) struct Scatter<'a, L> {
    pub(super) line: PhantomData<L>,
    pub(super) m: Planes,
    pub(super) row: usize,
    pub(super) maps: Maps,
    pub(super) first: usize,
    pub(super) count: usize,
    pub(super) epilogue: Epilogue<'a>,
    pub(super) y: *mut f32,
}

impl<L: Line> WithSimd for Scatter<'_, L> {
    type Output = ();

    #[inline(always)]
    fn with_simd<S: Simd>(self, simd: S) {
        let Self {
            m,
            row,
            maps,
            first,
            count,
            epilogue,
            y,
            ..
        } = self;
        // SAFETY: as above.
        unsafe { scatter::<S, L>(simd, m, row, maps, first, count, epilogue, y) }
    }
}

/// One panel of filters to frequencies; `FLIP` turns them for the input gradient.
pub(super) struct Weights<'a, F, const FLIP: bool> {
    pub(super) tile: PhantomData<F>,
    pub(super) w: &'a [f32],
    pub(super) dims: (usize, usize),
    pub(super) panel: usize,
    pub(super) out: Planes,
}

impl<F: Tile, const FLIP: bool> WithSimd for Weights<'_, F, FLIP> {
    type Output = ();

    #[inline(always)]
    fn with_simd<S: Simd>(self, simd: S) {
        // SAFETY: as above.
        unsafe { weights::<S, F, FLIP>(simd, self.w, self.dims, self.panel, self.out) }
    }
}

/// One panel of frequencies to filter gradients.
pub(super) struct WeightsGrad<F> {
    pub(super) tile: PhantomData<F>,
    pub(super) du: Planes,
    pub(super) dims: (usize, usize),
    pub(super) panel: usize,
    pub(super) dw: *mut f32,
}

impl<F: Tile> WithSimd for WeightsGrad<F> {
    type Output = ();

    #[inline(always)]
    fn with_simd<S: Simd>(self, simd: S) {
        // SAFETY: as above.
        unsafe { weights_grad::<S, F>(simd, self.du, self.dims, self.panel, self.dw) }
    }
}

/// `out = a b` at the tile's frequencies given, `b` being the filters.
pub(super) struct Multiply<F> {
    pub(super) tile: PhantomData<F>,
    pub(super) dims: (usize, usize, usize),
    pub(super) a: Planes,
    pub(super) b: Planes,
    pub(super) out: Planes,
    /// Of the filters.
    pub(super) frequencies: (usize, usize),
}

impl<F: Tile> WithSimd for Multiply<F> {
    type Output = ();

    #[inline(always)]
    fn with_simd<S: Simd>(self, simd: S) {
        for filter in self.frequencies.0..self.frequencies.1 {
            let b = self.b.of(filter);
            for f in frequencies::<F>(filter) {
                // SAFETY: as above.
                unsafe { panel::nn(simd, self.dims, self.a.of(f), b, self.out.of(f)) };
            }
        }
    }
}

/// `out (+)= a^T b` at the filters' frequencies given, summed over those of the tile that share them.
pub(super) struct MultiplyTransposed<F> {
    pub(super) tile: PhantomData<F>,
    pub(super) dims: (usize, usize, usize),
    pub(super) a: Planes,
    pub(super) b: Planes,
    pub(super) out: Planes,
    pub(super) frequencies: (usize, usize),
    pub(super) accumulate: bool,
}

impl<F: Tile> WithSimd for MultiplyTransposed<F> {
    type Output = ();

    #[inline(always)]
    fn with_simd<S: Simd>(self, simd: S) {
        for filter in self.frequencies.0..self.frequencies.1 {
            let (out, mut accumulate) = (self.out.of(filter), self.accumulate);
            for f in frequencies::<F>(filter) {
                // SAFETY: as above.
                unsafe {
                    let (a, b) = (self.a.of(f), self.b.of(f));
                    panel::tn(simd, self.dims, a, b, out, accumulate);
                }
                accumulate = true;
            }
        }
    }
}

/// The two-dimensional frequencies of the tile that share this one of the filters.
#[inline(always)]
fn frequencies<F: Tile>(filter: usize) -> impl Iterator<Item = usize> {
    let columns = F::frequencies(filter % F::FILTERS);
    F::frequencies(filter / F::FILTERS)
        .flat_map(move |i| columns.clone().map(move |j| i * F::Input::TO + j))
}
