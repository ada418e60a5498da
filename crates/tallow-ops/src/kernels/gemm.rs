//! Matrix products over strided views, by the `gemm` crate.

use super::parallel::Threads;
use super::real::Real;

/// A matrix inside a slice.
#[derive(Clone, Copy)]
pub(crate) struct Matrix<'a, T> {
    data: &'a [T],
    rows: usize,
    columns: usize,
    row_stride: usize,
    column_stride: usize,
}

impl<'a, T> Matrix<'a, T> {
    /// Row-major with nothing between the rows.
    pub(crate) fn dense(data: &'a [T], rows: usize, columns: usize) -> Self {
        Self::rows(data, rows, columns, columns)
    }

    /// Row-major with `stride` elements from one row to the next.
    pub(crate) fn rows(data: &'a [T], rows: usize, columns: usize, stride: usize) -> Self {
        Self {
            data,
            rows,
            columns,
            row_stride: stride,
            column_stride: 1,
        }
    }

    /// The transpose.
    pub(crate) fn t(self) -> Self {
        let Self {
            data,
            rows,
            columns,
            row_stride,
            column_stride,
        } = self;
        Self {
            data,
            rows: columns,
            columns: rows,
            row_stride: column_stride,
            column_stride: row_stride,
        }
    }
}

/// A row-major matrix to write into.
pub(crate) struct MatrixMut<'a, T> {
    data: &'a mut [T],
    rows: usize,
    columns: usize,
    stride: usize,
}

impl<'a, T> MatrixMut<'a, T> {
    /// Row-major with nothing between the rows.
    pub(crate) fn dense(data: &'a mut [T], rows: usize, columns: usize) -> Self {
        Self::rows(data, rows, columns, columns)
    }

    /// Row-major with `stride` elements from one row to the next.
    pub(crate) fn rows(data: &'a mut [T], rows: usize, columns: usize, stride: usize) -> Self {
        Self {
            data,
            rows,
            columns,
            stride,
        }
    }
}

/// Elements a strided matrix spans.
fn span(rows: usize, columns: usize, row_stride: usize, column_stride: usize) -> usize {
    if rows == 0 || columns == 0 {
        0
    } else {
        (rows - 1) * row_stride + (columns - 1) * column_stride + 1
    }
}

/// `out = a * b`, or `out += a * b` when `accumulate`.
///
/// The inner dimension is never split over threads, so the bits do not depend on how many there are.
pub(crate) fn gemm<T: Real>(
    out: MatrixMut<T>,
    a: Matrix<T>,
    b: Matrix<T>,
    accumulate: bool,
    threads: Threads,
) {
    let (m, k, n) = (a.rows, a.columns, b.columns);
    assert!(
        b.rows == k && out.rows == m && out.columns == n,
        "matrix shapes do not chain"
    );
    assert!(a.data.len() >= span(m, k, a.row_stride, a.column_stride));
    assert!(b.data.len() >= span(k, n, b.row_stride, b.column_stride));
    assert!(out.data.len() >= span(m, n, out.stride, 1) && (out.stride >= n || m <= 1));
    let parallelism = match threads {
        Threads::One => gemm::Parallelism::None,
        Threads::All => gemm::Parallelism::Rayon(0),
    };
    // SAFETY: each matrix was just checked to lie inside its slice, the rows of `out` do not overlap, and `out` is borrowed
    // mutably, so it aliases neither input. `Real` is implemented for `f32` and `f64` only, which the crate supports.
    unsafe {
        gemm::gemm(
            m,
            n,
            k,
            out.data.as_mut_ptr(),
            1,
            out.stride as isize,
            accumulate,
            a.data.as_ptr(),
            a.column_stride as isize,
            a.row_stride as isize,
            b.data.as_ptr(),
            b.column_stride as isize,
            b.row_stride as isize,
            T::ONE,
            T::ONE,
            false,
            false,
            false,
            parallelism,
        );
    }
}
