//! Depthwise convolution in NHWC on vectors of channels: the sums of a few pixels stay in registers over all kernel positions.

use pulp::{Simd, WithSimd};

use super::axis::{Axis, Span, Tap};
use crate::kernels::conv::Geometry;
use crate::kernels::panel::{load, store};
use crate::kernels::parallel::{Threads, for_each_chunk};
use crate::kernels::scratch;
use crate::kernels::simd::arch;

/// Pixels whose sums are in registers.
const TILE: usize = 4;
/// Vectors of channels at a time.
const VECTORS: usize = 2;
/// Parts of the batch whose weight gradients are summed by themselves, at most. Their number depends on the batch alone, so the bits do
/// not depend on the number of threads.
const PARTS: usize = 32;

/// The correlation of sources with a kernel: the forward pass and the gradient of the input.
struct Correlation<'a> {
    rows: Axis,
    columns: Axis,
    spans: Vec<Span>,
    /// Height and width of the sources.
    sources: (usize, usize),
    channels: usize,
    kernel_width: usize,
    /// `(tap, channel)`.
    weight: &'a [f32],
    bias: Option<&'a [f32]>,
}

/// `y = x * w + bias`; `weight` is `(tap, channel)`.
pub(super) fn forward(
    g: &Geometry,
    x: &[f32],
    weight: &[f32],
    bias: Option<&[f32]>,
    y: &mut [f32],
) {
    let [rows, columns] = Axis::forward(g);
    correlate(g, [rows, columns], (g.height, g.width), x, weight, bias, y);
}

/// Gradient of the input; `weight` is `(tap, channel)`.
pub(super) fn grad_input(g: &Geometry, weight: &[f32], dy: &[f32], dx: &mut [f32]) {
    let [rows, columns] = Axis::gradient(g);
    let sources = (g.out_height, g.out_width);
    correlate(g, [rows, columns], sources, dy, weight, None, dx);
}

fn correlate(
    g: &Geometry,
    [rows, columns]: [Axis; 2],
    sources: (usize, usize),
    from: &[f32],
    weight: &[f32],
    bias: Option<&[f32]>,
    to: &mut [f32],
) {
    let channels = g.channels;
    assert_eq!(from.len(), g.batch * sources.0 * sources.1 * channels);
    assert_eq!(to.len(), g.batch * rows.len * columns.len * channels);
    assert_eq!(weight.len(), g.taps() * channels);
    assert!(bias.is_none_or(|bias| bias.len() == channels));
    let pass = Correlation {
        spans: columns.spans(),
        rows,
        columns,
        sources,
        channels,
        kernel_width: g.kernel.1,
        weight,
        bias,
    };
    let (row, image) = (
        pass.columns.len * channels,
        sources.0 * sources.1 * channels,
    );
    for_each_chunk(to, row, Threads::for_work(g.multiply_adds()), |i, to| {
        let (n, y) = (i / pass.rows.len, i % pass.rows.len);
        arch().dispatch(Row {
            pass: &pass,
            taps: &pass.rows.taps(y),
            from: &from[n * image..][..image],
            to,
        });
    });
}

/// One row of destinations.
struct Row<'a> {
    pass: &'a Correlation<'a>,
    taps: &'a [Tap],
    /// The image of the sources.
    from: &'a [f32],
    to: &'a mut [f32],
}

impl WithSimd for Row<'_> {
    type Output = ();

    #[inline(always)]
    fn with_simd<S: Simd>(self, simd: S) {
        let to = self.to.as_mut_ptr();
        for span in &self.pass.spans {
            let mut at = 0;
            while at < span.count {
                // SAFETY: the pixels from `at` on are destinations of the span, whose taps are inside the sources; the slices have
                // the sizes that `correlate` checked.
                unsafe {
                    if span.count - at >= TILE {
                        self.pixels::<S, TILE>(simd, span, at, to);
                        at += TILE;
                    } else {
                        self.pixels::<S, 1>(simd, span, at, to);
                        at += 1;
                    }
                }
            }
        }
    }
}

