//! Batch normalization, ReLU and 2x2 max pooling in one pass over `(N, H, W, C)`, forward and backward.
//!
//! Nothing between the convolution's output and the block's output is stored: the backward pass computes the normalised values
//! again from the convolution's output, which it must read anyway.

use super::parallel::{Threads, for_each_chunk, for_each_chunk_of};
use super::simd::arch;
use crate::layout::Extents;

/// Operations after the normalization.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Tail {
    /// ReLU.
    Relu,
    /// ReLU, then the maximum of each 2x2 square; odd last rows and columns are dropped.
    ReluPool,
}

impl Tail {
    /// The sizes of the block's output, of those of the convolution's.
    pub(crate) fn output(self, y: Extents) -> Extents {
        match self {
            Tail::Relu => y,
            Tail::ReluPool => Extents {
                h: y.h / 2,
                w: y.w / 2,
                ..y
            },
        }
    }
}

/// Scale and shift of each channel.
#[derive(Clone, Debug, Default)]
pub(crate) struct Affine {
    pub(crate) scale: Vec<f32>,
    pub(crate) shift: Vec<f32>,
}

/// ReLU that keeps NaN, as PyTorch's.
#[inline(always)]
fn relu(z: f32) -> f32 {
    if z <= 0.0 { 0.0 } else { z }
}

/// `out = tail(y * scale + shift)`.
pub(crate) fn forward(y: &[f32], maps: Extents, affine: &Affine, tail: Tail, out: &mut [f32]) {
    let Extents { w, c, .. } = maps;
    match tail {
        Tail::Relu => {
            let len = (PIECE / c).max(1) * c;
            for_each_chunk(out, len, Threads::All, |i, out| {
                let y = &y[i * len..][..out.len()];
                arch().dispatch(|| relu_rows(y, affine, out));
            });
        }
        Tail::ReluPool => {
            let (ho, wo) = (maps.h / 2, w / 2);
            // One row of squares a piece.
            let fewest = PIECE / (4 * w * c) + 1;
            for_each_chunk_of(out, wo * c, Threads::All, fewest, |row, out| {
                let (map, oy) = (row / ho, row % ho);
                let lines = &y[(map * maps.h + 2 * oy) * w * c..][..2 * w * c];
                arch().dispatch(|| pool_row(lines, w, affine, out));
            });
        }
    }
}

/// Channels the pooling gradient takes at a time.
const LANES: usize = 16;

/// Floats a task works on at least.
const PIECE: usize = 16 << 10;

/// Blocks of rows that the sums are made of at most.
const BLOCKS: usize = 64;

#[inline(always)]
fn relu_rows(y: &[f32], affine: &Affine, out: &mut [f32]) {
    let c = affine.scale.len();
    for (out, y) in out.chunks_exact_mut(c).zip(y.chunks_exact(c)) {
        for (((out, y), a), b) in out.iter_mut().zip(y).zip(&affine.scale).zip(&affine.shift) {
            *out = relu(y * a + b);
        }
    }
}

#[inline(always)]
fn pool_row(lines: &[f32], w: usize, affine: &Affine, out: &mut [f32]) {
    let c = affine.scale.len();
    let (scale, shift) = (&affine.scale[..c], &affine.shift[..c]);
    let larger = |a: f32, b: f32| if b > a || b.is_nan() { b } else { a };
    for (square, out) in squares(lines, w, c).zip(out.chunks_exact_mut(c)) {
        let [p, q, r, s] = square.map(|pixel| &pixel[..c]);
        let out = &mut out[..c];
        for i in 0..c {
            let (a, b) = (scale[i], shift[i]);
            let best = larger(
                larger(larger(p[i] * a + b, q[i] * a + b), r[i] * a + b),
                s[i] * a + b,
            );
            out[i] = relu(best);
        }
    }
}

/// The four pixels of each 2x2 square of two lines of a map.
#[inline(always)]
fn squares(lines: &[f32], w: usize, c: usize) -> impl Iterator<Item = [&[f32]; 4]> {
    let (upper, lower) = lines.split_at(w * c);
    upper
        .chunks_exact(2 * c)
        .zip(lower.chunks_exact(2 * c))
        .map(move |(p, q)| {
            let ((p, q), (r, s)) = (p.split_at(c), q.split_at(c));
            [p, q, r, s]
        })
}

