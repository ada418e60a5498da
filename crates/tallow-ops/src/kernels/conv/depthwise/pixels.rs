//! Depthwise convolution in NHWC on vectors of channels: the sums of a few pixels stay in registers over all kernel positions.

use pulp::{Simd, WithSimd};

use super::axis::{Axis, Span, Tap};
use super::tiles::{Band, Tile};
use crate::kernels::conv::Geometry;
use crate::kernels::panel::{load, store};
use crate::kernels::parallel::{Threads, for_each_chunk};
use crate::kernels::scratch;
use crate::kernels::simd::arch;

/// Vectors of channels at a time in the gradient of the weight.
const VECTORS: usize = 2;
/// Parts of the batch whose weight gradients are summed by themselves, at most. Their number depends on the batch alone, so the bits do
/// not depend on the number of threads.
const PARTS: usize = 32;

/// The correlation of sources with a kernel: the forward pass and the gradient of the input.
struct Correlation<'a> {
    /// Taps of every row of destinations.
    rows: Vec<Vec<Tap>>,
    /// Destinations of a row.
    bands: Vec<Band>,
    /// Elements of a row of the sources.
    source_row: usize,
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

/// Fills `to`.
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
        rows: (0..rows.len).map(|y| rows.taps(y)).collect(),
        bands: Band::all(&columns),
        source_row: sources.1 * channels,
        channels,
        kernel_width: g.kernel.1,
        weight,
        bias,
    };
    let (row, image) = (columns.len * channels, sources.0 * pass.source_row);
    for_each_chunk(to, row, Threads::for_work(g.multiply_adds()), |i, to| {
        let (n, y) = (i / pass.rows.len(), i % pass.rows.len());
        arch().dispatch(Row {
            pass: &pass,
            taps: &pass.rows[y],
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
        for band in &self.pass.bands {
            for tile in &band.tiles {
                // SAFETY: the sizes are those of the tile, whose destinations are in the row; its masks have the sources that are inside,
                // and `inside` says that all are; the slices have the lengths that `correlate` checked, and the channels fill a vector.
                unsafe {
                    match (tile.size, tile.inside) {
                        (8, true) => self.tile::<S, 8, 1, true>(simd, band, tile, to),
                        (8, false) => self.tile::<S, 8, 1, false>(simd, band, tile, to),
                        (4, true) => self.tile::<S, 4, 2, true>(simd, band, tile, to),
                        (4, false) => self.tile::<S, 4, 2, false>(simd, band, tile, to),
                        (2, _) => self.tile::<S, 2, 1, false>(simd, band, tile, to),
                        _ => self.tile::<S, 1, 1, false>(simd, band, tile, to),
                    }
                }
            }
        }
    }
}

impl Row<'_> {
    /// All channels of a tile of `N` destinations, as far as possible in `V` vectors at a time: eight sums hide the latency of the
    /// multiply-add. `INSIDE` if all sources are.
    #[inline(always)]
    unsafe fn tile<S: Simd, const N: usize, const V: usize, const INSIDE: bool>(
        &self,
        simd: S,
        band: &Band,
        tile: &Tile,
        to: *mut f32,
    ) {
        let (channels, lanes) = (self.pass.channels, S::F32_LANES);
        let mut channel = 0;
        // SAFETY: the vectors are inside the channels; the rest is promised by the caller. The last vector may compute channels again
        // that the one before it has: the same values.
        unsafe {
            if V > 1 {
                while channel + V * lanes <= channels {
                    self.sums::<S, N, V, INSIDE>(simd, band, tile, channel, to);
                    channel += V * lanes;
                }
            }
            while channel < channels {
                let at = channel.min(channels - lanes);
                self.sums::<S, N, 1, INSIDE>(simd, band, tile, at, to);
                channel = at + lanes;
            }
        }
    }

    /// `V` vectors of channels of a tile.
    #[inline(always)]
    unsafe fn sums<S: Simd, const N: usize, const V: usize, const INSIDE: bool>(
        &self,
        simd: S,
        band: &Band,
        tile: &Tile,
        channel: usize,
        to: *mut f32,
    ) {
        let pass = self.pass;
        let (channels, lanes) = (pass.channels, S::F32_LANES);
        let weight_step = band.kernel_step * channels;
        let tap_step = band.tap_step * channels as isize;
        let source_step = band.source_step * channels as isize;
        let first = tile.source * channels as isize + channel as isize;
        let mut sums = [[simd.splat_f32s(0.0); V]; N];
        // SAFETY: promised by the caller.
        unsafe {
            if let Some(bias) = pass.bias {
                for v in 0..V {
                    let bias = load::<S>(bias.as_ptr().add(channel + v * lanes));
                    for sums in &mut sums {
                        sums[v] = bias;
                    }
                }
            }
            for &(ky, row) in self.taps {
                let place = (ky * pass.kernel_width + band.kernel) * channels + channel;
                let mut weight = pass.weight.as_ptr().wrapping_add(place);
                // It points outside of the row where the first source is in the padding.
                let from = self.from.as_ptr().add(row * pass.source_row);
                let mut from = from.wrapping_offset(first);
                if !INSIDE {
                    for &mask in &tile.masks {
                        masked::<S, N, V>(simd, &mut sums, mask, weight, (from, source_step));
                        weight = weight.wrapping_add(weight_step);
                        from = from.wrapping_offset(tap_step);
                    }
                    continue;
                }
                let mut left = band.taps;
                macro_rules! take {
                    ($count:literal, $ratio:literal, $step:ident) => {
                        while left >= $count {
                            window::<S, N, V, $count, $ratio>(
                                simd,
                                &mut sums,
                                (weight, weight_step),
                                (from, $step),
                            );
                            weight = weight.wrapping_add($count * weight_step);
                            from = from.wrapping_offset($count * tap_step);
                            left -= $count;
                        }
                    };
                }
                if source_step == tap_step {
                    take!(3, 1, tap_step);
                    take!(2, 1, tap_step);
                } else if source_step == 2 * tap_step {
                    take!(3, 2, tap_step);
                }
                take!(1, 1, source_step);
            }
            for (t, sums) in sums.iter().enumerate() {
                let pixel = tile.first as isize + t as isize * band.step;
                let to = to.offset(pixel * channels as isize).add(channel);
                for v in 0..V {
                    store::<S>(to.add(v * lanes), sums[v]);
                }
            }
        }
    }
}

/// Adds `G` kernel positions to the sums of `N` destinations. The sources of neighbouring positions are `step` elements apart, those of
/// neighbouring destinations `RATIO` times that: what two of the products share is loaded once.
///
/// Three positions of eight destinations are 24 multiply-adds for 13 loads, or for 20 with a ratio of 2. A processor that does as many
/// of the one as of the other waits for the multiply-adds.
///
/// # Safety
/// The weights and the sources, from the first ones at `weight` and `from`, have `V` vectors each.
#[inline(always)]
unsafe fn window<S: Simd, const N: usize, const V: usize, const G: usize, const RATIO: usize>(
    simd: S,
    sums: &mut [[S::f32s; V]; N],
    (weight, weight_step): (*const f32, usize),
    (from, step): (*const f32, isize),
) {
    let lanes = S::F32_LANES;
    let mut weights = [[simd.splat_f32s(0.0); V]; G];
    // SAFETY: promised by the caller.
    unsafe {
        for i in 0..G {
            for v in 0..V {
                weights[i][v] = load::<S>(weight.add(i * weight_step + v * lanes));
            }
        }
        for v in 0..V {
            for t in 0..N {
                for i in 0..G {
                    // The compiler sees that these are fewer sources than products.
                    let from = from.offset((t * RATIO + i) as isize * step);
                    let x = load::<S>(from.add(v * lanes));
                    sums[t][v] = simd.mul_add_e_f32s(x, weights[i][v], sums[t][v]);
                }
            }
        }
    }
}

/// Adds a kernel position to the sums of those of `N` destinations that `mask` has. Their sources are `step` elements apart.
///
/// # Safety
/// The weights at `weight` and the sources of these destinations have `V` vectors.
#[inline(always)]
unsafe fn masked<S: Simd, const N: usize, const V: usize>(
    simd: S,
    sums: &mut [[S::f32s; V]; N],
    mask: u32,
    weight: *const f32,
    (from, step): (*const f32, isize),
) {
    let lanes = S::F32_LANES;
    let mut weights = [simd.splat_f32s(0.0); V];
    // SAFETY: promised by the caller.
    unsafe {
        for v in 0..V {
            weights[v] = load::<S>(weight.add(v * lanes));
        }
        for t in 0..N {
            if (mask >> t) & 1 == 1 {
                let from = from.wrapping_offset(t as isize * step);
                for v in 0..V {
                    let x = load::<S>(from.add(v * lanes));
                    sums[t][v] = simd.mul_add_e_f32s(x, weights[v], sums[t][v]);
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
    let rows: Vec<Vec<Tap>> = (0..rows.len).map(|y| rows.taps(y)).collect();
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
    /// Taps of every row of the output.
    rows: &'a [Vec<Tap>],
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
        let rows = self.rows;
        for (y, taps) in rows.iter().enumerate() {
            for &(ky, row) in taps {
                let mut channel = 0;
                // SAFETY: the channels are inside, and so are the taps of row and spans. The last vector may have channels that the one
                // before it had, which are skipped.
                unsafe {
                    while channel + VECTORS * lanes <= channels {
                        self.row::<S, VECTORS>(simd, y, (ky, row), channel, 0);
                        channel += VECTORS * lanes;
                    }
                    while channel < channels {
                        let at = channel.min(channels - lanes);
                        self.row::<S, 1>(simd, y, (ky, row), at, channel - at);
                        channel = at + lanes;
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
            // Up to seven, whose sums of two vectors fill sixteen registers together with the gradient of the output.
            run!(7);
            run!(6);
            run!(5);
            run!(4);
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
