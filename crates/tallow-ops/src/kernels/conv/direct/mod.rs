//! Direct convolution for few channels and stride one, in NCHW: no patches, output channels in registers.
//!
//! Planes are flattened. In a padded input plane of row length `pitch`, output pixel `(oy, ox)` is position
//! `p = oy * pitch + ox`, and kernel position `(ky, kx)` sees input `p + ky * dh * pitch + kx * dw`: one constant offset for
//! the whole plane. So one loop over `p` serves every row with full registers; the positions between the rows (the last
//! `pitch - out_width` of each) come out meaningless in the forward pass and are dropped, and are zeros in the output gradient.
//!
//! The input gradient is the same correlation of the output gradient with the flipped kernel, on the same pitch: the zeros
//! after one row are the zeros before the next.

mod correlate;
mod grad_weight;
mod planes;

use self::correlate::{Correlate, pack};
use self::grad_weight::GradWeight;
use self::planes::{Planes, SLACK};
use super::geometry::Geometry;
use super::passes::Gradients;
use crate::kernels::parallel::{Threads, for_each_chunk, for_each_chunk2};
use crate::kernels::real::Real;
use crate::kernels::scratch;
use crate::kernels::simd::arch;

/// Elements of inputs and output gradients that a run of images for the weight gradient may hold in cache.
const RUN: usize = 1 << 15;
/// Elements that the planes of one image may take.
const CACHED: usize = 1 << 18;

/// True if this algorithm can run the convolution and is faster than matrix products: few enough channels for the planes to stay in
/// cache, maps large enough to keep most lanes busy, and a kernel of more than one position.
pub(crate) fn suits(g: &Geometry) -> bool {
    if g.stride != (1, 1)
        || g.groups != 1
        || g.channels > 32
        || g.out_channels > 64
        || g.taps() == 1
    {
        return false;
    }
    let (pitch, rows) = (g.width + 2 * g.padding.1, g.height + 2 * g.padding.0);
    let positions = ((g.out_height - 1) * pitch + g.out_width).next_multiple_of(SLACK);
    rows * pitch <= CACHED / (g.channels + 2 * g.out_channels) && 2 * g.out_plane() >= positions
}

/// `y = x * w + bias`.
pub(crate) fn forward<T: Real>(g: &Geometry, x: &[T], w: &[T], bias: Option<&[T]>, y: &mut [T]) {
    let planes = Planes::new(g);
    let weights = pack(g.out_channels, g.channels, g.taps(), |o, c, tap| {
        w[(o * g.channels + c) * g.taps() + tap]
    });
    let per_task = images_per_task(g);
    let task = |first: usize, y: &mut [T]| {
        let plane = planes.outputs.next_multiple_of(SLACK);
        let mut padded = scratch::zeroed(g.channels * planes.padded + SLACK);
        let mut out = scratch::take(g.out_channels * plane);
        for (i, y) in y.chunks_exact_mut(g.out_image()).enumerate() {
            let from = padded_input(g, &planes, x, first + i, 1, &mut padded);
            arch().dispatch(Correlate {
                source: from,
                source_plane: planes.padded,
                channels: g.channels,
                offsets: &planes.offsets,
                weights: &weights,
                bias,
                target: &mut out,
                target_plane: plane,
                out_channels: g.out_channels,
                positions: planes.outputs,
            });
            for (y, out) in y
                .chunks_exact_mut(g.out_plane())
                .zip(out.chunks_exact(plane))
            {
                for (y, out) in y
                    .chunks_exact_mut(g.out_width)
                    .zip(out.chunks(planes.pitch))
                {
                    y.copy_from_slice(&out[..g.out_width]);
                }
            }
        }
    };
    if g.batch <= per_task {
        return task(0, y);
    }
    for_each_chunk(y, per_task * g.out_image(), Threads::All, |i, y| {
        task(i * per_task, y);
    });
}

