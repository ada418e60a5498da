//! Average pooling over windows given axis by axis, regular or not.

use super::Rows;
use crate::kernels::float::Float;
use crate::kernels::parallel::pieces;
use crate::layout::{Extents, Layout};

/// Span of one output along one axis: the average of inputs `start..end` with a divisor.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Span {
    pub start: usize,
    pub end: usize,
    pub divisor: usize,
}

impl Span {
    fn range(self) -> std::ops::Range<usize> {
        self.start..self.end
    }
}

/// The spans of the rows and of the columns.
#[derive(Clone, Debug)]
pub(crate) struct Spans {
    pub rows: Vec<Span>,
    pub columns: Vec<Span>,
}

/// Writes the averages of `x` to `y`.
pub(crate) fn forward<T: Float>(
    x: &[T],
    extents: Extents,
    layout: Layout,
    spans: &Spans,
    y: &mut [T],
) {
    let Extents { c, h, w, .. } = extents;
    let (rows, columns) = (&spans.rows, &spans.columns);
    match layout {
        Layout::Nchw => {
            let out = rows.len() * columns.len();
            pieces(
                y,
                out,
                h * w + out,
                #[inline(always)]
                |i, y| {
                    let x = &x[i * h * w..][..h * w];
                    let mut sums = vec![T::ZERO; w];
                    for (&row, y) in rows.iter().zip(y.chunks_exact_mut(columns.len())) {
                        sums.fill(T::ZERO);
                        for r in row.range() {
                            add(&mut sums, &x[r * w..][..w]);
                        }
                        for (&column, y) in columns.iter().zip(y) {
                            let sum = sums[column.range()].iter().fold(T::ZERO, |sum, &x| sum + x);
                            *y = sum / divisor(row, column);
                        }
                    }
                },
            );
        }
        Layout::Nhwc => {
            let out = columns.len() * c;
            pieces(
                y,
                out,
                h.div_ceil(rows.len()) * w * c + out,
                #[inline(always)]
                |i, y| {
                    let row = rows[i % rows.len()];
                    let image = &x[i / rows.len() * h * w * c..][..h * w * c];
                    for (&column, y) in columns.iter().zip(y.chunks_exact_mut(c)) {
                        y.fill(T::ZERO);
                        for r in row.range() {
                            for x in image[(r * w + column.start) * c..(r * w + column.end) * c]
                                .chunks_exact(c)
                            {
                                add(y, x);
                            }
                        }
                        let divisor = divisor(row, column);
                        y.iter_mut().for_each(|y| *y = *y / divisor);
                    }
                },
            );
        }
    }
}

/// Writes the gradient of each input to `gx`: its share of those of the outputs that average it.
pub(crate) fn backward<T: Float>(
    gy: &[T],
    extents: Extents,
    layout: Layout,
    spans: &Spans,
    gx: &mut [T],
) {
    let Extents { c, h, w, .. } = extents;
    let (rows, columns) = (&spans.rows, &spans.columns);
    let out = rows.len() * columns.len();
    match layout {
        Layout::Nchw => pieces(
            gx,
            h * w,
            h * w + out,
            #[inline(always)]
            |i, gx| {
                let gy = &gy[i * out..][..out];
                let mut shares = vec![T::ZERO; w];
                let mut gx = Rows::new(gx, w);
                for (&row, gy) in rows.iter().zip(gy.chunks_exact(columns.len())) {
                    shares.fill(T::ZERO);
                    for (&column, &g) in columns.iter().zip(gy) {
                        let share = g / divisor(row, column);
                        shares[column.range()].iter_mut().for_each(|s| *s += share);
                    }
                    let gx = gx.up_to(row.end);
                    for r in row.range() {
                        add(&mut gx[r * w..][..w], &shares);
                    }
                }
                gx.up_to(h);
            },
        ),
        Layout::Nhwc => pieces(
            gx,
            h * w * c,
            (h * w + out) * c,
            #[inline(always)]
            |i, gx| {
                let gy = &gy[i * out * c..][..out * c];
                let mut share = vec![T::ZERO; c];
                let mut gx = Rows::new(gx, w * c);
                for (&row, gy) in rows.iter().zip(gy.chunks_exact(columns.len() * c)) {
                    let gx = gx.up_to(row.end);
                    for (&column, gy) in columns.iter().zip(gy.chunks_exact(c)) {
                        let divisor = divisor(row, column);
                        share
                            .iter_mut()
                            .zip(gy)
                            .for_each(|(share, &g)| *share = g / divisor);
                        for r in row.range() {
                            for gx in gx[(r * w + column.start) * c..(r * w + column.end) * c]
                                .chunks_exact_mut(c)
                            {
                                add(gx, &share);
                            }
                        }
                    }
                }
                gx.up_to(h);
            },
        ),
    }
}

#[inline(always)]
fn divisor<T: Float>(row: Span, column: Span) -> T {
    T::from_f64((row.divisor * column.divisor) as f64)
}

#[inline(always)]
fn add<T: Float>(sum: &mut [T], x: &[T]) {
    for (sum, &x) in sum.iter_mut().zip(x) {
        *sum += x;
    }
}
