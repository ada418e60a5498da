//! Depthwise convolution in NHWC on vectors of channels: the sums of a few pixels stay in registers over all kernel positions.

use std::ops::Range;

use pulp::{Simd, WithSimd};

use super::axis::{Axis, Tap};
use super::blocks;
use super::tiles::{Band, Tile};
use crate::kernels::conv::Geometry;
use crate::kernels::panel::{PANEL, load, store};
use crate::kernels::parallel::{Threads, for_each_chunk};
use crate::kernels::scratch;
use crate::kernels::simd::arch;

/// From a pixel of a block to the next one.
const NEXT: isize = PANEL as isize;
/// Bytes of the sources of a piece of work, about: they stay in the second-level cache.
pub(super) const PIECE: usize = 1 << 18;

/// The correlation of sources with a kernel: the forward pass and the gradient of the input.
struct Correlation {
    /// Taps of every row of destinations.
    rows: Vec<Vec<Tap>>,
    /// Destinations of a row.
    bands: Vec<Band>,
    /// Rows and columns of the sources.
    sources: (usize, usize),
    /// Columns of the destinations.
    width: usize,
    channels: usize,
    kernel: (usize, usize),
    /// In blocks.
    weight: Vec<f32>,
    /// Of whole blocks.
    bias: Vec<f32>,
}

/// `y = x * w + bias`.
pub(super) fn forward(g: &Geometry, x: &[f32], w: &[f32], bias: Option<&[f32]>, y: &mut [f32]) {
    let [rows, columns] = Axis::forward(g);
    correlate(g, [rows, columns], (g.height, g.width), x, w, bias, y);
}

/// Gradient of the input.
pub(super) fn grad_input(g: &Geometry, w: &[f32], dy: &[f32], dx: &mut [f32]) {
    let [rows, columns] = Axis::gradient(g);
    let sources = (g.out_height, g.out_width);
    correlate(g, [rows, columns], sources, dy, w, None, dx);
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
    let image = sources.0 * sources.1 * channels;
    assert_eq!(from.len(), g.batch * image);
    assert_eq!(to.len(), g.batch * rows.len * columns.len * channels);
    assert_eq!(weight.len(), g.taps() * channels);
    assert!(bias.is_none_or(|bias| bias.len() == channels));
    let pass = Correlation {
        rows: (0..rows.len).map(|y| rows.taps(y)).collect(),
        bands: Band::all(&columns),
        sources,
        width: columns.len,
        channels,
        kernel: g.kernel,
        weight: blocks::kernel(weight, g.taps()),
        bias: match bias {
            Some(bias) => blocks::kernel(bias, 1),
            None => vec![0.0; blocks::len(1, channels)],
        },
    };
    // Rows of a piece divide those of an image, so that pieces have one length.
    let bytes = (image / rows.len).max(1) * size_of::<f32>();
    let most = (PIECE / bytes).max(1);
    let piece = (1..=most.min(rows.len))
        .rev()
        .find(|&piece| rows.len % piece == 0);
    let piece = piece.unwrap_or(1);
    let threads = Threads::for_work(g.multiply_adds());
    for_each_chunk(to, piece * columns.len * channels, threads, |i, to| {
        let first = i * piece;
        let (n, y) = (first / rows.len, first % rows.len);
        let taps = &pass.rows[y..][..piece];
        // Rows of the sources that the piece sees.
        let seen = || taps.iter().flatten().map(|tap| tap.1);
        let (start, end) = match (seen().min(), seen().max()) {
            (Some(first), Some(last)) => (first, last + 1),
            _ => (0, 0),
        };
        let row = sources.1 * channels;
        let mut packed = scratch::take(blocks::len((end - start) * sources.1, channels));
        arch().dispatch(Piece {
            pass: &pass,
            taps,
            from: &from[n * image..][start * row..end * row],
            start,
            packed: &mut packed,
            to,
        });
    });
}

/// Some rows of destinations of an image.
struct Piece<'a> {
    pass: &'a Correlation,
    taps: &'a [Vec<Tap>],
    /// Rows of the sources from `start` on, and room for them in blocks.
    from: &'a [f32],
    start: usize,
    packed: &'a mut [f32],
    to: &'a mut [f32],
}

