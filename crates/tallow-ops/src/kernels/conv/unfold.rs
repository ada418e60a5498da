//! Convolution in `(N, H, W, C)` by unfolding a block of output pixels at a time while it stays in the second-level cache.
//!
//! The unfolded block is the left operand of a panel product with the packed filters; a 1x1 convolution with stride 1 needs no
//! unfolding, its input already is that matrix.

use pulp::{Simd, WithSimd};

use super::geometry::Geometry;
use super::passes::Epilogue;
use crate::kernels::panel::{self, Mat, PANEL};
use crate::kernels::parallel::{Threads, for_each_chunk};
use crate::kernels::scratch;
use crate::kernels::simd::arch;

/// A convolution without groups.
#[derive(Clone, Copy, Debug)]
struct Shape {
    n: usize,
    h: usize,
    w: usize,
    c: usize,
    k: usize,
    kernel: (usize, usize),
    stride: (usize, usize),
    padding: (usize, usize),
    dilation: (usize, usize),
    out: (usize, usize),
}

impl Shape {
    fn of(g: &Geometry) -> Self {
        let Geometry {
            kernel,
            stride,
            padding,
            dilation,
            ..
        } = *g;
        let out = (g.out_height, g.out_width);
        Self {
            n: g.batch,
            h: g.height,
            w: g.width,
            c: g.channels,
            k: g.out_channels,
            kernel,
            stride,
            padding,
            dilation,
            out,
        }
    }

    /// Length of an unfolded pixel: `kernel height x kernel width x channels`.
    fn depth(&self) -> usize {
        self.kernel.0 * self.kernel.1 * self.c
    }

    /// True if the input is its own unfolding and can be read in whole vectors.
    fn is_matrix(&self) -> bool {
        self.kernel == (1, 1) && self.stride == (1, 1) && self.padding == (0, 0)
    }

    /// Output pixels worked on at once.
    fn rows(&self) -> usize {
        (BLOCK / (4 * (self.depth() + self.k.next_multiple_of(PANEL)))).clamp(16, 512) / 8 * 8
    }

    /// Calls `each(tap row, tap column, first input pixel)` for the taps of output pixel `index` that lie inside the map.
    #[inline(always)]
    fn taps(&self, index: usize, mut each: impl FnMut(usize, usize)) {
        let (ho, wo) = self.out;
        let (map, rest) = (index / (ho * wo), index % (ho * wo));
        let y0 = (rest / wo * self.stride.0) as isize - self.padding.0 as isize;
        let x0 = (rest % wo * self.stride.1) as isize - self.padding.1 as isize;
        for p in 0..self.kernel.0 {
            let y = y0 + (p * self.dilation.0) as isize;
            if y < 0 || y as usize >= self.h {
                continue;
            }
            for q in 0..self.kernel.1 {
                let x = x0 + (q * self.dilation.1) as isize;
                if x < 0 || x as usize >= self.w {
                    continue;
                }
                each(
                    p * self.kernel.1 + q,
                    (map * self.h + y as usize) * self.w + x as usize,
                );
            }
        }
    }

    /// True if every tap of output pixel `index` is inside the map.
    fn whole(&self, index: usize) -> bool {
        let (ho, wo) = self.out;
        let rest = index % (ho * wo);
        let inside = |i: usize, k: usize, s: usize, p: usize, d: usize, n: usize| {
            i * s >= p && i * s + d * (k - 1) < n + p
        };
        inside(
            rest / wo,
            self.kernel.0,
            self.stride.0,
            self.padding.0,
            self.dilation.0,
            self.h,
        ) && inside(
            rest % wo,
            self.kernel.1,
            self.stride.1,
            self.padding.1,
            self.dilation.1,
            self.w,
        )
    }

    /// Unfolds output pixels `first..first + count` into rows of `stride` floats.
    fn unfold(&self, x: &[f32], first: usize, count: usize, stride: usize, rows: &mut [f32]) {
        let c = self.c;
        for (i, row) in rows.chunks_exact_mut(stride).take(count).enumerate() {
            let index = first + i;
            if self.whole(index) && self.dilation.1 == 1 {
                // A row of taps is one run of neighbouring pixels.
                let run = self.kernel.1 * c;
                let mut tap_row = 0;
                self.taps(index, |tap, pixel| {
                    if tap == tap_row * self.kernel.1 {
                        row[tap_row * run..][..run].copy_from_slice(&x[pixel * c..][..run]);
                        tap_row += 1;
                    }
                });
                continue;
            }
            row[..self.depth()].fill(0.0);
            self.taps(index, |tap, pixel| {
                row[tap * c..][..c].copy_from_slice(&x[pixel * c..][..c])
            });
        }
    }
}

/// Bytes of unfolded input and output a block may take.
const BLOCK: usize = 512 << 10;

