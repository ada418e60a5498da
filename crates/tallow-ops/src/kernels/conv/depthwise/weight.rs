//! Gradient of the weight of a depthwise convolution in NHWC on vectors of channels: the sums of some kernel positions stay in registers
//! over a row of the output.

use pulp::{Simd, WithSimd};

use super::blocks;
use super::pixels::PIECE;
use crate::kernels::conv::Geometry;
use crate::kernels::panel::{PANEL, load, store};
use crate::kernels::parallel::{Threads, for_each_chunk};
use crate::kernels::scratch;
use crate::kernels::simd::arch;

/// Parts of the batch whose weight gradients are summed by themselves, at most. Their number depends on the batch alone, so the bits do
/// not depend on the number of threads.
const PARTS: usize = 32;

/// Gradient of the weight, `(channel, tap)`, and of the bias, if there is one.
pub(super) fn grad_weight(
    g: &Geometry,
    x: &[f32],
    dy: &[f32],
    dw: &mut [f32],
    db: Option<&mut [f32]>,
) {
    assert_eq!(x.len(), g.batch * g.image());
    assert_eq!(dy.len(), g.batch * g.out_image());
    let images = g.batch.div_ceil(PARTS).max(1);
    let parts = g.batch.div_ceil(images).max(1);
    let bands = Bands::new(g);
    // The bias is one more kernel position, which sees ones.
    let taps = g.taps() + 1;
    let len = blocks::len(taps, g.channels);
    let mut partial = scratch::zeroed::<f32>(parts * len);
    let threads = Threads::for_work(g.multiply_adds());
    for_each_chunk(&mut partial, len, threads, |part, dw| {
        // The columns of the padding stay zero.
        let mut x_blocks = scratch::zeroed::<f32>(blocks::len(bands.x_pixels(), g.channels));
        let mut dy_blocks = scratch::take::<f32>(blocks::len(bands.dy_pixels(), g.channels));
        for n in part * images..((part + 1) * images).min(g.batch) {
            for first in (0..g.out_height).step_by(bands.rows) {
                arch().dispatch(Band {
                    bands: &bands,
                    first,
                    x: &x[n * g.image()..][..g.image()],
                    dy: &dy[n * g.out_image()..][..g.out_image()],
                    x_blocks: &mut x_blocks,
                    dy_blocks: &mut dy_blocks,
                    dw,
                });
            }
        }
    });
    let mut sums = vec![0f64; len];
    for part in partial.chunks_exact(len) {
        let pairs = sums.iter_mut().zip(part);
        pairs.for_each(|(sum, &part)| *sum += f64::from(part));
    }
    // Blocks of channels, the positions of each one after the other.
    let sum = |channel: usize, tap: usize| {
        let position = channel / PANEL * taps + tap;
        sums[position * PANEL + channel % PANEL] as f32
    };
    for (channel, dw) in dw.chunks_exact_mut(g.taps()).enumerate() {
        for (tap, dw) in dw.iter_mut().enumerate() {
            *dw = sum(channel, tap);
        }
    }
    for (channel, db) in db.into_iter().flatten().enumerate() {
        *db = sum(channel, g.taps());
    }
}

/// Rows of the output that are done together, and the padded rows of the input that they see.
struct Bands<'a> {
    g: &'a Geometry,
    rows: usize,
    x_rows: usize,
    /// Columns of the input with the padding.
    x_width: usize,
}

impl<'a> Bands<'a> {
    fn new(g: &'a Geometry) -> Self {
        let row = g.width * g.channels * g.stride.0 * size_of::<f32>();
        let rows = (PIECE / row.max(1)).clamp(1, g.out_height.max(1));
        Self {
            g,
            rows,
            x_rows: (rows - 1) * g.stride.0 + (g.kernel.0 - 1) * g.dilation.0 + 1,
            x_width: g.width + 2 * g.padding.1,
        }
    }

    fn x_pixels(&self) -> usize {
        self.x_rows * self.x_width
    }

    fn dy_pixels(&self) -> usize {
        self.rows * self.g.out_width
    }
}

/// Weight gradient of some rows of the output of one image, added to `dw` in blocks.
///
/// The padding takes part as zeros: no sum has a border of its own.
struct Band<'a> {
    bands: &'a Bands<'a>,
    /// First row.
    first: usize,
    x: &'a [f32],
    dy: &'a [f32],
    x_blocks: &'a mut [f32],
    dy_blocks: &'a mut [f32],
    dw: &'a mut [f32],
}

