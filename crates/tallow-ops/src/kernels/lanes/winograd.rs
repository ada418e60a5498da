//! 5x5 convolutions by Winograd's F(4x4, 5x5): 64 multiplications for sixteen outputs where direct convolution needs 400.
//!
//! An output tile is four squares of the pooling, so ReLU and pooling run on a tile while it is in registers. The gradients are the
//! transposes of the forward pass's steps, so that the input gradient needs no more tiles than the output has.

use pulp::Simd;

use super::buffer;
use super::correlate::Filters;
use super::dots::outer;
use super::frequencies::{F, Frequencies, weight_grad};
use super::plan::Plan;
use super::tail::{self, Square};
use super::tile::{self, M, R, T, in_both_dimensions};
use crate::kernels::panel::{load, store};
use crate::kernels::scratch;

/// Bytes of transformed maps worked on at once.
const CHUNK: usize = 640 << 10;

/// Vectors from one frequency to the next of so many channels and tiles. An odd number of cache lines: even ones would crowd the
/// frequencies of a tile into few sets of the first-level cache.
fn plane(channels: usize, count: usize) -> usize {
    (channels * count) | 1
}

/// Tiles of a map.
#[derive(Clone, Copy)]
struct Tiles {
    high: usize,
    wide: usize,
}

impl Tiles {
    fn of(plan: &Plan) -> Self {
        let (h, w) = plan.computed();
        Self {
            high: h.div_ceil(M),
            wide: w.div_ceil(M),
        }
    }

    /// Rows of tiles to work on at once.
    fn rows(self, plan: &Plan) -> usize {
        let g = &plan.geometry;
        let row = 4 * F * self.wide * plan.lanes * (g.channels + g.out_channels);
        (CHUNK / row).clamp(1, self.high)
    }
}

/// A forward pass over a block: `out` and `codes` are `[K][H'][W'][lane]`.
#[inline(always)]
pub(super) fn forward<S: Simd>(
    simd: S,
    plan: &Plan,
    u: &Frequencies,
    bias: Option<&[f32]>,
    input: &[f32],
    out: &mut [f32],
    codes: &mut [f32],
) {
    let (g, tiles) = (&plan.geometry, Tiles::of(plan));
    let (c, k, l) = (g.channels, g.out_channels, S::F32_LANES);
    let rows = tiles.rows(plan);
    let most = rows * tiles.wide;
    let mut v = buffer::take(F * plane(c, most) * l);
    let mut m = buffer::take(F * plane(k, most) * l);
    let (v, m) = (&mut *v, &mut *m);
    for first in (0..tiles.high).step_by(rows) {
        let last = tiles.high.min(first + rows);
        let count = (last - first) * tiles.wide;
        gather(simd, plan, input, tiles, (first, last), v);
        // SAFETY: the products' sizes are those of the buffers.
        unsafe { products(simd, &u.0, (v, c), (m, k), count) };
        for k in 0..g.out_channels {
            let bias = simd.splat_f32s(bias.map_or(0.0, |bias| bias[k]));
            for t in 0..count {
                let (ty, tx) = (first + t / tiles.wide, t % tiles.wide);
                // SAFETY: frequency, channel and tile are inside the buffer.
                let pixels = unsafe {
                    let at = m.as_ptr().add((k * count + t) * l);
                    scatter::<S>(simd, at, plane(g.out_channels, count), bias)
                };
                tail::forward_tile::<S>(simd, plan, k, (ty, tx), pixels, out, codes);
            }
        }
    }
}

/// `A^T m A` plus bias.
///
/// # Safety
/// A vector can be read at `m`, and at every frequency `plane` vectors further on.
#[inline(always)]
unsafe fn scatter<S: Simd>(
    simd: S,
    m: *const f32,
    plane: usize,
    bias: S::f32s,
) -> [[S::f32s; M]; M] {
    let mut pixels = [[bias; M]; M];
    in_both_dimensions!(
        simd, tile::output, T => M,
        // SAFETY: promised by the caller.
        |i, j| unsafe { load::<S>(m.add((i * T + j) * plane * S::F32_LANES)) },
        |i, j, value| pixels[i][j] = simd.add_f32s(value, bias),
    );
    pixels
}

