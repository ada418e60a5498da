//! Shifted multiply-adds of whole rows (NCHW) or whole pixels (NHWC): any element type and any number of outputs per channel.

use crate::kernels::conv::Geometry;
use crate::kernels::parallel::{Threads, for_each_chunk};
use crate::kernels::real::Real;
use crate::kernels::scratch;
use crate::kernels::simd::arch;
use crate::layout::Layout;

/// `y = x * w + bias`.
pub(super) fn forward<T: Real>(
    g: &Geometry,
    layout: Layout,
    x: &[T],
    w: &[T],
    bias: Option<&[T]>,
    y: &mut [T],
) {
    let threads = Threads::for_work(g.multiply_adds());
    if layout == Layout::Nchw {
        return for_each_chunk(y, g.out_plane(), threads, |i, y| {
            let (n, o) = (i / g.out_channels, i % g.out_channels);
            let x = &x[(n * g.channels + o / g.group_out()) * g.plane()..][..g.plane()];
            y.fill(bias.map_or(T::ZERO, |bias| bias[o]));
            arch().dispatch(|| {
                for_each_run(g, |run| {
                    let (w, step) = (w[o * g.taps() + run.tap], g.stride.1);
                    let y = &mut y[run.output..][..run.len];
                    match step {
                        1 => y
                            .iter_mut()
                            .zip(&x[run.input..])
                            .for_each(|(y, &x)| *y += w * x),
                        _ => y
                            .iter_mut()
                            .zip(x[run.input..].iter().step_by(step))
                            .for_each(|(y, &x)| *y += w * x),
                    }
                });
            });
        });
    }
    let w = by_tap(g, w);
    for_each_chunk(y, g.out_width * g.out_channels, threads, |i, y| {
        let (n, oy) = (i / g.out_height, i % g.out_height);
        for pixel in y.chunks_exact_mut(g.out_channels) {
            match bias {
                Some(bias) => pixel.copy_from_slice(bias),
                None => pixel.fill(T::ZERO),
            }
        }
        arch().dispatch(|| {
            for_each_pair(g, oy, |tap, iy, ox, ix| {
                let y = &mut y[ox * g.out_channels..][..g.out_channels];
                spread(
                    y,
                    &x[((n * g.height + iy) * g.width + ix) * g.channels..][..g.channels],
                    tap_weights(g, &w, tap),
                );
            });
        });
    });
}

/// Gradient of the input.
pub(super) fn grad_input<T: Real>(g: &Geometry, layout: Layout, w: &[T], dy: &[T], dx: &mut [T]) {
    match layout {
        Layout::Nchw => grad_input_nchw(g, w, dy, dx),
        Layout::Nhwc => grad_input_nhwc(g, w, dy, dx),
    }
}

/// Gradient of the weight.
pub(super) fn grad_weight<T: Real>(g: &Geometry, layout: Layout, x: &[T], dy: &[T], dw: &mut [T]) {
    match layout {
        Layout::Nchw => grad_weight_nchw(g, x, dy, dw),
        Layout::Nhwc => grad_weight_nhwc(g, x, dy, dw),
    }
}

fn grad_input_nchw<T: Real>(g: &Geometry, w: &[T], dy: &[T], dx: &mut [T]) {
    for_each_chunk(
        dx,
        g.plane(),
        Threads::for_work(g.multiply_adds()),
        |i, dx| {
            let (n, c) = (i / g.channels, i % g.channels);
            dx.fill(T::ZERO);
            for o in c * g.group_out()..(c + 1) * g.group_out() {
                let dy = &dy[(n * g.out_channels + o) * g.out_plane()..][..g.out_plane()];
                arch().dispatch(|| {
                    for_each_run(g, |run| {
                        let (w, step) = (w[o * g.taps() + run.tap], g.stride.1);
                        let dy = &dy[run.output..][..run.len];
                        match step {
                            1 => dx[run.input..]
                                .iter_mut()
                                .zip(dy)
                                .for_each(|(dx, &dy)| *dx += w * dy),
                            _ => dx[run.input..]
                                .iter_mut()
                                .step_by(step)
                                .zip(dy)
                                .for_each(|(dx, &dy)| *dx += w * dy),
                        }
                    });
                });
            }
        },
    );
}

fn grad_input_nhwc<T: Real>(g: &Geometry, w: &[T], dy: &[T], dx: &mut [T]) {
    let w = by_tap(g, w);
    // An image is a task: its rows receive from several output rows.
    for_each_chunk(
        dx,
        g.image(),
        Threads::for_work(g.multiply_adds()),
        |n, dx| {
            dx.fill(T::ZERO);
            for oy in 0..g.out_height {
                let dy = &dy[(n * g.out_height + oy) * g.out_width * g.out_channels..];
                arch().dispatch(|| {
                    for_each_pair(g, oy, |tap, iy, ox, ix| {
                        let dx = &mut dx[(iy * g.width + ix) * g.channels..][..g.channels];
                        gather(
                            dx,
                            &dy[ox * g.out_channels..][..g.out_channels],
                            tap_weights(g, &w, tap),
                        );
                    });
                });
            }
        },
    );
}

fn grad_weight_nchw<T: Real>(g: &Geometry, x: &[T], dy: &[T], dw: &mut [T]) {
    for_each_chunk(
        dw,
        g.taps(),
        Threads::for_work(g.multiply_adds()),
        |o, dw| {
            dw.fill(T::ZERO);
            for n in 0..g.batch {
                let x = &x[(n * g.channels + o / g.group_out()) * g.plane()..][..g.plane()];
                let dy = &dy[(n * g.out_channels + o) * g.out_plane()..][..g.out_plane()];
                arch().dispatch(|| {
                    for_each_run(g, |run| {
                        dw[run.tap] +=
                            dot(&dy[run.output..][..run.len], &x[run.input..], g.stride.1)
                    });
                });
            }
        },
    );
}

