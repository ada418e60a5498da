//! Patches as matrix columns, and back.
//!
//! A block is a range of output rows counted through the whole batch: row `n * out_height + oy` is row `oy` of image `n`.
//! In NCHW the lines of a matrix of patches are [`line`] elements apart.

use std::ops::Range;

use super::geometry::Geometry;
use crate::kernels::parallel::{Threads, for_each_chunk};
use crate::kernels::real::Real;

/// Elements from one line of `pixels` to the next: an odd number of cache lines, since lines a power of two apart would share
/// a few sets of the cache when a product walks down them.
pub(super) fn line(pixels: usize) -> usize {
    (pixels.div_ceil(16) | 1) * 16
}

/// `columns[(c, ky, kx)][(n, oy, ox)]` of one group from an `(n, c, h, w)` batch.
pub(super) fn im2col_nchw<T: Real>(
    g: &Geometry,
    x: &[T],
    group: usize,
    rows: Range<usize>,
    columns: &mut [T],
    threads: Threads,
) {
    let taps = g.taps();
    for_each_chunk(
        columns,
        line(rows.len() * g.out_width),
        threads,
        |k, line| {
            let (c, ky, kx) = (
                group * g.group_in() + k / taps,
                k % taps / g.kernel.1,
                k % g.kernel.1,
            );
            let (inside, first) = g.columns_inside(kx);
            for (row, out) in rows.clone().zip(line.chunks_exact_mut(g.out_width)) {
                let (n, oy) = (row / g.out_height, row % g.out_height);
                let Some(iy) = g.input_row(oy, ky).filter(|_| !inside.is_empty()) else {
                    out.fill(T::ZERO);
                    continue;
                };
                let source = &x[((n * g.channels + c) * g.height + iy) * g.width..][first..g.width];
                out[..inside.start].fill(T::ZERO);
                out[inside.end..].fill(T::ZERO);
                let out = &mut out[inside.clone()];
                if g.stride.1 == 1 {
                    out.copy_from_slice(&source[..out.len()]);
                } else {
                    out.iter_mut()
                        .zip(source.iter().step_by(g.stride.1))
                        .for_each(|(o, &v)| *o = v);
                }
            }
        },
    );
}

/// Adds the columns of [`im2col_nchw`] to the pixels they came from. `dx` starts at image `first_image`.
pub(super) fn col2im_nchw<T: Real>(
    g: &Geometry,
    columns: &[T],
    group: usize,
    rows: Range<usize>,
    dx: &mut [T],
    first_image: usize,
    threads: Threads,
) {
    let (images, taps, len) = (images(g, &rows), g.taps(), line(rows.len() * g.out_width));
    let dx =
        &mut dx[(images.start - first_image) * g.image()..(images.end - first_image) * g.image()];
    for_each_chunk(dx, g.plane(), threads, |i, plane| {
        let (n, c) = (images.start + i / g.channels, i % g.channels);
        if c / g.group_in() != group {
            return;
        }
        for tap in 0..taps {
            let (ky, kx) = (tap / g.kernel.1, tap % g.kernel.1);
            let (inside, first) = g.columns_inside(kx);
            if inside.is_empty() {
                continue;
            }
            let line = &columns[((c % g.group_in()) * taps + tap) * len..][..len];
            for oy in rows_of_image(g, &rows, n) {
                let Some(iy) = g.input_row(oy, ky) else {
                    continue;
                };
                let source =
                    &line[(n * g.out_height + oy - rows.start) * g.out_width..][inside.clone()];
                let target = &mut plane[iy * g.width..(iy + 1) * g.width][first..];
                if g.stride.1 == 1 {
                    target.iter_mut().zip(source).for_each(|(t, &v)| *t += v);
                } else {
                    target
                        .iter_mut()
                        .step_by(g.stride.1)
                        .zip(source)
                        .for_each(|(t, &v)| *t += v);
                }
            }
        }
    });
}