impl WithSimd for Band<'_> {
    type Output = ();

    #[inline(always)]
    fn with_simd<S: Simd>(mut self, simd: S) {
        let (bands, g) = (self.bands, self.bands.g);
        let rows = bands.rows.min(g.out_height - self.first);
        self.pack(rows);
        let (x_pixels, dy_pixels) = (bands.x_pixels(), bands.dy_pixels());
        for block in 0..blocks::count(g.channels) {
            let x = &self.x_blocks[block * x_pixels * PANEL..][..x_pixels * PANEL];
            let dy = &self.dy_blocks[block * dy_pixels * PANEL..][..dy_pixels * PANEL];
            let len = (g.taps() + 1) * PANEL;
            let dw = &mut self.dw[block * len..][..len];
            for y in 0..rows {
                for channel in (0..PANEL).step_by(S::F32_LANES) {
                    let row = Row {
                        bands,
                        x: x[y * g.stride.0 * bands.x_width * PANEL..][channel..].as_ptr(),
                        dy: dy[y * g.out_width * PANEL..][channel..].as_ptr(),
                        dw: dw[channel..].as_mut_ptr(),
                    };
                    // SAFETY: a block has whole vectors of 4, 8 or 16 channels, and the buffers have the padded rows of the band.
                    unsafe { row.run(simd) };
                }
            }
        }
    }
}

impl Band<'_> {
    /// Copies so many rows of the output, and the rows of the input that they see, to the blocks.
    #[inline(always)]
    fn pack(&mut self, rows: usize) {
        let (bands, g) = (self.bands, self.bands.g);
        let (pixels, width) = (bands.x_pixels(), bands.x_width);
        for row in 0..bands.x_rows {
            let source = (self.first * g.stride.0 + row).checked_sub(g.padding.0);
            if let Some(source) = source.filter(|&source| source < g.height) {
                let from = &self.x[source * g.width * g.channels..][..g.width * g.channels];
                let place = (pixels, row * width + g.padding.1);
                blocks::pack(from, g.channels, self.x_blocks, place);
            } else {
                for block in self.x_blocks.chunks_exact_mut(pixels * PANEL) {
                    block[row * width * PANEL..][..width * PANEL].fill(0.0);
                }
            }
        }
        let row = g.out_width * g.channels;
        let dy = &self.dy[self.first * row..][..rows * row];
        blocks::pack(dy, g.channels, self.dy_blocks, (bands.dy_pixels(), 0));
    }
}

/// A row of the output, one vector of channels.
struct Row<'a> {
    bands: &'a Bands<'a>,
    /// The padded row that the first row of the kernel sees.
    x: *const f32,
    dy: *const f32,
    dw: *mut f32,
}

