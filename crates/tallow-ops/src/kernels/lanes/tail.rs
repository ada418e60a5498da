//! ReLU and pooling, and their gradient.

use pulp::Simd;

use super::plan::Plan;
use super::tile::M;
use crate::kernels::panel::{load, store};

/// A tile of the convolution's output.
pub(super) type Square<S> = [[<S as Simd>::f32s; M]; M];

/// The code of an output that the ReLU cut off; others have the position of the winner in its square.
pub(super) const DEAD: f32 = 4.0;

#[inline(always)]
fn vectors<S: Simd>(v: &[f32]) -> &[S::f32s] {
    S::as_simd_f32s(v).0
}

#[inline(always)]
fn vectors_mut<S: Simd>(v: &mut [f32]) -> &mut [S::f32s] {
    S::as_mut_simd_f32s(v).0
}

/// One line of the result and its codes from one line of the convolution, or from two if `pool`.
///
/// As PyTorch: the first of equal values wins, and a NaN always does.
#[inline(always)]
pub(super) fn forward<S: Simd>(
    simd: S,
    pool: bool,
    lines: &[f32],
    out: &mut [f32],
    codes: &mut [f32],
) {
    let zero = simd.splat_f32s(0.0);
    let (lines, out, codes) = (
        vectors::<S>(lines),
        vectors_mut::<S>(out),
        vectors_mut::<S>(codes),
    );
    let (upper, lower) = lines.split_at(lines.len() / 2);
    for x in 0..out.len() {
        let (best, code) = if pool {
            let square = [
                upper[2 * x],
                upper[2 * x + 1],
                lower[2 * x],
                lower[2 * x + 1],
            ];
            winner::<S>(simd, square)
        } else {
            (lines[x], zero)
        };
        (out[x], codes[x]) = rectified::<S>(simd, best, code);
    }
}

/// Spreads a map of gradients `(width, values, codes)` over the convolution's output, whose lines are `line.0` vectors of which
/// `line.1` come before the map.
#[inline(always)]
pub(super) fn backward<S: Simd>(
    simd: S,
    pool: bool,
    (width, grad, codes): (usize, &[f32], &[f32]),
    line: (usize, usize),
    map: &mut [f32],
) {
    let zero = simd.splat_f32s(0.0);
    let (grad, codes, map) = (
        vectors::<S>(grad),
        vectors::<S>(codes),
        vectors_mut::<S>(map),
    );
    for (y, (grad, codes)) in grad
        .chunks_exact(width)
        .zip(codes.chunks_exact(width))
        .enumerate()
    {
        if pool {
            let (upper, lower) = map[2 * y * line.0..(2 * y + 2) * line.0].split_at_mut(line.0);
            let (upper, lower) = (
                &mut upper[line.1..][..2 * width],
                &mut lower[line.1..][..2 * width],
            );
            for x in 0..width {
                let (g, code) = (grad[x], codes[x]);
                macro_rules! at {
                    ($position:literal) => {
                        simd.select_f32s(simd.equal_f32s(code, simd.splat_f32s($position)), g, zero)
                    };
                }
                upper[2 * x] = at!(0.0);
                upper[2 * x + 1] = at!(1.0);
                lower[2 * x] = at!(2.0);
                lower[2 * x + 1] = at!(3.0);
            }
        } else {
            let to = &mut map[y * line.0 + line.1..][..width];
            for x in 0..width {
                let dead = simd.equal_f32s(codes[x], simd.splat_f32s(DEAD));
                to[x] = simd.select_f32s(dead, zero, grad[x]);
            }
        }
    }
}

/// The largest of a square, the first of equals, and its position; a NaN always wins.
#[inline(always)]
fn winner<S: Simd>(simd: S, square: [S::f32s; 4]) -> (S::f32s, S::f32s) {
    let (mut best, mut code) = (square[0], simd.splat_f32s(0.0));
    for i in 1..4 {
        let v = square[i];
        let take = simd.or_m32s(
            simd.greater_than_f32s(v, best),
            simd.not_m32s(simd.equal_f32s(v, v)),
        );
        best = simd.select_f32s(take, v, best);
        code = simd.select_f32s(take, simd.splat_f32s(i as f32), code);
    }
    (best, code)
}

/// ReLU of the winner and its code, which is [`DEAD`] where it cut; a NaN stays.
#[inline(always)]
fn rectified<S: Simd>(simd: S, best: S::f32s, code: S::f32s) -> (S::f32s, S::f32s) {
    let zero = simd.splat_f32s(0.0);
    let cut = simd.less_than_or_equal_f32s(best, zero);
    (
        simd.select_f32s(cut, zero, best),
        simd.select_f32s(cut, simd.splat_f32s(DEAD), code),
    )
}

/// Positions of the results of a tile in `[K][H'][W'][lane]`.
#[derive(Clone, Copy)]
struct Place {
    /// The first float.
    start: usize,
    /// Floats from line to line.
    line: usize,
    /// Rows and columns inside the map.
    inside: (usize, usize),
}

impl Place {
    /// Of the tile at `(ty, tx)` of channel `k`.
    #[inline(always)]
    fn new<S: Simd>(plan: &Plan, k: usize, (ty, tx): (usize, usize), side: usize) -> Self {
        let (h, w) = plan.output();
        let (y, x) = (ty * side, tx * side);
        Self {
            start: ((k * h + y) * w + x) * S::F32_LANES,
            line: w * S::F32_LANES,
            inside: (side.min(h - y), side.min(w - x)),
        }
    }