impl WithSimd for Piece<'_> {
    type Output = ();

    #[inline(always)]
    fn with_simd<S: Simd>(self, simd: S) {
        let pass = self.pass;
        let (taps, row) = (pass.kernel.0 * pass.kernel.1, pass.width * pass.channels);
        let pixels = self.from.len() / pass.channels;
        blocks::pack(self.from, pass.channels, self.packed, (pixels, 0));
        for (taps_of_row, to) in self.taps.iter().zip(self.to.chunks_exact_mut(row)) {
            // All channels of a row, whose destinations are neighbours in memory.
            for block in 0..blocks::count(pass.channels) {
                let channel = block * PANEL;
                let row = Row {
                    pass,
                    taps: taps_of_row,
                    from: &self.packed[block * pixels * PANEL..][..pixels * PANEL],
                    start: self.start,
                    weight: &pass.weight[block * taps * PANEL..][..taps * PANEL],
                    bias: &pass.bias[channel..][..PANEL],
                    to: &mut to[channel..],
                    channels: PANEL.min(pass.channels - channel),
                };
                row.run(simd);
            }
        }
    }
}

/// One row of destinations, one block of channels.
struct Row<'a> {
    pass: &'a Correlation,
    taps: &'a [Tap],
    from: &'a [f32],
    start: usize,
    weight: &'a [f32],
    bias: &'a [f32],
    /// The row from the first channel on.
    to: &'a mut [f32],
    channels: usize,
}

impl Row<'_> {
    #[inline(always)]
    fn run<S: Simd>(mut self, simd: S) {
        for band in &self.pass.bands {
            for tile in &band.tiles {
                // SAFETY: the sizes are those of the tile, whose destinations are in the row; its groups have the sources that are inside;
                // the slices have the lengths that `correlate` checked, and a block has whole vectors.
                unsafe {
                    match tile.size {
                        8 => self.tile::<S, 8, 1>(simd, band, tile),
                        4 => self.tile::<S, 4, 2>(simd, band, tile),
                        2 => self.tile::<S, 2, 2>(simd, band, tile),
                        _ => self.tile::<S, 1, 2>(simd, band, tile),
                    }
                }
            }
        }
    }

    /// All channels of a tile of `N` destinations, if possible in `V` vectors at a time: eight sums hide the latency of the multiply-add.
    #[inline(always)]
    unsafe fn tile<S: Simd, const N: usize, const V: usize>(
        &mut self,
        simd: S,
        band: &Band,
        tile: &Tile,
    ) {
        let lanes = S::F32_LANES;
        // SAFETY: promised by the caller; sixteen channels are whole vectors of 4, 8 or 16.
        unsafe {
            if V * lanes <= PANEL {
                for channel in (0..PANEL).step_by(V * lanes) {
                    self.sums::<S, N, V>(simd, band, tile, channel);
                }
            } else {
                for channel in (0..PANEL).step_by(lanes) {
                    self.sums::<S, N, 1>(simd, band, tile, channel);
                }
            }
        }
    }

    /// `V` vectors of channels of a tile.
    #[inline(always)]
    unsafe fn sums<S: Simd, const N: usize, const V: usize>(
        &mut self,
        simd: S,
        band: &Band,
        tile: &Tile,
        channel: usize,
    ) {
        let (pass, lanes) = (self.pass, S::F32_LANES);
        let weight_step = band.kernel_step * PANEL;
        let tap_step = band.tap_step * PANEL as isize;
        let source_step = band.source_step * PANEL as isize;
        let first = tile.source * PANEL as isize + channel as isize;
        let mut sums = [[simd.splat_f32s(0.0); V]; N];
        // SAFETY: promised by the caller.
        unsafe {
            for v in 0..V {
                let bias = load::<S>(self.bias.as_ptr().add(channel + v * lanes));
                for sums in &mut sums {
                    sums[v] = bias;
                }
            }
            for &(ky, row) in self.taps {
                let place = (ky * pass.kernel.1 + band.kernel) * PANEL + channel;
                let weight = self.weight.as_ptr().wrapping_add(place);
                // It points outside of the row where the first source is in the padding.
                let row = (row - self.start) * pass.sources.1 * PANEL;
                let from = self.from.as_ptr().add(row).wrapping_offset(first);
                for group in &tile.groups {
                    let weight = weight.wrapping_add(group.tap * weight_step);
                    let from = from.wrapping_offset(group.tap as isize * tap_step);
                    macro_rules! window {
                        ($taps:literal, $ratio:literal, $step:expr) => {
                            window::<S, N, V, $taps, $ratio>(
                                simd,
                                &mut sums,
                                (weight, weight_step),
                                (from, $step),
                                &group.inside,
                            )
                        };
                    }
                    // The compiler knows the addresses of the first two.
                    match (group.taps, band.ratio) {
                        (3, Some(1)) if band.tap_step == 1 => window!(3, 1, NEXT),
                        (3, Some(1)) if band.tap_step == -1 => window!(3, 1, -NEXT),
                        (3, Some(1)) => window!(3, 1, tap_step),
                        (3, _) => window!(3, 2, tap_step),
                        (2, _) => window!(2, 1, tap_step),
                        _ => window!(1, 1, source_step),
                    }
                }
            }
            let mut at = tile.first as isize * pass.channels as isize + channel as isize;
            for sums in &sums {
                for v in 0..V {
                    let to = self.to.as_mut_ptr().offset(at).add(v * lanes);
                    let channels = self.channels.saturating_sub(channel + v * lanes);
                    if channels >= lanes {
                        store::<S>(to, sums[v]);
                    } else {
                        let mut values = [0.0; PANEL];
                        store::<S>(values.as_mut_ptr(), sums[v]);
                        to.copy_from_nonoverlapping(values.as_ptr(), channels);
                    }
                }
                at += band.step * pass.channels as isize;
            }
        }
    }
}

