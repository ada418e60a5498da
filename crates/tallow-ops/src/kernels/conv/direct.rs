//! Direct convolution for few channels and stride one, in NCHW: no patches, output channels in registers.
//!
//! Planes are flattened. In a padded input plane of row length `pitch`, output pixel `(oy, ox)` is position
//! `p = oy * pitch + ox`, and kernel position `(ky, kx)` sees input `p + ky * dh * pitch + kx * dw`: one constant offset for
//! the whole plane. So one loop over `p` serves every row with full registers; the positions between the rows (the last
//! `pitch - out_width` of each) come out meaningless in the forward pass and are dropped, and are zeros in the output gradient.
//!
//! The input gradient is the same correlation of the output gradient with the flipped kernel, on the same pitch: the zeros
//! after one row are the zeros before the next.

use pulp::{Arch, Simd, WithSimd};
use rayon::prelude::*;

use super::{Geometry, Gradients};
use crate::kernels::parallel::Threads;
use crate::kernels::real::Real;
use crate::kernels::scratch;

/// Lanes of the widest register: what a loop may read or write past the end of a plane.
const SLACK: usize = 16;
/// Elements of inputs and output gradients that a run of images for the weight gradient may hold in cache.
const RUN: usize = 1 << 15;
/// Output channels that share a loaded input register.
const CHANNELS: [usize; 5] = [6, 4, 3, 2, 1];

/// The flattened planes of a convolution.
struct Planes {
    pitch: usize,
    /// Elements of a padded input plane.
    padded: usize,
    /// Positions of an output plane, from its first pixel to its last.
    outputs: usize,
    /// Where each kernel position looks from position 0.
    offsets: Vec<usize>,
    /// The largest offset: the zeros that go before an output gradient.
    lead: usize,
    /// Elements of an output gradient's plane.
    gradient: usize,
}

impl Planes {
    fn new(g: &Geometry) -> Self {
        let (pitch, rows) = (g.width + 2 * g.padding.1, g.height + 2 * g.padding.0);
        let offset =
            |tap: usize| tap / g.kernel.1 * g.dilation.0 * pitch + tap % g.kernel.1 * g.dilation.1;
        let offsets: Vec<usize> = (0..g.taps()).map(offset).collect();
        let lead = offset(g.taps() - 1);
        Self {
            pitch,
            padded: rows * pitch,
            outputs: (g.out_height - 1) * pitch + g.out_width,
            offsets,
            lead,
            gradient: lead + rows * pitch + SLACK,
        }
    }
}