/// `columns[(n, oy, ox)][(ky, kx, c)]` of one group from an `(n, h, w, c)` batch.
pub(super) fn im2col_nhwc<T: Real>(
    g: &Geometry,
    x: &[T],
    group: usize,
    rows: Range<usize>,
    columns: &mut [T],
    threads: Threads,
) {
    let (group_in, depth) = (g.group_in(), g.depth());
    // Neighbouring kernel columns are neighbours in memory when nothing lies between them.
    let joined = g.groups == 1 && g.dilation.1 == 1;
    for_each_chunk(columns, g.out_width * depth, threads, |i, line| {
        let (n, oy) = (
            (rows.start + i) / g.out_height,
            (rows.start + i) % g.out_height,
        );
        for ky in 0..g.kernel.0 {
            let patch = |ox: usize| ox * depth + ky * g.kernel.1 * group_in;
            let Some(iy) = g.input_row(oy, ky) else {
                for ox in 0..g.out_width {
                    line[patch(ox)..][..g.kernel.1 * group_in].fill(T::ZERO);
                }
                continue;
            };
            let source = &x[(n * g.height + iy) * g.width * g.channels..][..g.width * g.channels];
            for ox in 0..g.out_width {
                let out = &mut line[patch(ox)..][..g.kernel.1 * group_in];
                let left = (ox * g.stride.1).checked_sub(g.padding.1);
                if let Some(left) = left.filter(|left| joined && left + g.kernel.1 <= g.width) {
                    out.copy_from_slice(&source[left * group_in..][..out.len()]);
                    continue;
                }
                for (kx, out) in out.chunks_exact_mut(group_in).enumerate() {
                    let ix = (ox * g.stride.1 + kx * g.dilation.1)
                        .checked_sub(g.padding.1)
                        .filter(|&ix| ix < g.width);
                    match ix {
                        Some(ix) => out.copy_from_slice(
                            &source[ix * g.channels + group * group_in..][..group_in],
                        ),
                        None => out.fill(T::ZERO),
                    }
                }
            }
        }
    });
}

/// Adds the columns of [`im2col_nhwc`] to the pixels they came from. `dx` starts at image `first_image`.
pub(super) fn col2im_nhwc<T: Real>(
    g: &Geometry,
    columns: &[T],
    group: usize,
    rows: Range<usize>,
    dx: &mut [T],
    first_image: usize,
    threads: Threads,
) {
    let (images, group_in, depth) = (images(g, &rows), g.group_in(), g.depth());
    let dx =
        &mut dx[(images.start - first_image) * g.image()..(images.end - first_image) * g.image()];
    for_each_chunk(dx, g.width * g.channels, threads, |i, line| {
        let (n, iy) = (images.start + i / g.height, i % g.height);
        let seen = rows_of_image(g, &rows, n);
        for ky in 0..g.kernel.0 {
            // The output row that saw this input row through kernel row `ky`, if one did.
            let Some(offset) = (iy + g.padding.0).checked_sub(ky * g.dilation.0) else {
                continue;
            };
            let oy = offset / g.stride.0;
            if offset % g.stride.0 != 0 || !seen.contains(&oy) {
                continue;
            }
            let patches = &columns[(n * g.out_height + oy - rows.start) * g.out_width * depth..]
                [..g.out_width * depth];
            for kx in 0..g.kernel.1 {
                let (inside, first) = g.columns_inside(kx);
                let at = (ky * g.kernel.1 + kx) * group_in;
                for (j, ox) in inside.enumerate() {
                    let target = &mut line
                        [(first + j * g.stride.1) * g.channels + group * group_in..][..group_in];
                    let source = &patches[ox * depth + at..][..group_in];
                    target.iter_mut().zip(source).for_each(|(t, &v)| *t += v);
                }
            }
        }
    });
}

/// The images that a block of rows touches.
fn images(g: &Geometry, rows: &Range<usize>) -> Range<usize> {
    rows.start / g.out_height..rows.end.div_ceil(g.out_height)
}

/// The rows of image `n` that lie in a block, counted from the image's first.
fn rows_of_image(g: &Geometry, rows: &Range<usize>, n: usize) -> Range<usize> {
    let first = n * g.out_height;
    rows.start.saturating_sub(first)..rows.end.saturating_sub(first).min(g.out_height)
}
