//! Products of `f32` matrices whose right operand is packed into panels once, for sizes where a general product spends much of its time
//! on packing.

use pulp::{Arch, Simd, WithSimd};

use super::panel::{self, Mat, PANEL, nn};
use super::parallel::{Threads, for_each_chunk};
use super::scratch::{self, Scratch};
use super::simd::arch;
use super::square::square16;

/// Rows that are computed together with all columns of a panel.
const ROWS: usize = 4;

/// True if a product of `rows` by `columns` over `depth` is best made here: whole panels, none of the sizes small.
pub(super) fn suits(rows: usize, columns: usize, depth: usize) -> bool {
    columns.is_multiple_of(PANEL)
        && columns > 0
        && rows.min(depth) >= PANEL
        && !matches!(arch(), Arch::Scalar)
}

/// The panels of a row-major matrix of `rows` by `columns`, whole panels of these.
pub(super) fn rows(from: &[f32], rows: usize, columns: usize) -> Scratch<f32> {
    let mut panels = scratch::take::<f32>(panel::len(rows, columns));
    for (row, from) in from.chunks_exact(columns).enumerate() {
        for (panel, from) in from.as_chunks::<PANEL>().0.iter().enumerate() {
            panels[(panel * rows + row) * PANEL..][..PANEL].copy_from_slice(from);
        }
    }
    panels
}

/// The panels of the transpose of a row-major matrix of `columns` by `rows`, where the columns are whole panels.
pub(super) fn transposed(from: &[f32], columns: usize, rows: usize) -> Scratch<f32> {
    let mut panels = scratch::take::<f32>(panel::len(rows, columns));
    for (to, from) in panels
        .chunks_exact_mut(rows * PANEL)
        .zip(from.chunks_exact(rows * PANEL))
    {
        arch().dispatch(Panel { from, rows, to });
    }
    panels
}

/// A panel of a transpose: sixteen rows of `from` become the columns of `to`.
struct Panel<'a> {
    from: &'a [f32],
    rows: usize,
    to: &'a mut [f32],
}

impl WithSimd for Panel<'_> {
    type Output = ();

    #[inline(always)]
    fn with_simd<S: Simd>(self, simd: S) {
        let Self { from, rows, to } = self;
        assert!(from.len() == rows * PANEL && to.len() == rows * PANEL);
        let whole = rows - rows % PANEL;
        for row in (0..whole).step_by(PANEL) {
            let to = to[row * PANEL..].as_mut_ptr();
            // SAFETY: sixteen of the `rows` elements of each row of `from` are read and as many rows of `to` written, all inside.
            unsafe { square16(simd, (from[row..].as_ptr(), rows), (to, PANEL)) };
        }
        for row in whole..rows {
            for column in 0..PANEL {
                to[row * PANEL + column] = from[column * rows + row];
            }
        }
    }
}

/// The transpose of a row-major matrix of `rows` by `columns`.
pub(super) fn transposed_rows(from: &[f32], rows: usize, columns: usize) -> Scratch<f32> {
    let mut to = scratch::take::<f32>(rows * columns);
    super::transpose::batched(from, 1, rows, columns, &mut to);
    to
}

/// `out = a * b + bias` for a row-major `a` with rows of `depth` and `b` in panels.
///
/// The depth is never split, so the bits do not depend on the number of threads.
pub(super) fn product(
    threads: Threads,
    a: &[f32],
    b: &[f32],
    depth: usize,
    bias: Option<&[f32]>,
    out: &mut [f32],
    columns: usize,
) {
    let rows = out.len() / columns;
    assert!(a.len() == rows * depth && b.len() == panel::len(depth, columns));
    let chunk = rows.div_ceil(threads.count()).next_multiple_of(ROWS);
    for_each_chunk(out, chunk * columns, threads, |i, out| {
        arch().dispatch(Product {
            a: &a[i * chunk * depth..][..out.len() / columns * depth],
            b,
            depth,
            out,
            columns,
        });
        if let Some(bias) = bias {
            for out in out.chunks_exact_mut(columns) {
                for (out, &bias) in out.iter_mut().zip(bias) {
                    *out += bias;
                }
            }
        }
    });
}

struct Product<'a> {
    a: &'a [f32],
    b: &'a [f32],
    depth: usize,
    out: &'a mut [f32],
    columns: usize,
}

impl WithSimd for Product<'_> {
    type Output = ();

    #[inline(always)]
    fn with_simd<S: Simd>(self, simd: S) {
        let Self {
            a,
            b,
            depth,
            out,
            columns,
        } = self;
        let size = (out.len() / columns, columns, depth);
        let a = Mat::rows(a.as_ptr().cast_mut(), depth);
        let b = Mat::panels(b.as_ptr().cast_mut(), depth);
        let out = Mat::rows(out.as_mut_ptr(), columns);
        // SAFETY: `product` checked the sizes, the columns are whole panels, and only `out` is written.
        unsafe { nn(simd, size, a, b, out) };
    }
}