/// `B^T d B` of the tiles in these rows, to `[frequency][channel][tile]`.
#[inline(always)]
fn gather<S: Simd>(
    simd: S,
    plan: &Plan,
    input: &[f32],
    tiles: Tiles,
    (first, last): (usize, usize),
    v: &mut [f32],
) {
    let l = S::F32_LANES;
    let (tall, wide) = plan.padded();
    let channels = plan.geometry.channels;
    let count = (last - first) * tiles.wide;
    assert!(v.len() >= F * plane(channels, count) * l && input.len() >= channels * tall * wide * l);
    assert!(tall >= M * tiles.high + R - 1 && wide >= M * tiles.wide + R - 1);
    for c in 0..channels {
        for t in 0..count {
            let (y, x) = (M * (first + t / tiles.wide), M * (t % tiles.wide));
            // Along the rows first, as the pixels lie: the dimensions change places.
            in_both_dimensions!(
                simd, tile::input, T => T,
                |j, i| {
                    let at = ((c * tall + y + i) * wide + x + j) * l;
                    // SAFETY: asserted above.
                    unsafe { load::<S>(input.as_ptr().add(at)) }
                },
                |j, i, value| {
                    let at = ((i * T + j) * plane(channels, count) + c * count + t) * l;
                    // SAFETY: asserted above.
                    unsafe { store::<S>(v.as_mut_ptr().add(at), value) }
                },
            );
        }
    }
}

/// `m = u v` at every frequency.
///
/// # Safety
/// `v` and `m` hold that many channels of `count` vectors at every frequency.
#[inline(always)]
unsafe fn products<S: Simd>(
    simd: S,
    u: &[Filters],
    (v, from): (&[f32], usize),
    (m, to): (&mut [f32], usize),
    count: usize,
) {
    let l = S::F32_LANES;
    assert!(v.len() >= F * plane(from, count) * l && m.len() >= F * plane(to, count) * l);
    for (f, u) in u.iter().enumerate() {
        let v = v[f * plane(from, count) * l..].as_ptr();
        let m = m[f * plane(to, count) * l..].as_mut_ptr();
        for (first, live, values) in u.blocks() {
            let mut t = 0;
            macro_rules! columns {
                ($block:literal: $($columns:literal)*) => {{$(
                    while count - t >= $columns {
                        // SAFETY: promised by the caller.
                        unsafe {
                            let acc = product::<S, $block, $columns>(simd, v.add(t * l), count, values);
                            for k in 0..$block {
                                if k < live {
                                    for j in 0..$columns {
                                        store::<S>(m.add(((first + k) * count + t + j) * l), acc[k][j]);
                                    }
                                }
                            }
                        }
                        t += $columns;
                    }
                )*}};
            }
            match (u.block(), S::REGISTER_COUNT >= 32) {
                (6, true) => columns!(6: 4 3 2 1),
                (6, false) => columns!(6: 2 1),
                (_, true) => columns!(4: 6 5 4 3 2 1),
                (_, false) => columns!(4: 3 2 1),
            }
        }
    }
}

/// `BLOCK` channels of `COLUMNS` neighbouring tiles.
#[inline(always)]
unsafe fn product<S: Simd, const BLOCK: usize, const COLUMNS: usize>(
    simd: S,
    v: *const f32,
    count: usize,
    values: &[f32],
) -> [[S::f32s; COLUMNS]; BLOCK] {
    let l = S::F32_LANES;
    let mut acc = [[simd.splat_f32s(0.0); COLUMNS]; BLOCK];
    for (c, w) in values.chunks_exact(BLOCK).enumerate() {
        let line = v.wrapping_add(c * count * l);
        let mut x = [simd.splat_f32s(0.0); COLUMNS];
        for j in 0..COLUMNS {
            // SAFETY: promised by the caller.
            x[j] = unsafe { load::<S>(line.add(j * l)) };
        }
        for k in 0..BLOCK {
            let w = simd.splat_f32s(w[k]);
            for j in 0..COLUMNS {
                acc[k][j] = simd.mul_add_e_f32s(w, x[j], acc[k][j]);
            }
        }
    }
    acc
}