impl Row<'_> {
    /// All channels of `N` pixels of a span.
    #[inline(always)]
    unsafe fn pixels<S: Simd, const N: usize>(
        &self,
        simd: S,
        span: &Span,
        at: usize,
        to: *mut f32,
    ) {
        let (channels, lanes) = (self.pass.channels, S::F32_LANES);
        let mut channel = 0;
        // SAFETY: `channel` and the vectors behind it are inside the channels; the rest is promised by the caller. The last vector may
        // compute channels again that the one before it has: the same values.
        unsafe {
            while channel + VECTORS * lanes <= channels {
                self.tile::<S, N, VECTORS>(simd, span, at, channel, to);
                channel += VECTORS * lanes;
            }
            if channel + lanes <= channels {
                self.tile::<S, N, 1>(simd, span, at, channel, to);
                channel += lanes;
            }
            if channel < channels {
                self.tile::<S, N, 1>(simd, span, at, channels - lanes, to);
            }
        }
    }

    /// `V` vectors of channels of `N` pixels.
    #[inline(always)]
    unsafe fn tile<S: Simd, const N: usize, const V: usize>(
        &self,
        simd: S,
        span: &Span,
        at: usize,
        channel: usize,
        to: *mut f32,
    ) {
        let Correlation {
            channels,
            kernel_width,
            weight,
            bias,
            ref columns,
            sources,
            ..
        } = *self.pass;
        let lanes = S::F32_LANES;
        let step = columns.source_step * channels;
        // SAFETY: promised by the caller.
        unsafe {
            let mut sums = [[simd.splat_f32s(0.0); V]; N];
            if let Some(bias) = bias {
                for v in 0..V {
                    let bias = load::<S>(bias.as_ptr().add(channel + v * lanes));
                    for sums in &mut sums {
                        sums[v] = bias;
                    }
                }
            }
            for &(ky, row) in self.taps {
                let weight = weight.as_ptr().add(ky * kernel_width * channels + channel);
                let from = self
                    .from
                    .as_ptr()
                    .add((row * sources.1 + at * columns.source_step) * channels + channel);
                for &(kx, column) in &span.taps {
                    let (weight, from) = (weight.add(kx * channels), from.add(column * channels));
                    for v in 0..V {
                        let weight = load::<S>(weight.add(v * lanes));
                        for j in 0..N {
                            let x = load::<S>(from.add(j * step + v * lanes));
                            sums[j][v] = simd.mul_add_e_f32s(x, weight, sums[j][v]);
                        }
                    }
                }
            }
            for j in 0..N {
                let pixel = span.first + (at + j) * columns.step;
                for v in 0..V {
                    store::<S>(to.add(pixel * channels + channel + v * lanes), sums[j][v]);
                }
            }
        }
    }
}

/// Gradient of the weight, `(channel, tap)`.
pub(super) fn grad_weight(g: &Geometry, x: &[f32], dy: &[f32], dw: &mut [f32]) {
    assert_eq!(x.len(), g.batch * g.image());
    assert_eq!(dy.len(), g.batch * g.out_image());
    let [rows, columns] = Axis::forward(g);
    let spans = columns.spans();
    let images = g.batch.div_ceil(PARTS).max(1);
    let parts = g.batch.div_ceil(images).max(1);
    let mut partial = scratch::zeroed::<f32>(parts * g.weights());
    let threads = Threads::for_work(g.multiply_adds());
    for_each_chunk(&mut partial, g.weights(), threads, |part, dw| {
        for n in part * images..((part + 1) * images).min(g.batch) {
            arch().dispatch(WeightGrad {
                g,
                rows: &rows,
                spans: &spans,
                x: &x[n * g.image()..][..g.image()],
                dy: &dy[n * g.out_image()..][..g.out_image()],
                dw,
            });
        }
    });
    for (channel, dw) in dw.chunks_exact_mut(g.taps()).enumerate() {
        for (tap, dw) in dw.iter_mut().enumerate() {
            let parts = partial.chunks_exact(g.weights());
            *dw = parts.map(|part| part[tap * g.channels + channel]).sum();
        }
    }
}