    /// True if results of this many floats contain it.
    #[inline(always)]
    fn fits<S: Simd>(self, floats: usize) -> bool {
        let (rows, columns) = self.inside;
        floats >= self.start + (rows - 1) * self.line + columns * S::F32_LANES
    }
}

/// As [`forward`], for one tile of channel `k`; what lies outside the map is dropped.
#[inline(always)]
pub(super) fn forward_tile<S: Simd>(
    simd: S,
    plan: &Plan,
    k: usize,
    tile: (usize, usize),
    pixels: Square<S>,
    out: &mut [f32],
    codes: &mut [f32],
) {
    let side = if plan.pool { M / 2 } else { M };
    let place = Place::new::<S>(plan, k, tile, side);
    assert!(place.fits::<S>(out.len()) && place.fits::<S>(codes.len()));
    // Most tiles lie inside the map as a whole; with known bounds they stay in registers.
    let whole = place.inside == (side, side);
    // SAFETY: asserted above.
    unsafe {
        match (plan.pool, whole) {
            (true, true) => forward_squares::<S, true>(simd, place, (2, 2), pixels, out, codes),
            (true, false) => {
                forward_squares::<S, true>(simd, place, place.inside, pixels, out, codes)
            }
            (false, true) => forward_squares::<S, false>(simd, place, (4, 4), pixels, out, codes),
            (false, false) => {
                forward_squares::<S, false>(simd, place, place.inside, pixels, out, codes)
            }
        }
    }
}

#[inline(always)]
unsafe fn forward_squares<S: Simd, const POOL: bool>(
    simd: S,
    place: Place,
    (rows, columns): (usize, usize),
    pixels: Square<S>,
    out: &mut [f32],
    codes: &mut [f32],
) {
    let zero = simd.splat_f32s(0.0);
    for i in 0..rows {
        for j in 0..columns {
            let (best, code) = if POOL {
                let (upper, lower) = (pixels[2 * i], pixels[2 * i + 1]);
                let square = [
                    upper[2 * j],
                    upper[2 * j + 1],
                    lower[2 * j],
                    lower[2 * j + 1],
                ];
                winner::<S>(simd, square)
            } else {
                (pixels[i][j], zero)
            };
            let (value, code) = rectified::<S>(simd, best, code);
            let at = place.start + i * place.line + j * S::F32_LANES;
            // SAFETY: promised by the caller.
            unsafe {
                store::<S>(out.as_mut_ptr().add(at), value);
                store::<S>(codes.as_mut_ptr().add(at), code);
            }
        }
    }
}

/// As [`backward`], for one tile of channel `k`, with zeros outside the map.
#[inline(always)]
pub(super) fn backward_tile<S: Simd>(
    simd: S,
    plan: &Plan,
    k: usize,
    tile: (usize, usize),
    grad: &[f32],
    codes: &[f32],
) -> Square<S> {
    let side = if plan.pool { M / 2 } else { M };
    let place = Place::new::<S>(plan, k, tile, side);
    assert!(place.fits::<S>(grad.len()) && place.fits::<S>(codes.len()));
    let whole = place.inside == (side, side);
    // SAFETY: asserted above.
    unsafe {
        match (plan.pool, whole) {
            (true, true) => backward_squares::<S, true>(simd, place, (2, 2), grad, codes),
            (true, false) => backward_squares::<S, true>(simd, place, place.inside, grad, codes),
            (false, true) => backward_squares::<S, false>(simd, place, (4, 4), grad, codes),
            (false, false) => backward_squares::<S, false>(simd, place, place.inside, grad, codes),
        }
    }
}

#[inline(always)]
unsafe fn backward_squares<S: Simd, const POOL: bool>(
    simd: S,
    place: Place,
    (rows, columns): (usize, usize),
    grad: &[f32],
    codes: &[f32],
) -> Square<S> {
    let zero = simd.splat_f32s(0.0);
    let mut pixels = [[zero; M]; M];
    for i in 0..rows {
        for j in 0..columns {
            let at = place.start + i * place.line + j * S::F32_LANES;
            // SAFETY: promised by the caller.
            let (g, code) = unsafe {
                (
                    load::<S>(grad.as_ptr().add(at)),
                    load::<S>(codes.as_ptr().add(at)),
                )
            };
            macro_rules! at {
                ($position:literal) => {
                    simd.select_f32s(simd.equal_f32s(code, simd.splat_f32s($position)), g, zero)
                };
            }
            if POOL {
                pixels[2 * i][2 * j] = at!(0.0);
                pixels[2 * i][2 * j + 1] = at!(1.0);
                pixels[2 * i + 1][2 * j] = at!(2.0);
                pixels[2 * i + 1][2 * j + 1] = at!(3.0);
            } else {
                pixels[i][j] = at!(0.0);
            }
        }
    }
    pixels
}

/// The sum of the gradients that pass the ReLU.
#[inline(always)]
pub(super) fn bias_grad<S: Simd>(simd: S, grad: &[f32], codes: &[f32]) -> f32 {
    let (zero, dead) = (simd.splat_f32s(0.0), simd.splat_f32s(DEAD));
    let mut sum = zero;
    for (g, code) in vectors::<S>(grad).iter().zip(vectors::<S>(codes)) {
        let pass = simd.select_f32s(simd.equal_f32s(*code, dead), zero, *g);
        sum = simd.add_f32s(sum, pass);
    }
    simd.reduce_sum_f32s(sum)
}
