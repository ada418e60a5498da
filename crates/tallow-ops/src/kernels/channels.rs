//! Sums over, and maps with, one parameter a channel: what batch norm is made of, with or without something fused to it.

use std::array::from_fn;

use super::float::Float;
use super::parallel::pieces;
use crate::layout::{Extents, Layout};

/// Independent partial sums of a run of elements, for the compiler to keep in vector registers.
const LANES: usize = 16;
/// Elements in a block of rows that is summed by itself, and how many such blocks there are at most. The blocks depend on
/// the shape alone, so the sums do not depend on the number of threads.
const BLOCK: usize = 1 << 16;
const BLOCKS: usize = 64;
/// Elements of rows that are mapped as one piece of work.
const MAP_PIECE: usize = 1 << 12;

/// For every channel, the sums of the two terms that `term(elements, centre of the channel)` gives, over `K` tensors of the
/// same shape. Everything is summed in `f64`.
pub(crate) fn sums<T: Float, const K: usize>(
    inputs: [&[T]; K],
    extents: Extents,
    layout: Layout,
    centre: &[f64],
    term: impl Fn([f64; K], f64) -> [f64; 2] + Send + Sync,
) -> (Vec<f64>, Vec<f64>) {
    match layout {
        Layout::Nchw => sums_of_planes(inputs, extents, centre, term),
        Layout::Nhwc => sums_of_rows(inputs, extents.c, centre, term),
    }
}

/// `y = f(elements of the inputs, parameters of their channel)`, elementwise.
pub(crate) fn map<T: Float, const K: usize, const P: usize>(
    inputs: [&[T]; K],
    params: [&[T]; P],
    extents: Extents,
    layout: Layout,
    y: &mut [T],
    f: impl Fn([T; K], [T; P]) -> T + Send + Sync,
) {
    let c = extents.c;
    match layout {
        Layout::Nchw => {
            let plane = extents.h * extents.w;
            pieces(
                y,
                plane,
                plane,
                #[inline(always)]
                |i, y| {
                    let inputs = inputs.map(|x| &x[i * plane..][..y.len()]);
                    let params = params.map(|p| p[i % c]);
                    for (j, y) in y.iter_mut().enumerate() {
                        *y = f(from_fn(|i| inputs[i][j]), params);
                    }
                },
            );
        }
        Layout::Nhwc => {
            let rows = MAP_PIECE.div_ceil(c);
            pieces(
                y,
                rows * c,
                rows * c,
                #[inline(always)]
                |i, y| {
                    // Of their own here: the compiler cannot know that `y` does not overlap what a closure borrows.
                    let params = params.map(|p| &p[..c]);
                    for (j, y) in y.chunks_exact_mut(c).enumerate() {
                        let at = (i * rows + j) * c;
                        let inputs = inputs.map(|x| &x[at..][..c]);
                        for (k, y) in y.iter_mut().enumerate() {
                            *y = f(from_fn(|i| inputs[i][k]), from_fn(|i| params[i][k]));
                        }
                    }
                },
            );
        }
    }
}

fn sums_of_planes<T: Float, const K: usize>(
    inputs: [&[T]; K],
    Extents { n, c, h, w }: Extents,
    centre: &[f64],
    term: impl Fn([f64; K], f64) -> [f64; 2] + Send + Sync,
) -> (Vec<f64>, Vec<f64>) {
    let plane = h * w;
    let mut sums = vec![(0., 0.); c];
    pieces(
        &mut sums,
        1,
        n * plane,
        #[inline(always)]
        |channel, sums| {
            let mut lanes = [[0f64; LANES]; 2];
            for image in 0..n {
                let at = (image * c + channel) * plane;
                run(
                    inputs.map(|x| &x[at..][..plane]),
                    centre[channel],
                    &term,
                    &mut lanes,
                );
            }
            sums.fill((lanes[0].iter().sum(), lanes[1].iter().sum()));
        },
    );
    sums.into_iter().unzip()
}

/// Adds the terms of a run of elements of one channel to the lanes.
#[inline(always)]
fn run<T: Float, const K: usize>(
    inputs: [&[T]; K],
    centre: f64,
    term: &impl Fn([f64; K], f64) -> [f64; 2],
    [a, b]: &mut [[f64; LANES]; 2],
) {
    let len = inputs.first().map_or(0, |x| x.len());
    let inputs = inputs.map(|x| &x[..len]);
    let whole = len - len % LANES;
    for at in (0..whole).step_by(LANES) {
        let inputs = inputs.map(|x| &x[at..][..LANES]);
        for lane in 0..LANES {
            let [s, t] = term(from_fn(|i| inputs[i][lane].to_f64()), centre);
            a[lane] += s;
            b[lane] += t;
        }
    }
    for at in whole..len {
        let [s, t] = term(from_fn(|i| inputs[i][at].to_f64()), centre);
        a[at - whole] += s;
        b[at - whole] += t;
    }
}

fn sums_of_rows<T: Float, const K: usize>(
    inputs: [&[T]; K],
    c: usize,
    centre: &[f64],
    term: impl Fn([f64; K], f64) -> [f64; 2] + Send + Sync,
) -> (Vec<f64>, Vec<f64>) {
    let len = inputs.first().map_or(0, |x| x.len());
    let rows = len / c;
    let blocks = (len / BLOCK).clamp(1, BLOCKS);
    let block_rows = rows.div_ceil(blocks).max(1);
    let mut partial = vec![0.; rows.div_ceil(block_rows).max(1) * 2 * c];
    pieces(
        &mut partial,
        2 * c,
        block_rows * c,
        #[inline(always)]
        |block, partial| {
            let (a, b) = partial.split_at_mut(c);
            let centre = &centre[..c];
            for row in block * block_rows..rows.min((block + 1) * block_rows) {
                let inputs = inputs.map(|x| &x[row * c..][..c]);
                for (k, (a, b)) in a.iter_mut().zip(b.iter_mut()).enumerate() {
                    let [s, t] = term(from_fn(|i| inputs[i][k].to_f64()), centre[k]);
                    *a += s;
                    *b += t;
                }
            }
        },
    );
    let mut total = vec![0.; 2 * c];
    for partial in partial.chunks_exact(2 * c) {
        total
            .iter_mut()
            .zip(partial)
            .for_each(|(total, partial)| *total += partial);
    }
    let second = total.split_off(c);
    (total, second)
}