/// Weight gradient of one image, added to `dw` `(tap, channel)`.
struct WeightGrad<'a> {
    g: &'a Geometry,
    rows: &'a Axis,
    spans: &'a [Span],
    x: &'a [f32],
    dy: &'a [f32],
    dw: &'a mut [f32],
}

impl WithSimd for WeightGrad<'_> {
    type Output = ();

    #[inline(always)]
    fn with_simd<S: Simd>(mut self, simd: S) {
        let (channels, lanes) = (self.g.channels, S::F32_LANES);
        for y in 0..self.g.out_height {
            for (ky, row) in self.rows.taps(y) {
                let mut channel = 0;
                // SAFETY: the channels are inside, and so are the taps of row and spans. The last vector may have channels that the one
                // before it had, which are skipped.
                unsafe {
                    while channel + VECTORS * lanes <= channels {
                        self.row::<S, VECTORS>(simd, y, (ky, row), channel, 0);
                        channel += VECTORS * lanes;
                    }
                    if channel + lanes <= channels {
                        self.row::<S, 1>(simd, y, (ky, row), channel, 0);
                        channel += lanes;
                    }
                    if channel < channels {
                        let last = channels - lanes;
                        self.row::<S, 1>(simd, y, (ky, row), last, channel - last);
                    }
                }
            }
        }
    }
}

impl WeightGrad<'_> {
    /// `V` vectors of channels, all spans of a row.
    #[inline(always)]
    unsafe fn row<S: Simd, const V: usize>(
        &mut self,
        simd: S,
        y: usize,
        tap: Tap,
        channel: usize,
        skip: usize,
    ) {
        for span in self.spans {
            let mut taps = &span.taps[..];
            macro_rules! run {
                ($count:literal) => {
                    while let Some((some, rest)) = taps.split_first_chunk::<$count>() {
                        // SAFETY: promised by the caller.
                        unsafe {
                            self.taps::<S, $count, V>(simd, y, tap, (span, some), channel, skip)
                        };
                        taps = rest;
                    }
                };
            }
            run!(5);
            run!(3);
            run!(2);
            run!(1);
        }
    }

    /// `N` taps of a row of the kernel.
    #[inline(always)]
    unsafe fn taps<S: Simd, const N: usize, const V: usize>(
        &mut self,
        simd: S,
        y: usize,
        (ky, row): Tap,
        (span, taps): (&Span, &[Tap; N]),
        channel: usize,
        skip: usize,
    ) {
        let (g, lanes) = (self.g, S::F32_LANES);
        let (channels, step) = (g.channels, g.stride.1 * g.channels);
        // SAFETY: promised by the caller.
        unsafe {
            let mut sums = [[simd.splat_f32s(0.0); V]; N];
            let mut dy = self
                .dy
                .as_ptr()
                .add((y * g.out_width + span.first) * channels + channel);
            let x = self.x.as_ptr().add(row * g.width * channels + channel);
            let mut sources = taps.map(|(_, column)| x.add(column * channels));
            for _ in 0..span.count {
                let mut upper = [simd.splat_f32s(0.0); V];
                for v in 0..V {
                    upper[v] = load::<S>(dy.add(v * lanes));
                }
                for i in 0..N {
                    for v in 0..V {
                        let x = load::<S>(sources[i].add(v * lanes));
                        sums[i][v] = simd.mul_add_e_f32s(x, upper[v], sums[i][v]);
                    }
                    sources[i] = sources[i].wrapping_add(step);
                }
                dy = dy.wrapping_add(channels);
            }
            for i in 0..N {
                let at = (ky * g.kernel.1 + taps[i].0) * channels + channel;
                for v in 0..V {
                    let dw = &mut self.dw[at + v * lanes..][..lanes];
                    if skip == 0 {
                        let sum = simd.add_f32s(load::<S>(dw.as_ptr()), sums[i][v]);
                        store::<S>(dw.as_mut_ptr(), sum);
                    } else {
                        let mut sum = [0.0; 64];
                        store::<S>(sum.as_mut_ptr(), sums[i][v]);
                        for (dw, sum) in dw.iter_mut().zip(sum).skip(skip) {
                            *dw += sum;
                        }
                    }
                }
            }
        }
    }
}