/// Adds `G` kernel positions to the sums of `N` destinations. Their sources, neighbours of which are `step` elements apart, are read one
/// after the other; those of neighbouring destinations are `RATIO` of them apart. Those that are not `inside` are left out.
///
/// Three positions of eight destinations are 24 multiply-adds for 13 loads, or for 20 with a ratio of 2. One address goes from source to
/// source: as many addresses as sources would not fit into the registers.
///
/// # Safety
/// The weights at `weight`, `weight_step` elements apart, and the sources that are inside have `V` vectors each.
#[inline(always)]
unsafe fn window<S: Simd, const N: usize, const V: usize, const G: usize, const RATIO: usize>(
    simd: S,
    sums: &mut [[S::f32s; V]; N],
    (weight, weight_step): (*const f32, usize),
    (from, step): (*const f32, isize),
    inside: &Range<usize>,
) {
    let lanes = S::F32_LANES;
    let count = (N - 1) * RATIO + G;
    const { assert!((N - 1) * RATIO + G <= 17) };
    let mut weights = [[simd.splat_f32s(0.0); V]; G];
    let mut weight = weight;
    // SAFETY: promised by the caller.
    unsafe {
        for weights in &mut weights {
            for v in 0..V {
                weights[v] = load::<S>(weight.add(v * lanes));
            }
            weight = weight.wrapping_add(weight_step);
        }
    }
    let mut from = from;
    // The loop is written out: the compiler would unroll it after it has given up to keep the sums in registers.
    macro_rules! sources {
        ($is_inside:expr; $($s:literal)*) => {
            $(if $s < count {
                if $is_inside($s) {
                    for v in 0..V {
                        // SAFETY: promised by the caller.
                        let x = unsafe { load::<S>(from.add(v * lanes)) };
                        for i in 0..G {
                            // The compiler knows which destinations see the source.
                            if $s >= i && ($s - i) % RATIO == 0 && ($s - i) / RATIO < N {
                                let sum = &mut sums[($s - i) / RATIO][v];
                                *sum = simd.mul_add_e_f32s(x, weights[i][v], *sum);
                            }
                        }
                    }
                }
                from = from.wrapping_offset(step);
            })*
        };
        ($is_inside:expr) => {
            sources!($is_inside; 0 1 2 3 4 5 6 7 8 9 10 11 12 13 14 15 16)
        };
    }
    // All, and all but one at an end of a row padded by one, are told apart here and not at each source.
    match (inside.start, inside.end) {
        (0, end) if end == count => {
            sources!(|_| true);
        }
        (1, end) if end == count => {
            sources!(|s: usize| s != 0);
        }
        (0, end) if end + 1 == count => {
            sources!(|s: usize| s + 1 != count);
        }
        _ => {
            sources!(|s: usize| inside.contains(&s));
        }
    }
}