/// Whether this algorithm can run the convolution, and keeps its planes in cache and most of its lanes busy.
pub(crate) fn suits(g: &Geometry) -> bool {
    if g.stride != (1, 1) || g.groups != 1 || g.channels > 16 || g.out_channels > 32 {
        return false;
    }
    let padded = |size: usize, padding: usize| size + 2 * padding;
    let plane = padded(g.height, g.padding.0) * padded(g.width, g.padding.1);
    let positions =
        ((g.out_height - 1) * padded(g.width, g.padding.1) + g.out_width).next_multiple_of(SLACK);
    (g.channels + 2 * g.out_channels) * plane <= 1 << 16 && 2 * g.out_plane() >= positions
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
            Arch::new().dispatch(Correlate {
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
    y.par_chunks_mut(per_task * g.out_image())
        .enumerate()
        .for_each(|(i, y)| task(i * per_task, y));
}

/// The gradients of input and weight.
pub(crate) fn backward<T: Real>(g: &Geometry, x: &[T], w: &[T], dy: &[T], into: Gradients<T>) {
    let planes = Planes::new(g);
    let flipped = pack(g.channels, g.out_channels, g.taps(), |c, o, tap| {
        w[(o * g.channels + c) * g.taps() + g.taps() - 1 - tap]
    });
    let per_task = images_per_task(g);
    let tasks = g.batch.div_ceil(per_task);
    let inputs: Vec<Option<&mut [T]>> = match into.input {
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
                Arch::new().dispatch(GradWeight {
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
    if tasks == 1 {
        inputs
            .into_iter()
            .zip(partial.chunks_mut(g.weights()))
            .enumerate()
            .for_each(|(i, (dx, dw))| task(i, dx, dw));
    } else {
        let parts = inputs
            .into_par_iter()
            .zip(partial.par_chunks_mut(g.weights()));
        parts.enumerate().for_each(|(i, (dx, dw))| task(i, dx, dw));
    }
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
    Arch::new().dispatch(Correlate {
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

/// Blocks of output channels as (first, how many).
fn channel_blocks(channels: usize) -> impl Iterator<Item = (usize, usize)> {
    let mut next = 0;
    std::iter::from_fn(move || {
        let first = next;
        let size = CHANNELS
            .into_iter()
            .find(|&size| size <= channels - first)?;
        next += size;
        Some((first, size))
    })
}

/// Weights in the order the correlation reads them: block of output channels, input channel, kernel position, output channel.
fn pack<T: Real>(
    outputs: usize,
    inputs: usize,
    taps: usize,
    weight: impl Fn(usize, usize, usize) -> T,
) -> Vec<T> {
    let mut packed = Vec::with_capacity(outputs * inputs * taps);
    for (first, size) in channel_blocks(outputs) {
        for input in 0..inputs {
            for tap in 0..taps {
                packed.extend((first..first + size).map(|output| weight(output, input, tap)));
            }
        }
    }
    packed
}

/// `target[j][p] = bias[j] + sum over i, tap of weight[j][i][tap] * source[i][p + offset[tap]]` for `p` in `0..positions`
/// rounded up to whole registers.
struct Correlate<'a, T> {
    source: &'a [T],
    source_plane: usize,
    channels: usize,
    offsets: &'a [usize],
    weights: &'a [T],
    bias: Option<&'a [T]>,
    target: &'a mut [T],
    target_plane: usize,
    out_channels: usize,
    positions: usize,
}

impl<T: Real> WithSimd for Correlate<'_, T> {
    type Output = ();

    #[inline(always)]
    fn with_simd<S: Simd>(mut self, simd: S) {
        let lanes = T::lanes::<S>();
        let positions = self.positions.next_multiple_of(lanes);
        let reach = self.offsets.iter().copied().max().unwrap_or(0);
        assert!(self.source.len() >= (self.channels - 1) * self.source_plane + reach + positions);
        assert!(
            self.target_plane >= positions
                && self.target.len() >= self.out_channels * self.target_plane
        );
        assert!(self.weights.len() >= self.out_channels * self.channels * self.offsets.len());
        assert!(self.bias.is_none_or(|bias| bias.len() == self.out_channels));
        for (first, size) in channel_blocks(self.out_channels) {
            // SAFETY: every position read lies at most `reach` and a whole register past one of the first `positions` of a
            // plane, and every position written inside a target plane; both were just checked.
            unsafe {
                match size {
                    6 => self.block::<S, 6>(simd, first, positions),
                    4 => self.block::<S, 4>(simd, first, positions),
                    3 => self.block::<S, 3>(simd, first, positions),
                    2 => self.block::<S, 2>(simd, first, positions),
                    _ => self.block::<S, 1>(simd, first, positions),
                }
            }
        }
    }
}

impl<T: Real> Correlate<'_, T> {
    /// # Safety
    /// As asserted in `with_simd`.
    #[inline(always)]
    unsafe fn block<S: Simd, const J: usize>(&mut self, simd: S, first: usize, positions: usize) {
        let lanes = T::lanes::<S>();
        let mut p = 0;
        // SAFETY: the tiles cover `0..positions`, a multiple of `lanes`, and nothing else.
        unsafe {
            if S::REGISTER_COUNT >= 32 {
                while p + 4 * lanes <= positions {
                    self.tile::<S, J, 4>(simd, first, p);
                    p += 4 * lanes;
                }
            }
            while p + 2 * lanes <= positions {
                self.tile::<S, J, 2>(simd, first, p);
                p += 2 * lanes;
            }
            if p < positions {
                self.tile::<S, J, 1>(simd, first, p);
            }
        }
    }

    /// # Safety
    /// `p + V * lanes` must not be past the checked positions.
    #[inline(always)]
    unsafe fn tile<S: Simd, const J: usize, const V: usize>(
        &mut self,
        simd: S,
        first: usize,
        p: usize,
    ) {
        let lanes = T::lanes::<S>();
        let zero = T::splat(simd, T::ZERO);
        let mut sums = [[zero; V]; J];
        if let Some(bias) = self.bias {
            for j in 0..J {
                sums[j] = [T::splat(simd, bias[first + j]); V];
            }
        }
        // SAFETY: `with_simd` checked that the packed weights and the planes reach this far.
        unsafe {
            let mut weights = self
                .weights
                .as_ptr()
                .add(first * self.channels * self.offsets.len());
            for i in 0..self.channels {
                let plane = self.source.as_ptr().add(i * self.source_plane + p);
                for &offset in self.offsets {
                    let from = plane.add(offset);
                    let mut inputs = [zero; V];
                    for v in 0..V {
                        inputs[v] = from.add(v * lanes).cast::<T::Vector<S>>().read_unaligned();
                    }
                    for j in 0..J {
                        let weight = T::splat(simd, *weights.add(j));
                        for v in 0..V {
                            sums[j][v] = T::mul_add(simd, inputs[v], weight, sums[j][v]);
                        }
                    }
                    weights = weights.add(J);
                }
            }
            for j in 0..J {
                let to = self
                    .target
                    .as_mut_ptr()
                    .add((first + j) * self.target_plane + p);
                for v in 0..V {
                    to.add(v * lanes)
                        .cast::<T::Vector<S>>()
                        .write_unaligned(sums[j][v]);
                }
            }
        }
    }
}

/// `dw[o][c][tap] += sum over images, p of gradient[o][p] * input[c][p + offset[tap]]`.
struct GradWeight<'a, T> {
    g: &'a Geometry,
    planes: &'a Planes,
    images: usize,
    inputs: &'a [T],
    gradients: &'a [T],
    dw: &'a mut [T],
}

impl<T: Real> WithSimd for GradWeight<'_, T> {
    type Output = ();

    #[inline(always)]
    fn with_simd<S: Simd>(mut self, simd: S) {
        let (g, planes) = (self.g, self.planes);
        assert!(
            self.inputs.len() >= self.images * g.channels * planes.padded + SLACK
                && T::lanes::<S>() <= SLACK
        );
        assert!(self.gradients.len() >= self.images * g.out_channels * planes.gradient);
        let mut o = 0;
        while o < g.out_channels {
            let block = match g.out_channels - o {
                4.. if S::REGISTER_COUNT >= 32 => 4,
                2.. => 2,
                _ => 1,
            };
            for c in 0..g.channels {
                for ky in 0..g.kernel.0 {
                    let mut kx = 0;
                    while kx < g.kernel.1 {
                        let taps = match g.kernel.1 - kx {
                            5.. => 5,
                            3.. => 3,
                            _ => 1,
                        };
                        // SAFETY: an input is read at most `lead` past an output position, which ends inside its padded
                        // plane, and less than a register beyond; a gradient less than a register past its last position,
                        // which `SLACK` elements follow. The sizes of both buffers were just checked.
                        unsafe {
                            match (block, taps) {
                                (4, 5) => self.tile::<S, 4, 5>(simd, o, c, ky, kx),
                                (4, 3) => self.tile::<S, 4, 3>(simd, o, c, ky, kx),
                                (4, _) => self.tile::<S, 4, 1>(simd, o, c, ky, kx),
                                (2, 5) => self.tile::<S, 2, 5>(simd, o, c, ky, kx),
                                (2, 3) => self.tile::<S, 2, 3>(simd, o, c, ky, kx),
                                (2, _) => self.tile::<S, 2, 1>(simd, o, c, ky, kx),
                                (_, 5) => self.tile::<S, 1, 5>(simd, o, c, ky, kx),
                                (_, 3) => self.tile::<S, 1, 3>(simd, o, c, ky, kx),
                                _ => self.tile::<S, 1, 1>(simd, o, c, ky, kx),
                            }
                        }
                        kx += taps;
                    }
                }
            }
            o += block;
        }
    }
}

impl<T: Real> GradWeight<'_, T> {
    /// # Safety
    /// As asserted in `with_simd`; `o + O` and `kx + K` must not pass the output channels and the kernel's width.
    #[inline(always)]
    unsafe fn tile<S: Simd, const O: usize, const K: usize>(
        &mut self,
        simd: S,
        o: usize,
        c: usize,
        ky: usize,
        kx: usize,
    ) {
        let (g, planes, lanes) = (self.g, self.planes, T::lanes::<S>());
        let tap = ky * g.kernel.1 + kx;
        let zero = T::splat(simd, T::ZERO);
        let mut sums = [[zero; K]; O];
        // SAFETY: passed on to the caller.
        unsafe {
            for image in 0..self.images {
                let gradients = self
                    .gradients
                    .as_ptr()
                    .add((image * g.out_channels + o) * planes.gradient + planes.lead);
                let inputs = self
                    .inputs
                    .as_ptr()
                    .add((image * g.channels + c) * planes.padded + planes.offsets[tap]);
                for p in (0..planes.outputs).step_by(lanes) {
                    let mut dy = [zero; O];
                    for j in 0..O {
                        dy[j] = gradients
                            .add(j * planes.gradient + p)
                            .cast::<T::Vector<S>>()
                            .read_unaligned();
                    }
                    for k in 0..K {
                        let input = inputs
                            .add(p + k * g.dilation.1)
                            .cast::<T::Vector<S>>()
                            .read_unaligned();
                        for j in 0..O {
                            sums[j][k] = T::mul_add(simd, dy[j], input, sums[j][k]);
                        }
                    }
                }
            }
        }
        for (j, sums) in sums.iter().enumerate() {
            for (k, &sum) in sums.iter().enumerate() {
                self.dw[((o + j) * g.channels + c) * g.taps() + tap + k] +=
                    T::reduce_sum(simd, sum);
            }
        }
    }
}