/// `out = a b` or `out (+)= a^T b`.
struct Product {
    dims: (usize, usize, usize),
    a: Mat,
    b: Mat,
    out: Mat,
    /// `None`: `a b`; `Some(accumulate)`: `a^T b`.
    transposed: Option<bool>,
}

impl WithSimd for Product {
    type Output = ();

    #[inline(always)]
    fn with_simd<S: Simd>(self, simd: S) {
        let Self {
            dims,
            a,
            b,
            out,
            transposed,
        } = self;
        // SAFETY: whoever made the product promised that the matrices are that large.
        unsafe {
            match transposed {
                None => panel::nn(simd, dims, a, b, out),
                Some(accumulate) => panel::tn(simd, dims, a, b, out, accumulate),
            }
        }
    }
}

fn read(x: &[f32]) -> *mut f32 {
    x.as_ptr().cast_mut()
}

/// Packs filters `(K, C, KH, KW)` into panels, rows by `(tap, channel)`, columns by output channel.
fn pack(w: &[f32], s: &Shape, out: &mut [f32]) {
    let (depth, taps) = (s.depth(), s.kernel.0 * s.kernel.1);
    for_each_chunk(out, depth * PANEL, Threads::All, |panel, out| {
        for lane in 0..PANEL {
            let k = panel * PANEL + lane;
            for channel in 0..s.c {
                for tap in 0..taps {
                    let value = if k < s.k {
                        w[(k * s.c + channel) * taps + tap]
                    } else {
                        0.0
                    };
                    out[(tap * s.c + channel) * PANEL + lane] = value;
                }
            }
        }
    });
}

/// The same filters transposed: rows by output channel, columns by `(tap, channel)`.
fn pack_transposed(w: &[f32], s: &Shape, out: &mut [f32]) {
    let (depth, taps) = (s.depth(), s.kernel.0 * s.kernel.1);
    for_each_chunk(out, s.k * PANEL, Threads::All, |panel, out| {
        for k in 0..s.k {
            for lane in 0..PANEL {
                let at = panel * PANEL + lane;
                let value = if at < depth {
                    w[(k * s.c + at % s.c) * taps + at / s.c]
                } else {
                    0.0
                };
                out[k * PANEL + lane] = value;
            }
        }
    });
}

/// `y = conv(x, w)`, then the epilogue: `x` `(N, H, W, C)`, `w` `(K, C, KH, KW)`, `y` `(N, H', W', K)`.
pub(super) fn forward(g: &Geometry, x: &[f32], w: &[f32], epilogue: Epilogue, y: &mut [f32]) {
    let s = Shape::of(g);
    let (depth, rows) = (s.depth(), s.rows());
    let mut packed = scratch::take::<f32>(panel::len(depth, s.k));
    let used = panel::len(depth, s.k);
    pack(w, &s, &mut packed[..used]);
    let b = Mat::panels(packed.as_mut_ptr(), depth);
    let cols = s.k.next_multiple_of(PANEL);
    for_each_chunk(y, rows * s.k, Threads::All, |block, y| {
        let (first, count) = (block * rows, y.len() / s.k);
        let mut unfolded = scratch::take::<f32>(if s.is_matrix() { 0 } else { rows * depth });
        let a = if s.is_matrix() {
            Mat::rows(read(&x[first * depth..]), depth)
        } else {
            s.unfold(x, first, count, depth, &mut unfolded);
            Mat::rows(unfolded.as_mut_ptr(), depth)
        };
        if cols == s.k {
            arch().dispatch(Product {
                dims: (count, s.k, depth),
                a,
                b,
                out: Mat::rows(y.as_mut_ptr(), s.k),
                transposed: None,
            });
        } else {
            let mut out = scratch::take::<f32>(rows * cols);
            arch().dispatch(Product {
                dims: (count, s.k, depth),
                a,
                b,
                out: Mat::rows(out.as_mut_ptr(), cols),
                transposed: None,
            });
            for (y, out) in y.chunks_exact_mut(s.k).zip(out.chunks_exact(cols)) {
                y.copy_from_slice(&out[..s.k]);
            }
        }
        let addend = epilogue.addend.map(|v| &v[first * s.k..][..y.len()]);
        let Epilogue {
            scale, bias, relu, ..
        } = epilogue;
        arch().dispatch(
            #[inline(always)]
            || finish(y, s.k, scale, bias, addend, relu),
        );
    });
}

/// The epilogue over pixels of `k` channels.
#[inline(always)]
fn finish(
    y: &mut [f32],
    k: usize,
    scale: Option<&[f32]>,
    bias: Option<&[f32]>,
    addend: Option<&[f32]>,
    relu: bool,
) {
    if let Some(scale) = scale {
        for y in y.chunks_exact_mut(k) {
            y.iter_mut().zip(scale).for_each(|(y, s)| *y *= s);
        }
    }
    if let Some(bias) = bias {
        for y in y.chunks_exact_mut(k) {
            y.iter_mut().zip(bias).for_each(|(y, b)| *y += b);
        }
    }
    if let Some(addend) = addend {
        y.iter_mut().zip(addend).for_each(|(y, a)| *y += a);
    }
    if relu {
        y.iter_mut()
            .for_each(|y| *y = if *y <= 0.0 { 0.0 } else { *y });
    }
}

