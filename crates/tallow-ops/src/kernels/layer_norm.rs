//! Layer normalization: over rows of adjacent elements, or over the channels of each pixel.
//!
//! Statistics are a mean and `1 / sqrt(variance + eps)` per row or pixel. Both come from two passes, of which the second corrects the
//! first (Chan, Golub and LeVeque 1983), so that a large mean does not drown the variance.

use super::float::Float;
use super::parallel::pieces2;
use super::scratch;

/// Independent partial sums, for the compiler to keep in vector registers.
const LANES: usize = 16;
/// Elements in one piece of work of the forward pass.
const PIECE: usize = 1 << 13;
/// Elements of the rows whose weight gradient is summed by itself, and how many such sums there are at most. They depend on the shape
/// alone, so the bits do not depend on the number of threads.
const BLOCK: usize = 1 << 14;
const BLOCKS: usize = 256;
/// Rows whose sums are computed before the first of them is written, at most, and their elements. At the end of a row its lanes are added
/// one after the other, which takes as long as the sums of a short row; the processor does so for several rows at a time. The elements
/// stay in the first-level cache meanwhile.
const ROWS: usize = 8;
const GROUP: usize = 1 << 11;
/// Pixels that are normalized together: a tile of all channels stays in the first- or second-level cache.
const TILE: usize = 64;

/// Scale and shift of each normalized element.
#[derive(Clone, Copy)]
pub(crate) struct Affine<'a, T> {
    pub(crate) weight: &'a [T],
    pub(crate) bias: Option<&'a [T]>,
}

/// Rows of `k` elements that are computed together.
fn group(k: usize) -> usize {
    (GROUP / k).clamp(1, ROWS)
}

/// Normalizes rows of `weight.len()` elements. `stats` has two numbers per row.
pub(crate) fn forward_rows<T: Float>(
    x: &[T],
    Affine { weight, bias }: Affine<T>,
    eps: f64,
    y: &mut [T],
    stats: &mut [T],
) {
    let k = weight.len();
    let rows = PIECE.div_ceil(k);
    let group = group(k);
    pieces2(
        (y, rows * k),
        (stats, rows * 2),
        rows * k,
        #[inline(always)]
        |i, y, stats| {
            let x = &x[i * rows * k..][..y.len()];
            let weight = &weight[..k];
            let groups = x.chunks(group * k).zip(y.chunks_mut(group * k));
            for ((x, y), stats) in groups.zip(stats.chunks_mut(group * 2)) {
                statistics(x, k, eps, stats);
                let rows = x.chunks_exact(k).zip(y.chunks_exact_mut(k));
                for ((x, y), stats) in rows.zip(stats.chunks_exact(2)) {
                    let (mean, inverse) = (stats[0], stats[1]);
                    let normal = y.iter_mut().zip(x).zip(weight);
                    match bias {
                        Some(bias) => {
                            for (((y, &x), &w), &b) in normal.zip(bias) {
                                *y = (x - mean) * inverse * w + b;
                            }
                        }
                        None => {
                            for ((y, &x), &w) in normal {
                                *y = (x - mean) * inverse * w;
                            }
                        }
                    }
                }
            }
        },
    );
}

/// Mean and inverse deviation of every row of `k` elements.
#[inline(always)]
fn statistics<T: Float>(x: &[T], k: usize, eps: f64, stats: &mut [T]) {
    let count = k as f64;
    for (x, stats) in x.chunks_exact(k).zip(stats.chunks_exact_mut(2)) {
        stats[0] = T::from_f64(sums(x, |x| [x])[0] / count);
    }
    for (x, stats) in x.chunks_exact(k).zip(stats.chunks_exact_mut(2)) {
        let mean = stats[0];
        let [rest, squares] = sums(
            x,
            #[inline(always)]
            |x| {
                let d = x - mean;
                [d, d * d]
            },
        );
        let rest = rest / count;
        let variance = (squares / count - rest * rest).max(0.);
        stats[0] = T::from_f64(mean.to_f64() + rest);
        stats[1] = T::from_f64(1. / (variance + eps).sqrt());
    }
}

