//! Max pooling. The position of each maximum in the input plane, `row * W + column`, is kept for the backward pass.

use std::hint::select_unpredictable;

use super::{Axis, Rows};
use crate::kernels::float::Float;
use crate::kernels::parallel::{pieces, pieces2};
use crate::layout::{Extents, Layout};

/// Position of the maximum of a window that is all padding.
const NOBODY: u32 = u32::MAX;

/// Writes the maxima to `y` and their positions to `winner`.
///
/// As in PyTorch, the first of equal values is the maximum, and NaN counts as larger than any number, a later NaN as larger than
/// an earlier one.
pub(crate) fn forward<T: Float>(
    x: &[T],
    extents: Extents,
    layout: Layout,
    (rows, columns): (Axis, Axis),
    y: &mut [T],
    winner: &mut [u32],
) {
    let Extents { c, h, w, .. } = extents;
    let area = rows.kernel * columns.kernel;
    match layout {
        Layout::Nchw => {
            let out = rows.output * columns.output;
            pieces2(
                (y, out),
                (winner, out),
                out * area,
                #[inline(always)]
                |i, y, winner| {
                    plane(&x[i * h * w..][..h * w], rows, columns, y, winner);
                },
            );
        }
        Layout::Nhwc => {
            let out = columns.output * c;
            pieces2(
                (y, out),
                (winner, out),
                out * area,
                #[inline(always)]
                |i, y, winner| {
                    let image = &x[i / rows.output * h * w * c..][..h * w * c];
                    row_of_pixels(image, c, rows, columns, i % rows.output, y, winner);
                },
            );
        }
    }
}

/// Writes the gradient of each input to `gx`: the sum of those of the outputs whose maximum it is.
pub(crate) fn backward<T: Float>(
    gy: &[T],
    winner: &[u32],
    extents: Extents,
    layout: Layout,
    (rows, columns): (Axis, Axis),
    gx: &mut [T],
) {
    let Extents { c, h, w, .. } = extents;
    let out = rows.output * columns.output;
    match layout {
        Layout::Nchw => pieces(
            gx,
            h * w,
            h * w + out,
            #[inline(always)]
            |i, gx| {
                gx.fill(T::ZERO);
                for (&g, &place) in gy[i * out..][..out].iter().zip(&winner[i * out..][..out]) {
                    // NOBODY lies outside the plane.
                    if let Some(gx) = gx.get_mut(place as usize) {
                        *gx += g;
                    }
                }
            },
        ),
        Layout::Nhwc => pieces(
            gx,
            h * w * c,
            h * w * c + out * c * rows.kernel * columns.kernel,
            #[inline(always)]
            |i, gx| {
                let (gy, winner) = (
                    &gy[i * out * c..][..out * c],
                    &winner[i * out * c..][..out * c],
                );
                let mut gx = Rows::new(gx, w * c);
                let row_len = columns.output * c;
                let of_rows = gy.chunks_exact(row_len).zip(winner.chunks_exact(row_len));
                for (row, (gy, winner)) in of_rows.enumerate() {
                    let gx = gx.up_to(rows.end(row));
                    let pixels = gy.chunks_exact(c).zip(winner.chunks_exact(c));
                    for (column, (gy, winner)) in pixels.enumerate() {
                        for place in places(rows, columns, row, column) {
                            let gx = &mut gx[place * c..][..c];
                            for ((gx, &g), &winner) in gx.iter_mut().zip(gy).zip(winner) {
                                *gx += if winner as usize == place { g } else { T::ZERO };
                            }
                        }
                    }
                }
                gx.up_to(h);
            },
        ),
    }
}

/// The places in the input plane that one window covers, in row-major order.
#[inline(always)]
fn places(rows: Axis, columns: Axis, row: usize, column: usize) -> impl Iterator<Item = usize> {
    rows.taps(row).flat_map(move |r| {
        let start = rows.position(row, r) * columns.input;
        columns
            .taps(column)
            .map(move |k| start + columns.position(column, k))
    })
}

/// One output row of `(OW, C)`: every window position is compared for all channels at once.
#[inline(always)]
fn row_of_pixels<T: Float>(
    image: &[T],
    c: usize,
    rows: Axis,
    columns: Axis,
    row: usize,
    y: &mut [T],
    winner: &mut [u32],
) {
    for (column, (y, winner)) in y
        .chunks_exact_mut(c)
        .zip(winner.chunks_exact_mut(c))
        .enumerate()
    {
        let mut places = places(rows, columns, row, column);
        let Some(first) = places.next() else {
            y.fill(T::NEG_INFINITY);
            winner.fill(NOBODY);
            continue;
        };
        y.copy_from_slice(&image[first * c..][..c]);
        winner.fill(first as u32);
        for place in places {
            let x = &image[place * c..][..c];
            for ((y, winner), &x) in y.iter_mut().zip(winner.iter_mut()).zip(x) {
                let better = (x > *y) | x.is_nan();
                *y = select_unpredictable(better, x, *y);
                *winner = select_unpredictable(better, place as u32, *winner);
            }
        }
    }
}

/// One plane of `(H, W)`: every tap is compared for all outputs of a row at once.
#[inline(always)]
fn plane<T: Float>(x: &[T], rows: Axis, columns: Axis, y: &mut [T], winner: &mut [u32]) {
    y.fill(T::NEG_INFINITY);
    winner.fill(NOBODY);
    let (width, out) = (columns.input, columns.output);
    for (row, (y, winner)) in y
        .chunks_exact_mut(out)
        .zip(winner.chunks_exact_mut(out))
        .enumerate()
    {
        for r in rows.taps(row) {
            let start = rows.position(row, r) * width;
            for k in 0..columns.kernel {
                let outputs = columns.outputs(k);
                if outputs.is_empty() {
                    continue;
                }
                let first = start + columns.position(outputs.start, k);
                let reach = (outputs.len() - 1) * columns.stride + 1;
                let x = &x[first..][..reach];
                let (y, winner) = (&mut y[outputs.clone()], &mut winner[outputs]);
                // The usual strides get code of their own, for the compiler to vectorise.
                match columns.stride {
                    1 => tap::<T, 1>(x, first as u32, y, winner),
                    2 => tap::<T, 2>(x, first as u32, y, winner),
                    3 => tap::<T, 3>(x, first as u32, y, winner),
                    stride => {
                        for (i, (y, winner)) in y.iter_mut().zip(winner).enumerate() {
                            compare(x[i * stride], (first + i * stride) as u32, y, winner);
                        }
                    }
                }
            }
        }
    }
}

/// Compares `x[i * STRIDE]`, at the place `first + i * STRIDE`, with the best of output `i`.
#[inline(always)]
fn tap<T: Float, const STRIDE: usize>(x: &[T], first: u32, y: &mut [T], winner: &mut [u32]) {
    // The last element stands alone: there may be nothing behind it.
    let (groups, last) = x.as_chunks::<STRIDE>();
    let mut place = first;
    for ((x, y), winner) in groups.iter().zip(y.iter_mut()).zip(winner.iter_mut()) {
        compare(x[0], place, y, winner);
        place += STRIDE as u32;
    }
    if let ([x, ..], [.., y], [.., winner]) = (last, y, winner) {
        compare(*x, place, y, winner);
    }
}

#[inline(always)]
fn compare<T: Float>(x: T, place: u32, y: &mut T, winner: &mut u32) {
    let better = (x > *y) | x.is_nan() | (*winner == NOBODY);
    // A branch would be mispredicted half of the time, and keep the loop from being vectorised.
    *y = select_unpredictable(better, x, *y);
    *winner = select_unpredictable(better, place, *winner);
}