/// Gradient of the input: `dy` `(N, H', W', K)`, `dx` `(N, H, W, C)`.
pub(super) fn input_grad(g: &Geometry, w: &[f32], dy: &[f32], dx: &mut [f32]) {
    let s = Shape::of(g);
    let (ho, wo) = s.out;
    let (depth, rows, pixels) = (s.depth(), s.rows(), ho * wo);
    let cols = depth.next_multiple_of(PANEL);
    let used = panel::len(s.k, depth);
    let mut packed = scratch::take::<f32>(used);
    pack_transposed(w, &s, &mut packed[..used]);
    let b = Mat::panels(packed.as_mut_ptr(), s.k);
    // One image a task: the taps of neighbouring pixels overlap, those of different images do not.
    for_each_chunk(dx, s.h * s.w * s.c, Threads::All, |image, dx| {
        dx.fill(0.0);
        let mut unfolded = scratch::take::<f32>(rows * cols);
        for first in (0..pixels).step_by(rows) {
            let count = rows.min(pixels - first);
            let a = Mat::rows(read(&dy[(image * pixels + first) * s.k..]), s.k);
            let out = Mat::rows(unfolded.as_mut_ptr(), cols);
            arch().dispatch(Product {
                dims: (count, depth, s.k),
                a,
                b,
                out,
                transposed: None,
            });
            for (i, row) in unfolded.chunks_exact(cols).take(count).enumerate() {
                s.taps(first + i, |tap, pixel| {
                    let to = &mut dx[pixel * s.c..][..s.c];
                    to.iter_mut()
                        .zip(&row[tap * s.c..])
                        .for_each(|(a, b)| *a += b);
                });
            }
        }
    });
}

/// Gradient of the filters: `x` `(N, H, W, C)`, `dy` `(N, H', W', K)`, `dw` `(K, C, KH, KW)`.
///
/// The result depends on the number of threads in its last bits, never on their timing.
pub(super) fn weight_grad(g: &Geometry, x: &[f32], dy: &[f32], dw: &mut [f32]) {
    let s = Shape::of(g);
    let (ho, wo) = s.out;
    let (depth, rows, pixels) = (s.depth(), s.rows(), s.n * ho * wo);
    let size = panel::len(depth, s.k);
    let cols = s.k.next_multiple_of(PANEL);
    let threads = rayon::current_num_threads();
    let per = pixels.div_ceil(threads);
    let mut sums = scratch::take::<f32>(size * threads);
    for_each_chunk(
        &mut sums[..size * threads],
        size,
        Threads::All,
        |thread, sum| {
            let range = (thread * per).min(pixels)..pixels.min((thread + 1) * per);
            if range.is_empty() {
                sum.fill(0.0);
            }
            let mut unfolded = scratch::take::<f32>(if s.is_matrix() { 0 } else { rows * depth });
            let mut padded = scratch::take::<f32>(if cols == s.k { 0 } else { rows * cols });
            for first in range.clone().step_by(rows) {
                let count = rows.min(range.end - first);
                let a = if s.is_matrix() {
                    Mat::rows(read(&x[first * depth..]), depth)
                } else {
                    s.unfold(x, first, count, depth, &mut unfolded);
                    Mat::rows(unfolded.as_mut_ptr(), depth)
                };
                let dy = &dy[first * s.k..][..count * s.k];
                let b = if cols == s.k {
                    Mat::rows(read(dy), s.k)
                } else {
                    for (to, from) in padded.chunks_exact_mut(cols).zip(dy.chunks_exact(s.k)) {
                        to[..s.k].copy_from_slice(from);
                        to[s.k..].fill(0.0);
                    }
                    Mat::rows(padded.as_mut_ptr(), cols)
                };
                let out = Mat::panels(sum.as_mut_ptr(), depth);
                let accumulate = Some(first > range.start);
                arch().dispatch(Product {
                    dims: (depth, s.k, count),
                    a,
                    b,
                    out,
                    transposed: accumulate,
                });
            }
        },
    );
    let (sum, rest) = sums[..size * threads].split_at_mut(size);
    for other in rest.chunks(size) {
        sum.iter_mut().zip(other).for_each(|(a, b)| *a += b);
    }
    let taps = s.kernel.0 * s.kernel.1;
    for (k, dw) in dw.chunks_exact_mut(depth).enumerate() {
        let panel = &sum[k / PANEL * depth * PANEL + k % PANEL..];
        for channel in 0..s.c {
            for tap in 0..taps {
                dw[channel * taps + tap] = panel[(tap * s.c + channel) * PANEL];
            }
        }
    }
}