impl Row<'_> {
    /// All kernel positions, in groups of which the sums and the pixels fit into sixteen registers. Fewer than eight sums would wait for
    /// each other.
    ///
    /// # Safety
    /// All sources are there.
    #[inline(always)]
    unsafe fn run<S: Simd>(&self, simd: S) {
        let (height, width) = self.bands.g.kernel;
        // SAFETY: promised by the caller.
        unsafe {
            self.bias(simd);
            match width {
                7 => {
                    for ky in (0..height / 2 * 2).step_by(2) {
                        self.group::<S, 2, 7, 1>(simd, ky, 0);
                    }
                    if height % 2 == 1 {
                        self.group::<S, 1, 7, 4>(simd, height - 1, 0);
                    }
                }
                5 => {
                    for ky in (0..height / 2 * 2).step_by(2) {
                        self.group::<S, 2, 5, 4>(simd, ky, 0);
                    }
                    if height % 2 == 1 {
                        self.group::<S, 1, 5, 4>(simd, height - 1, 0);
                    }
                }
                _ => {
                    let (rows, columns) = (height / 3 * 3, width / 3 * 3);
                    for ky in (0..rows).step_by(3) {
                        for kx in (0..columns).step_by(3) {
                            self.group::<S, 3, 3, 4>(simd, ky, kx);
                        }
                        for kx in columns..width {
                            self.group::<S, 3, 1, 4>(simd, ky, kx);
                        }
                    }
                    for ky in rows..height {
                        for kx in (0..columns).step_by(3) {
                            self.group::<S, 1, 3, 4>(simd, ky, kx);
                        }
                        for kx in columns..width {
                            self.group::<S, 1, 1, 4>(simd, ky, kx);
                        }
                    }
                }
            }
        }
    }

    /// The bias.
    #[inline(always)]
    unsafe fn bias<S: Simd>(&self, simd: S) {
        let (mut even, mut odd) = (simd.splat_f32s(0.0), simd.splat_f32s(0.0));
        let width = self.bands.g.out_width;
        // SAFETY: promised by the caller.
        unsafe {
            for at in (0..width / 2 * 2).step_by(2) {
                let dy = self.dy.add(at * PANEL);
                even = simd.add_f32s(even, load::<S>(dy));
                odd = simd.add_f32s(odd, load::<S>(dy.add(PANEL)));
            }
            if width % 2 == 1 {
                even = simd.add_f32s(even, load::<S>(self.dy.add((width - 1) * PANEL)));
            }
            let db = self.dw.add(self.bands.g.taps() * PANEL);
            let sum = simd.add_f32s(even, odd);
            store::<S>(db, simd.add_f32s(load::<S>(db), sum));
        }
    }

    /// `R` rows and `K` columns of the kernel, `N` pixels of the output at a time if their sources are evenly spaced.
    #[inline(always)]
    unsafe fn group<S: Simd, const R: usize, const K: usize, const N: usize>(
        &self,
        simd: S,
        ky: usize,
        kx: usize,
    ) {
        let g = self.bands.g;
        let (stride, dilation) = (g.stride.1, g.dilation.1);
        let mut sums = [[simd.splat_f32s(0.0); K]; R];
        // SAFETY: promised by the caller.
        unsafe {
            let mut x = [self.x; R];
            for (i, x) in x.iter_mut().enumerate() {
                let row = (ky + i) * g.dilation.0 * self.bands.x_width;
                *x = x.add((row + kx * dilation) * PANEL);
            }
            let (mut dy, mut left) = (self.dy, g.out_width);
            macro_rules! pixels {
                ($count:expr, $stride:expr, $dilation:expr) => {
                    while left >= $count {
                        pixels::<S, R, K, { $count }>(simd, &mut sums, (dy, x), $stride, $dilation);
                        dy = dy.add($count * PANEL);
                        for x in &mut x {
                            *x = x.add($count * $stride * PANEL);
                        }
                        left -= $count;
                    }
                };
            }
            // The compiler knows the addresses of these.
            match (stride, dilation) {
                (1, 1) => pixels!(N, 1, 1),
                (2, 1) => pixels!(N, 2, 1),
                _ => {}
            }
            pixels!(1, stride, dilation);
            for (i, sums) in sums.iter().enumerate() {
                for (k, &sum) in sums.iter().enumerate() {
                    let dw = self.dw.add(((ky + i) * g.kernel.1 + kx + k) * PANEL);
                    store::<S>(dw, simd.add_f32s(load::<S>(dw), sum));
                }
            }
        }
    }
}

/// Adds what `N` neighbouring pixels of the output give to the sums of `R` rows and `K` columns of the kernel. `x` is where the first
/// one's source begins in the rows of the input. With a dilation of 1 sources that pixels share are loaded once: 36 multiply-adds of four
/// pixels and nine kernel positions take 22 loads, or 31 with a stride of 2.
///
/// # Safety
/// The pixels and their sources have a vector each.
#[inline(always)]
unsafe fn pixels<S: Simd, const R: usize, const K: usize, const N: usize>(
    simd: S,
    sums: &mut [[S::f32s; K]; R],
    (dy, x): (*const f32, [*const f32; R]),
    stride: usize,
    dilation: usize,
) {
    // SAFETY: promised by the caller.
    unsafe {
        if N == 1 {
            let upper = load::<S>(dy);
            for i in 0..R {
                for k in 0..K {
                    let x = load::<S>(x[i].add(k * dilation * PANEL));
                    sums[i][k] = simd.mul_add_e_f32s(x, upper, sums[i][k]);
                }
            }
            return;
        }
        let mut upper = [simd.splat_f32s(0.0); N];
        for t in 0..N {
            upper[t] = load::<S>(dy.add(t * PANEL));
        }
        // Source by source and the rows in turn, whose sums do not wait for each other. The loop is written out: the compiler would unroll it
        // after it has given up to keep the sums in registers.
        macro_rules! sources {
            ($($s:literal)*) => {
                $(if $s < (N - 1) * stride + K {
                    for i in 0..R {
                        let x = load::<S>(x[i].add($s * PANEL));
                        for k in 0..K {
                            if $s >= k && ($s - k) % stride == 0 && ($s - k) / stride < N {
                                let upper = upper[($s - k) / stride];
                                sums[i][k] = simd.mul_add_e_f32s(x, upper, sums[i][k]);
                            }
                        }
                    }
                })*
            };
        }
        sources!(0 1 2 3 4 5 6 7 8 9 10 11 12);
    }
}