/// Sums of the terms of every element.
#[inline(always)]
fn sums<T: Float, const N: usize>(x: &[T], term: impl Fn(T) -> [T; N]) -> [f64; N] {
    let mut lanes = [[T::ZERO; LANES]; N];
    let (chunks, rest) = x.as_chunks::<LANES>();
    for chunk in chunks {
        for (lane, &x) in chunk.iter().enumerate() {
            let terms = term(x);
            for (lanes, term) in lanes.iter_mut().zip(terms) {
                lanes[lane] += term;
            }
        }
    }
    for (lane, &x) in rest.iter().enumerate() {
        let terms = term(x);
        for (lanes, term) in lanes.iter_mut().zip(terms) {
            lanes[lane] += term;
        }
    }
    lanes.map(total)
}

/// Sum of the lanes, in halves, which are vectors too.
#[inline(always)]
fn total<T: Float>(mut lanes: [T; LANES]) -> f64 {
    let mut half = LANES / 2;
    while half > 0 {
        for lane in 0..half {
            let other = lanes[lane + half];
            lanes[lane] += other;
        }
        half /= 2;
    }
    lanes[0].to_f64()
}

/// Gradients of [`forward_rows`]; `grads` are those of weight and bias, one behind the other.
pub(crate) fn backward_rows<T: Float>(
    x: &[T],
    weight: &[T],
    stats: &[T],
    dy: &[T],
    dx: &mut [T],
    grads: &mut [T],
) {
    let k = weight.len();
    let rows = x.len() / k;
    let block = (BLOCK / k).max(rows.div_ceil(BLOCKS)).max(1);
    let group = group(k);
    let mut partial = scratch::zeroed::<T>(rows.div_ceil(block) * 2 * k);
    pieces2(
        (dx, block * k),
        (&mut partial, 2 * k),
        block * k,
        #[inline(always)]
        |i, dx, partial| {
            let at = i * block;
            let (x, dy) = (&x[at * k..][..dx.len()], &dy[at * k..][..dx.len()]);
            let (dw, db) = partial.split_at_mut(k);
            let groups = x.chunks(group * k).zip(dy.chunks(group * k));
            let stats = stats[2 * at..].chunks(2 * group);
            for (((x, dy), dx), stats) in groups.zip(dx.chunks_mut(group * k)).zip(stats) {
                let rows = x.chunks_exact(k).zip(dy.chunks_exact(k));
                let mut averages = [(T::ZERO, T::ZERO); ROWS];
                for (row, (x, dy)) in rows.clone().enumerate() {
                    let stats = (stats[2 * row], stats[2 * row + 1]);
                    averages[row] = row_averages(x, weight, stats, dy, (dw, db));
                }
                for (row, ((x, dy), dx)) in rows.zip(dx.chunks_exact_mut(k)).enumerate() {
                    let (mean, inverse) = (stats[2 * row], stats[2 * row + 1]);
                    let (sum, product) = averages[row];
                    for (((dx, &x), &dy), &w) in dx.iter_mut().zip(x).zip(dy).zip(weight) {
                        let normal = (x - mean) * inverse;
                        *dx = inverse * (dy * w - sum - normal * product);
                    }
                }
            }
        },
    );
    add_partial(&partial, grads);
}

/// Averages over a row: of the gradient of the normalized elements, and of its product with these. Adds the row's gradients of weight
/// and bias to theirs.
#[inline(always)]
fn row_averages<T: Float>(
    x: &[T],
    weight: &[T],
    stats: (T, T),
    dy: &[T],
    (dw, db): (&mut [T], &mut [T]),
) -> (T, T) {
    let k = x.len();
    let (weight, dy) = (&weight[..k], &dy[..k]);
    let (dw, db) = (&mut dw[..k], &mut db[..k]);
    let (mut sum, mut product) = ([T::ZERO; LANES], [T::ZERO; LANES]);
    let ((xs, x_rest), (weights, w_rest)) = (x.as_chunks(), weight.as_chunks());
    let (dys, dy_rest) = dy.as_chunks();
    let ((dws, dw_rest), (dbs, db_rest)) = (dw.as_chunks_mut(), db.as_chunks_mut());
    let inputs = xs.iter().zip(weights).zip(dys);
    for (((x, w), dy), (dw, db)) in inputs.zip(dws.iter_mut().zip(dbs)) {
        let sums = (&mut sum, &mut product);
        add_terms::<T, LANES>([x, w, dy], stats, (dw, db), sums);
    }
    for lane in 0..x_rest.len() {
        let terms = [x_rest, w_rest, dy_rest].map(|x| std::array::from_ref(&x[lane]));
        let grads = (
            std::array::from_mut(&mut dw_rest[lane]),
            std::array::from_mut(&mut db_rest[lane]),
        );
        let sums = (
            std::array::from_mut(&mut sum[lane]),
            std::array::from_mut(&mut product[lane]),
        );
        add_terms::<T, 1>(terms, stats, grads, sums);
    }
    let average = |lanes| T::from_f64(total(lanes) / k as f64);
    (average(sum), average(product))
}