/// The gradients of input and weight.
pub(crate) fn backward<T: Real>(g: &Geometry, x: &[T], w: &[T], dy: &[T], into: Gradients<T>) {
    let planes = Planes::new(g);
    let flipped = pack(g.channels, g.out_channels, g.taps(), |c, o, tap| {
        w[(o * g.channels + c) * g.taps() + g.taps() - 1 - tap]
    });
    let per_task = images_per_task(g);
    let tasks = g.batch.div_ceil(per_task);
    let mut inputs: Vec<Option<&mut [T]>> = match into.input {
        Some(dx) => dx.chunks_mut(per_task * g.image()).map(Some).collect(),
        None => (0..tasks).map(|_| None).collect(),
    };
    let want_weight = into.weight.is_some();
    let mut partial = scratch::zeroed::<T>(tasks * g.weights());
    let task = |index: usize, mut dx: Option<&mut [T]>, dw: &mut [T]| {
        let images = index * per_task..((index + 1) * per_task).min(g.batch);
        let image = g.channels * planes.padded + g.out_channels * planes.gradient;
        let run = (RUN / image).clamp(1, per_task);
        // The zeros around the pixels are written once: every image fills the same places.
        let mut gradients = scratch::zeroed(run * g.out_channels * planes.gradient);
        let mut padded = scratch::zeroed(run * g.channels * planes.padded + SLACK);
        let rows = g.height * planes.pitch;
        let mut out = scratch::take(g.channels * rows.next_multiple_of(SLACK));
        for start in images.clone().step_by(run) {
            let count = run.min(images.end - start);
            for (i, gradients) in gradients
                .chunks_exact_mut(g.out_channels * planes.gradient)
                .enumerate()
                .take(count)
            {
                let dy = &dy[(start + i) * g.out_image()..][..g.out_image()];
                for (to, from) in gradients
                    .chunks_exact_mut(planes.gradient)
                    .zip(dy.chunks_exact(g.out_plane()))
                {
                    for (to, from) in to[planes.lead..]
                        .chunks_mut(planes.pitch)
                        .zip(from.chunks_exact(g.out_width))
                    {
                        to[..g.out_width].copy_from_slice(from);
                    }
                }
                if let Some(dx) = dx.as_deref_mut() {
                    let dx = &mut dx[(start + i - images.start) * g.image()..][..g.image()];
                    grad_input(g, &planes, &flipped, gradients, &mut out, dx);
                }
            }
            if want_weight {
                let inputs = padded_input(g, &planes, x, start, count, &mut padded);
                arch().dispatch(GradWeight {
                    g,
                    planes: &planes,
                    images: count,
                    inputs,
                    gradients: &gradients,
                    dw: &mut *dw,
                });
            }
        }
    };
    let threads = if tasks == 1 {
        Threads::One
    } else {
        Threads::All
    };
    for_each_chunk2(
        (&mut inputs, 1),
        (&mut partial, g.weights()),
        threads,
        |i, dx, dw| task(i, dx[0].as_deref_mut(), dw),
    );
    if let Some(dw) = into.weight {
        dw.fill(T::ZERO);
        for part in partial.chunks_exact(g.weights()) {
            dw.iter_mut().zip(part).for_each(|(sum, &v)| *sum += v);
        }
    }
}

/// One image's input gradient from its output gradient's planes.
fn grad_input<T: Real>(
    g: &Geometry,
    planes: &Planes,
    flipped: &[T],
    gradients: &[T],
    out: &mut [T],
    dx: &mut [T],
) {
    let positions = g.height * planes.pitch;
    let plane = positions.next_multiple_of(SLACK);
    arch().dispatch(Correlate {
        source: &gradients[g.padding.0 * planes.pitch..],
        source_plane: planes.gradient,
        channels: g.out_channels,
        offsets: &planes.offsets,
        weights: flipped,
        bias: None,
        target: out,
        target_plane: plane,
        out_channels: g.channels,
        positions,
    });
    for (dx, out) in dx.chunks_exact_mut(g.plane()).zip(out.chunks_exact(plane)) {
        for (dx, out) in dx.chunks_exact_mut(g.width).zip(out.chunks(planes.pitch)) {
            dx.copy_from_slice(&out[g.padding.1..][..g.width]);
        }
    }
}

/// The same number of images for each thread, so that sums over images fall into the same parts every time.
fn images_per_task(g: &Geometry) -> usize {
    g.batch
        .div_ceil(Threads::for_work(g.multiply_adds()).count())
        .max(1)
}

/// `count` images with their padding, each `channels * padded` elements, and [`SLACK`] readable elements after the last: the
/// images themselves where nothing has to be added.
fn padded_input<'a, T: Real>(
    g: &Geometry,
    planes: &Planes,
    x: &'a [T],
    first: usize,
    count: usize,
    padded: &'a mut [T],
) -> &'a [T] {
    let images = &x[first * g.image()..];
    if g.padding == (0, 0) && images.len() >= count * g.image() + SLACK {
        return images;
    }
    let planes_out = padded
        .chunks_exact_mut(planes.padded)
        .take(count * g.channels);
    for (to, from) in planes_out.zip(images.chunks_exact(g.plane())) {
        for (to, from) in to[g.padding.0 * planes.pitch..]
            .chunks_exact_mut(planes.pitch)
            .zip(from.chunks_exact(g.width))
        {
            to[g.padding.1..][..g.width].copy_from_slice(from);
        }
    }
    padded
}