/// The sums backward needs: of `dz` and of `dz * (y - mean)` for each channel, `dz` being the gradient before the tail.
///
/// They add up in f32 over one row of the map, then in f64. The blocks of rows depend on the shape alone, so the sums do not
/// depend on the number of threads.
pub(crate) fn gradient_sums(
    y: &[f32],
    grad: &[f32],
    maps: Extents,
    affine: &Affine,
    mean: &[f32],
    tail: Tail,
) -> (Vec<f64>, Vec<f64>) {
    let Extents { w, c, .. } = maps;
    // Rows of `y` and of `grad` that belong together.
    let (rows, line, grad_line) = match tail {
        Tail::Relu => (maps.n * maps.h, w * c, w * c),
        Tail::ReluPool => (maps.n * (maps.h / 2), 2 * w * c, w / 2 * c),
    };
    let per = rows.div_ceil(BLOCKS).max(PIECE / line).max(1);
    let mut partial = vec![vec![0f64; 2 * c]; rows.div_ceil(per)];
    for_each_chunk(&mut partial, 1, Threads::All, |block, total| {
        let (start, total) = (block * per, &mut total[0]);
        let mut sums = vec![0f32; 2 * c];
        for row in start..rows.min(start + per) {
            let y = &y[line_start(row, maps, tail)..][..line];
            let grad = &grad[row * grad_line..][..grad_line];
            sums.fill(0.0);
            match tail {
                Tail::Relu => arch().dispatch(|| relu_sums(y, grad, affine, mean, &mut sums)),
                Tail::ReluPool => {
                    arch().dispatch(|| pool_sums(y, w, grad, affine, mean, &mut sums));
                }
            }
            total
                .iter_mut()
                .zip(&sums)
                .for_each(|(t, s)| *t += *s as f64);
        }
    });
    let sum = |i: usize| partial.iter().map(|p| p[i]).sum::<f64>();
    ((0..c).map(sum).collect(), (c..2 * c).map(sum).collect())
}

/// Start in `y` of the pixels of row `row` of the gradient.
#[inline(always)]
fn line_start(row: usize, maps: Extents, tail: Tail) -> usize {
    match tail {
        Tail::Relu => row * maps.w * maps.c,
        Tail::ReluPool => {
            let ho = maps.h / 2;
            (row / ho * maps.h + 2 * (row % ho)) * maps.w * maps.c
        }
    }
}

#[inline(always)]
fn relu_sums(y: &[f32], grad: &[f32], affine: &Affine, mean: &[f32], sums: &mut [f32]) {
    let c = mean.len();
    let (s, q) = sums.split_at_mut(c);
    let (s, q, scale, shift) = (
        &mut s[..c],
        &mut q[..c],
        &affine.scale[..c],
        &affine.shift[..c],
    );
    for (y, grad) in y.chunks_exact(c).zip(grad.chunks_exact(c)) {
        let (y, grad) = (&y[..c], &grad[..c]);
        for i in 0..c {
            let (z, g) = (y[i] * scale[i] + shift[i], grad[i]);
            let d = if z <= 0.0 { 0.0 } else { g };
            s[i] += d;
            q[i] += d * (y[i] - mean[i]);
        }
    }
}

/// Maximum of a 2x2 square: its position (0 to 3, the first of equal ones), and true if its value passes the ReLU.
#[inline(always)]
fn winner(y: [f32; 4], scale: f32, shift: f32) -> (u32, f32, bool) {
    let mut at = 0;
    let mut best = y[0] * scale + shift;
    let mut value = y[0];
    for j in 1..4 {
        let z = y[j] * scale + shift;
        let take = z > best || z.is_nan();
        at = if take { j as u32 } else { at };
        value = if take { y[j] } else { value };
        best = if take { z } else { best };
    }
    (at, value, best > 0.0 || best.is_nan())
}

#[inline(always)]
fn pool_sums(
    lines: &[f32],
    w: usize,
    grad: &[f32],
    affine: &Affine,
    mean: &[f32],
    sums: &mut [f32],
) {
    let c = mean.len();
    let (s, q) = sums.split_at_mut(c);
    let (s, q, scale, shift) = (
        &mut s[..c],
        &mut q[..c],
        &affine.scale[..c],
        &affine.shift[..c],
    );
    for (square, grad) in squares(lines, w, c).zip(grad.chunks_exact(c)) {
        let [p0, p1, p2, p3] = square.map(|pixel| &pixel[..c]);
        let grad = &grad[..c];
        for i in 0..c {
            let (_, value, passes) = winner([p0[i], p1[i], p2[i], p3[i]], scale[i], shift[i]);
            let g = grad[i];
            let d = if passes { g } else { 0.0 };
            s[i] += d;
            q[i] += d * (value - mean[i]);
        }
    }
}

/// Turns the convolution's output into its gradient, `dz * scale + (y * slope + offset)` with the batch's statistics in
/// `through` (slope and offset).
pub(crate) fn gradient(
    y: &mut [f32],
    grad: &[f32],
    maps: Extents,
    affine: &Affine,
    through: &Affine,
    tail: Tail,
) {
    let Extents { w, c, .. } = maps;
    match tail {
        Tail::Relu => {
            let len = (PIECE / c).max(1) * c;
            for_each_chunk(y, len, Threads::All, |i, y| {
                let grad = &grad[i * len..][..y.len()];
                arch().dispatch(|| relu_gradient(y, grad, affine, through));
            });
        }
        Tail::ReluPool => {
            let (ho, line) = (maps.h / 2, w * c);
            // An odd last row belongs to no square and gets the statistics' part alone.
            for_each_chunk(y, maps.h * line, Threads::All, |map, y| {
                for (oy, y) in y.chunks_mut(2 * line).enumerate() {
                    if oy < ho {
                        let grad = &grad[(map * ho + oy) * (w / 2) * c..][..w / 2 * c];
                        arch().dispatch(|| pool_gradient(y, w, grad, affine, through));
                    } else {
                        arch().dispatch(|| statistics_gradient(y, through));
                    }
                }
            });
        }
    }
}