/// A backward pass over a block: fills `dw` `(K, C, 5, 5)` and, with `filters`, `maps`, the gradient of the padded input.
#[inline(always)]
pub(super) fn backward<S: Simd>(
    simd: S,
    plan: &Plan,
    input: &[f32],
    (grad, codes): (&[f32], &[f32]),
    dw: &mut [f32],
    into: Option<(&Frequencies, &mut [f32])>,
) {
    let (g, tiles) = (&plan.geometry, Tiles::of(plan));
    let (c, k, l) = (g.channels, g.out_channels, S::F32_LANES);
    // Each tile adds one term to sums over lanes whose end costs as much as nine, so more tiles at a time than forward.
    let rows = (2 * tiles.rows(plan)).min(tiles.high);
    let most = rows * tiles.wide;
    let mut v = buffer::take(F * plane(c, most) * l);
    let mut d = buffer::take(F * plane(k, most) * l);
    let mut du = scratch::zeroed::<f32>(F * k * c);
    let (v, d) = (&mut *v, &mut *d);
    let mut into = into;
    if let Some((_, maps)) = &mut into {
        maps.fill(0.0);
    }
    for first in (0..tiles.high).step_by(rows) {
        let last = tiles.high.min(first + rows);
        let count = (last - first) * tiles.wide;
        gather(simd, plan, input, tiles, (first, last), v);
        spread(simd, plan, (grad, codes), tiles, (first, last), d);
        for f in 0..F {
            // SAFETY: the buffers hold these vectors of every frequency.
            unsafe {
                outer::<S>(
                    simd,
                    (d.as_ptr().add(f * plane(k, count) * l), k),
                    (v.as_ptr().add(f * plane(c, count) * l), c),
                    count,
                    &mut du[f * k * c..][..k * c],
                );
            }
        }
        if let Some((u, maps)) = &mut into {
            // The input's frequencies have served, and their memory takes its gradient's.
            // SAFETY: the products' sizes are those of the buffers.
            unsafe { products(simd, &u.0, (d, k), (v, c), count) };
            overlap(simd, plan, v, tiles, (first, last), maps);
        }
    }
    weight_grad(simd, k * c, &du, dw);
}

/// `A dy A^T` of the tiles in these rows, where `dy` is the gradient before pooling and ReLU.
#[inline(always)]
fn spread<S: Simd>(
    simd: S,
    plan: &Plan,
    (grad, codes): (&[f32], &[f32]),
    tiles: Tiles,
    (first, last): (usize, usize),
    d: &mut [f32],
) {
    let l = S::F32_LANES;
    let channels = plan.geometry.out_channels;
    let count = (last - first) * tiles.wide;
    assert!(d.len() >= F * plane(channels, count) * l);
    for k in 0..channels {
        for t in 0..count {
            let at = (first + t / tiles.wide, t % tiles.wide);
            let pixels: Square<S> = tail::backward_tile::<S>(simd, plan, k, at, grad, codes);
            in_both_dimensions!(
                simd, tile::output_grad, M => T,
                |i, j| pixels[i][j],
                |i, j, value| {
                    let at = ((i * T + j) * plane(channels, count) + k * count + t) * l;
                    // SAFETY: asserted above.
                    unsafe { store::<S>(d.as_mut_ptr().add(at), value) }
                },
            );
        }
    }
}

/// Adds `B r B^T` of the tiles in these rows to the gradient of the padded input.
#[inline(always)]
fn overlap<S: Simd>(
    simd: S,
    plan: &Plan,
    r: &[f32],
    tiles: Tiles,
    (first, last): (usize, usize),
    maps: &mut [f32],
) {
    let l = S::F32_LANES;
    let (tall, wide) = plan.padded();
    let channels = plan.geometry.channels;
    let count = (last - first) * tiles.wide;
    assert!(r.len() >= F * plane(channels, count) * l && maps.len() >= channels * tall * wide * l);
    assert!(tall >= M * tiles.high + R - 1 && wide >= M * tiles.wide + R - 1);
    for c in 0..channels {
        for t in 0..count {
            let (y, x) = (M * (first + t / tiles.wide), M * (t % tiles.wide));
            in_both_dimensions!(
                simd, tile::input_grad, T => T,
                |i, j| {
                    let at = ((i * T + j) * plane(channels, count) + c * count + t) * l;
                    // SAFETY: asserted above.
                    unsafe { load::<S>(r.as_ptr().add(at)) }
                },
                |i, j, value| {
                    let at = ((c * tall + y + i) * wide + x + j) * l;
                    // SAFETY: asserted above.
                    unsafe {
                        let p = maps.as_mut_ptr().add(at);
                        store::<S>(p, simd.add_f32s(load::<S>(p), value));
                    }
                },
            );
        }
    }
}