/// Adds the terms of `N` elements to the sums of a row and to the gradients of the parameters.
#[inline(always)]
fn add_terms<T: Float, const N: usize>(
    [x, weight, dy]: [&[T; N]; 3],
    (mean, inverse): (T, T),
    (dw, db): (&mut [T; N], &mut [T; N]),
    (sum, product): (&mut [T; N], &mut [T; N]),
) {
    for lane in 0..N {
        let normal = (x[lane] - mean) * inverse;
        let g = dy[lane] * weight[lane];
        sum[lane] += g;
        product[lane] += g * normal;
        dw[lane] += dy[lane] * normal;
        db[lane] += dy[lane];
    }
}

/// Sums of the columns.
fn add_partial<T: Float>(partial: &[T], grads: &mut [T]) {
    let mut totals = vec![0f64; grads.len()];
    for row in partial.chunks_exact(grads.len()) {
        for (total, value) in totals.iter_mut().zip(row) {
            *total += value.to_f64();
        }
    }
    for (grad, total) in grads.iter_mut().zip(totals) {
        *grad = T::from_f64(total);
    }
}

/// Normalizes every pixel over its channels, in images of `weight.len()` planes of `plane` pixels. `stats` has for every image a plane
/// of means and one of inverse deviations.
pub(crate) fn forward_planes<T: Float>(
    x: &[T],
    plane: usize,
    Affine { weight, bias }: Affine<T>,
    eps: f64,
    y: &mut [T],
    stats: &mut [T],
) {
    let c = weight.len();
    let image = c * plane;
    pieces2(
        (y, image),
        (stats, 2 * plane),
        image,
        #[inline(always)]
        |i, y, stats| {
            let x = &x[i * image..][..image];
            let (means, inverses) = stats.split_at_mut(plane);
            for at in (0..plane).step_by(TILE) {
                let len = TILE.min(plane - at);
                let (mean, inverse) = (&mut means[at..][..len], &mut inverses[at..][..len]);
                tile_statistics(&x[at..], plane, c, eps, mean, inverse);
                for (channel, &w) in weight.iter().enumerate() {
                    let b = bias.map_or(T::ZERO, |bias| bias[channel]);
                    let x = &x[channel * plane + at..][..len];
                    let y = &mut y[channel * plane + at..][..len];
                    for j in 0..len {
                        y[j] = (x[j] - mean[j]) * inverse[j] * w + b;
                    }
                }
            }
        },
    );
}

/// Means and inverse deviations of a tile of pixels.
#[inline(always)]
fn tile_statistics<T: Float>(
    x: &[T],
    plane: usize,
    c: usize,
    eps: f64,
    mean: &mut [T],
    inverse: &mut [T],
) {
    let len = mean.len();
    let count = T::from_f64(c as f64);
    let (mut rest, mut squares) = ([T::ZERO; TILE], [T::ZERO; TILE]);
    for channel in 0..c {
        let x = &x[channel * plane..][..len];
        for (sum, &x) in squares[..len].iter_mut().zip(x) {
            *sum += x;
        }
    }
    for (mean, sum) in mean.iter_mut().zip(&mut squares) {
        *mean = *sum / count;
        *sum = T::ZERO;
    }
    for channel in 0..c {
        let x = &x[channel * plane..][..len];
        let sums = rest[..len].iter_mut().zip(&mut squares[..len]);
        for ((rest, square), (&x, &mean)) in sums.zip(x.iter().zip(&*mean)) {
            let d = x - mean;
            *rest += d;
            *square += d * d;
        }
    }
    for (j, (mean, inverse)) in mean.iter_mut().zip(inverse).enumerate() {
        let rest = rest[j] / count;
        let variance = (squares[j] / count - rest * rest).to_f64().max(0.);
        *mean += rest;
        *inverse = T::from_f64(1. / (variance + eps).sqrt());
    }
}