#[inline(always)]
fn relu_gradient(y: &mut [f32], grad: &[f32], affine: &Affine, through: &Affine) {
    let c = affine.scale.len();
    let (scale, shift) = (&affine.scale[..c], &affine.shift[..c]);
    let (slope, offset) = (&through.scale[..c], &through.shift[..c]);
    for (y, grad) in y.chunks_exact_mut(c).zip(grad.chunks_exact(c)) {
        let (y, grad) = (&mut y[..c], &grad[..c]);
        for i in 0..c {
            let (z, g) = (y[i] * scale[i] + shift[i], grad[i]);
            let d = if z <= 0.0 { 0.0 } else { g };
            y[i] = d * scale[i] + (y[i] * slope[i] + offset[i]);
        }
    }
}

#[inline(always)]
fn statistics_gradient(y: &mut [f32], through: &Affine) {
    let c = through.scale.len();
    let (slope, offset) = (&through.scale[..c], &through.shift[..c]);
    for y in y.chunks_exact_mut(c) {
        let y = &mut y[..c];
        for i in 0..c {
            y[i] = y[i] * slope[i] + offset[i];
        }
    }
}

/// The first [`LANES`] floats.
#[inline(always)]
fn lanes(v: &[f32]) -> [f32; LANES] {
    let mut lanes = [0.0; LANES];
    lanes.copy_from_slice(&v[..LANES]);
    lanes
}

/// Gradients of the four pixels of a square; the constants are the gradient, scale, shift, slope and offset.
#[inline(always)]
fn square_gradient(
    y: [[f32; LANES]; 4],
    [grad, scale, shift, slope, offset]: [[f32; LANES]; 5],
) -> [[f32; LANES]; 4] {
    let mut d = [[0f32; LANES]; 4];
    for k in 0..LANES {
        let (at, _, passes) = winner([y[0][k], y[1][k], y[2][k], y[3][k]], scale[k], shift[k]);
        let g = grad[k] * scale[k];
        let g = if passes { g } else { 0.0 };
        let (a, b) = (slope[k], offset[k]);
        d[0][k] = (if at == 0 { g } else { 0.0 }) + (y[0][k] * a + b);
        d[1][k] = (if at == 1 { g } else { 0.0 }) + (y[1][k] * a + b);
        d[2][k] = (if at == 2 { g } else { 0.0 }) + (y[2][k] * a + b);
        d[3][k] = (if at == 3 { g } else { 0.0 }) + (y[3][k] * a + b);
    }
    d
}

#[inline(always)]
fn pool_gradient(lines: &mut [f32], w: usize, grad: &[f32], affine: &Affine, through: &Affine) {
    let c = affine.scale.len();
    let whole = c / LANES * LANES;
    let (upper, lower) = lines.split_at_mut(w * c);
    let squares = upper
        .chunks_exact_mut(2 * c)
        .zip(lower.chunks_exact_mut(2 * c));
    for ((upper, lower), grad) in squares.zip(grad.chunks_exact(c)) {
        let ((p0, p1), (p2, p3)) = (upper.split_at_mut(c), lower.split_at_mut(c));
        let square = [p0, p1, p2, p3];
        let constants = [
            grad,
            &affine.scale,
            &affine.shift,
            &through.scale,
            &through.shift,
        ];
        // Sixteen channels at a time through local arrays: with so many slices the compiler gives up telling them apart.
        for i in (0..whole).step_by(LANES) {
            let d = square_gradient(
                [
                    lanes(&square[0][i..]),
                    lanes(&square[1][i..]),
                    lanes(&square[2][i..]),
                    lanes(&square[3][i..]),
                ],
                constants.map(|v| lanes(&v[i..])),
            );
            square[0][i..i + LANES].copy_from_slice(&d[0]);
            square[1][i..i + LANES].copy_from_slice(&d[1]);
            square[2][i..i + LANES].copy_from_slice(&d[2]);
            square[3][i..i + LANES].copy_from_slice(&d[3]);
        }
        if whole < c {
            let rest = |v: &[f32]| {
                let mut lanes = [0.0; LANES];
                lanes[..c - whole].copy_from_slice(&v[whole..]);
                lanes
            };
            let pixels = [
                rest(square[0]),
                rest(square[1]),
                rest(square[2]),
                rest(square[3]),
            ];
            let d = square_gradient(pixels, constants.map(rest));
            for (to, d) in square.into_iter().zip(d) {
                to[whole..].copy_from_slice(&d[..c - whole]);
            }
        }
    }
    if w % 2 == 1 {
        let at = (w - 1) * c;
        statistics_gradient(&mut upper[at..], through);
        statistics_gradient(&mut lower[at..], through);
    }
}