fn grad_weight_nhwc<T: Real>(g: &Geometry, x: &[T], dy: &[T], dw: &mut [T]) {
    let threads = Threads::for_work(g.multiply_adds());
    // The same images for each thread and the parts added in order: the same bits every time.
    let images = g.batch.div_ceil(threads.count()).max(1);
    let parts = g.batch.div_ceil(images).max(1);
    let mut partial = scratch::zeroed::<T>(parts * g.weights());
    for_each_chunk(&mut partial, g.weights(), threads, |part, dw| {
        for n in part * images..((part + 1) * images).min(g.batch) {
            for oy in 0..g.out_height {
                let dy = &dy[(n * g.out_height + oy) * g.out_width * g.out_channels..];
                arch().dispatch(|| {
                    for_each_pair(g, oy, |tap, iy, ox, ix| {
                        let x =
                            &x[((n * g.height + iy) * g.width + ix) * g.channels..][..g.channels];
                        let dw = &mut dw[tap * g.out_channels..][..g.out_channels];
                        spread(dw, x, &dy[ox * g.out_channels..][..g.out_channels]);
                    });
                });
            }
        }
    });
    for (o, dw) in dw.chunks_exact_mut(g.taps()).enumerate() {
        for (tap, dw) in dw.iter_mut().enumerate() {
            *dw = partial
                .chunks_exact(g.weights())
                .map(|part| part[tap * g.out_channels + o])
                .sum();
        }
    }
}

/// Output pixels of a row that see an unbroken (or evenly strided) run of input pixels through one kernel position.
struct Run {
    tap: usize,
    /// First element in the output plane.
    output: usize,
    /// First element in the input plane.
    input: usize,
    len: usize,
}

/// Every run of a pair of planes.
#[inline(always)]
fn for_each_run(g: &Geometry, mut f: impl FnMut(Run)) {
    for tap in 0..g.taps() {
        let (ky, kx) = (tap / g.kernel.1, tap % g.kernel.1);
        let (inside, first) = g.columns_inside(kx);
        if inside.is_empty() {
            continue;
        }
        for oy in 0..g.out_height {
            if let Some(iy) = g.input_row(oy, ky) {
                let output = oy * g.out_width + inside.start;
                f(Run {
                    tap,
                    output,
                    input: iy * g.width + first,
                    len: inside.len(),
                });
            }
        }
    }
}

/// Every `(tap, iy, ox, ix)` where an output pixel of row `oy` sees an input pixel.
#[inline(always)]
fn for_each_pair(g: &Geometry, oy: usize, mut f: impl FnMut(usize, usize, usize, usize)) {
    for tap in 0..g.taps() {
        let (ky, kx) = (tap / g.kernel.1, tap % g.kernel.1);
        let Some(iy) = g.input_row(oy, ky) else {
            continue;
        };
        let (inside, first) = g.columns_inside(kx);
        for (j, ox) in inside.enumerate() {
            f(tap, iy, ox, first + j * g.stride.1);
        }
    }
}

/// The weight `(o, tap)` as `(tap, o)`.
pub(super) fn by_tap<T: Real>(g: &Geometry, w: &[T]) -> Vec<T> {
    let taps = g.taps();
    (0..taps)
        .flat_map(|tap| w[tap..].iter().step_by(taps).copied())
        .collect()
}

#[inline(always)]
fn tap_weights<'a, T>(g: &Geometry, w: &'a [T], tap: usize) -> &'a [T] {
    &w[tap * g.out_channels..][..g.out_channels]
}

/// `out[o] += a[c] * b[o]`, where channel `c` has `out.len() / a.len()` outputs.
#[inline(always)]
fn spread<T: Real>(out: &mut [T], a: &[T], b: &[T]) {
    if out.len() == a.len() {
        return out
            .iter_mut()
            .zip(a)
            .zip(b)
            .for_each(|((out, &a), &b)| *out += a * b);
    }
    let m = out.len() / a.len();
    for ((out, &a), b) in out.chunks_exact_mut(m).zip(a).zip(b.chunks_exact(m)) {
        out.iter_mut().zip(b).for_each(|(out, &b)| *out += a * b);
    }
}

/// `out[c] += sum of a[o] * b[o]` over the outputs of channel `c`.
#[inline(always)]
fn gather<T: Real>(out: &mut [T], a: &[T], b: &[T]) {
    if out.len() == a.len() {
        return out
            .iter_mut()
            .zip(a)
            .zip(b)
            .for_each(|((out, &a), &b)| *out += a * b);
    }
    let m = a.len() / out.len();
    for ((out, a), b) in out.iter_mut().zip(a.chunks_exact(m)).zip(b.chunks_exact(m)) {
        *out += a.iter().zip(b).map(|(&a, &b)| a * b).sum();
    }
}

/// The product of `a` with every `step`th element of `b`, with eight running sums where the elements are adjacent.
#[inline(always)]
fn dot<T: Real>(a: &[T], b: &[T], step: usize) -> T {
    if step != 1 {
        return a
            .iter()
            .zip(b.iter().step_by(step))
            .map(|(&a, &b)| a * b)
            .sum();
    }
    let (runs, b) = (a.chunks_exact(8), &b[..a.len()]);
    let rest: T = runs
        .remainder()
        .iter()
        .zip(&b[a.len() / 8 * 8..])
        .map(|(&a, &b)| a * b)
        .sum();
    let mut sums = [T::ZERO; 8];
    for (a, b) in runs.zip(b.chunks_exact(8)) {
        for lane in 0..8 {
            sums[lane] += a[lane] * b[lane];
        }
    }
    sums.into_iter().sum::<T>() + rest
}