/// Gradients of [`forward_planes`]; `grads` are those of weight and bias, one behind the other.
pub(crate) fn backward_planes<T: Float>(
    x: &[T],
    plane: usize,
    weight: &[T],
    stats: &[T],
    dy: &[T],
    dx: &mut [T],
    grads: &mut [T],
) {
    let c = weight.len();
    let image = c * plane;
    let mut partial = scratch::zeroed::<T>(x.len() / image * 2 * c);
    pieces2(
        (dx, image),
        (&mut partial, 2 * c),
        image,
        #[inline(always)]
        |i, dx, partial| {
            let (x, dy) = (&x[i * image..][..image], &dy[i * image..][..image]);
            let (means, inverses) = stats[2 * i * plane..][..2 * plane].split_at(plane);
            let (dw, db) = partial.split_at_mut(c);
            for at in (0..plane).step_by(TILE) {
                let len = TILE.min(plane - at);
                let (mean, inverse) = (&means[at..][..len], &inverses[at..][..len]);
                let (mut sum, mut product) = ([T::ZERO; TILE], [T::ZERO; TILE]);
                for (channel, &w) in weight.iter().enumerate() {
                    let x = &x[channel * plane + at..][..len];
                    let dy = &dy[channel * plane + at..][..len];
                    let (mut weights, mut biases) = ([T::ZERO; LANES], [T::ZERO; LANES]);
                    let whole = len - len % LANES;
                    for at in (0..len).step_by(LANES) {
                        let lanes = (&mut weights, &mut biases);
                        if at < whole {
                            let inputs = [x, dy, mean, inverse].map(|x| &x[at..][..LANES]);
                            let sums = (&mut sum[at..][..LANES], &mut product[at..][..LANES]);
                            add_pixels(inputs, w, sums, lanes);
                        } else {
                            let inputs = [x, dy, mean, inverse].map(|x| &x[at..]);
                            let sums = (&mut sum[at..len], &mut product[at..len]);
                            add_pixels(inputs, w, sums, lanes);
                        }
                    }
                    dw[channel] += T::from_f64(total(weights));
                    db[channel] += T::from_f64(total(biases));
                }
                let count = T::from_f64(1. / c as f64);
                for (sum, product) in sum.iter_mut().zip(&mut product) {
                    (*sum, *product) = (*sum * count, *product * count);
                }
                for (channel, &w) in weight.iter().enumerate() {
                    let x = &x[channel * plane + at..][..len];
                    let dy = &dy[channel * plane + at..][..len];
                    let dx = &mut dx[channel * plane + at..][..len];
                    for j in 0..len {
                        let normal = (x[j] - mean[j]) * inverse[j];
                        dx[j] = inverse[j] * (dy[j] * w - sum[j] - normal * product[j]);
                    }
                }
            }
        },
    );
    add_partial(&partial, grads);
}

/// Adds the terms of up to `LANES` pixels of a channel to the sums of the pixels and to the gradients of the parameters.
#[inline(always)]
fn add_pixels<T: Float>(
    [x, dy, mean, inverse]: [&[T]; 4],
    w: T,
    (sum, product): (&mut [T], &mut [T]),
    (weights, biases): (&mut [T; LANES], &mut [T; LANES]),
) {
    for lane in 0..x.len() {
        let normal = (x[lane] - mean[lane]) * inverse[lane];
        let g = dy[lane] * w;
        sum[lane] += g;
        product[lane] += g * normal;
        weights[lane] += dy[lane] * normal;
        biases[lane] += dy[lane];
    }
}
