//! Convolution with 3x3 filters and stride 1 in `(N, H, W, C)` by Winograd's minimal filtering, all three passes.

mod step;
mod tile;
mod transform;

use rayon::prelude::*;

use super::{Epilogue, Geometry};
use crate::kernels::panel::{self, Mat, PANEL};
use crate::kernels::scratch;
use step::{Step, run};
use tile::{F2, F4, Tile};
use transform::{Maps, Planes};

/// Whether this convolution is one of those, with enough channels to fill vectors.
pub(super) fn suits(g: &Geometry) -> bool {
    let Geometry {
        kernel,
        stride,
        dilation,
        groups,
        padding: (p, q),
        ..
    } = *g;
    (kernel, stride, dilation, groups) == ((3, 3), (1, 1), (1, 1), 1)
        && p == q
        && p <= 2
        && g.channels.min(g.out_channels) >= 8
        && g.channels.max(g.out_channels) <= transform::MOST_CHANNELS
}

/// Sizes of a 3x3, stride 1 convolution.
#[derive(Clone, Copy, Debug)]
struct Shape {
    n: usize,
    h: usize,
    w: usize,
    /// Input channels.
    c: usize,
    /// Output channels.
    k: usize,
    /// 0, 1 or 2.
    pad: usize,
}

impl Shape {
    fn of(g: &Geometry) -> Self {
        Self {
            n: g.batch,
            h: g.height,
            w: g.width,
            c: g.channels,
            k: g.out_channels,
            pad: g.padding.0,
        }
    }

    fn out(&self) -> (usize, usize) {
        (self.h + 2 * self.pad - 2, self.w + 2 * self.pad - 2)
    }

    fn tiles(&self, m: usize) -> (usize, usize) {
        let (ho, wo) = self.out();
        (ho.div_ceil(m), wo.div_ceil(m))
    }

    /// Whether 2x2 tiles cost fewer multiplications than 4x4 ones.
    fn small(&self) -> bool {
        let cost = |m: usize, t: usize| {
            let (th, tw) = self.tiles(m);
            th * tw * t * t
        };
        cost(2, 4) < cost(4, 6)
    }

    fn input(&self, m: usize) -> Maps {
        let (th, tw) = self.tiles(m);
        Maps {
            h: self.h,
            w: self.w,
            c: self.c,
            th,
            tw,
            step: m,
            pad: self.pad,
        }
    }

    fn output(&self, m: usize) -> Maps {
        let ((th, tw), (h, w)) = (self.tiles(m), self.out());
        Maps {
            h,
            w,
            c: self.k,
            th,
            tw,
            step: m,
            pad: 0,
        }
    }
}

/// Frequency planes are kept a few lines apart from powers of two, or all would share one set of the first-level cache.
const SKEW: usize = 5 * PANEL;

/// Bytes of transformed weights up to which a block of tiles goes through all frequencies while it is in the second-level cache.
const SMALL_WEIGHTS: usize = 3 << 20;
/// Bytes of transformed activations a block of tiles may take in that case.
const BLOCK: usize = 768 << 10;
/// The same for the weight gradient, of which every thread has its own.
const SMALL_WEIGHTS_GRAD: usize = 1 << 20;
/// Bytes of transformed activations worked on at once otherwise.
const CHUNK: usize = 20 << 20;
/// Tiles a task transforms in that case.
const PART: usize = 16;

/// Floats between frequencies of `rows x cols` matrices.
fn plane(rows: usize, cols: usize) -> usize {
    panel::len(rows, cols) + SKEW
}

fn planes(buffer: &mut [f32], rows: usize, cols: usize) -> Planes {
    Planes {
        first: Mat::panels(buffer.as_mut_ptr(), rows),
        plane: plane(rows, cols),
    }
}

/// Tiles that fit `bytes`, a multiple of eight.
fn tiles_in(bytes: usize, frequencies: usize, channels: usize, total: usize) -> usize {
    (bytes / (4 * frequencies * channels) / 8 * 8).clamp(8, total.next_multiple_of(8))
}

/// `y = conv(x, w)`, then the epilogue: `x` `(N, H, W, C)`, `w` `(K, C, 3, 3)`, `y` `(N, H', W', K)`.
pub(super) fn forward(g: &Geometry, x: &[f32], w: &[f32], epilogue: Epilogue, y: &mut [f32]) {
    let shape = Shape::of(g);
    if shape.small() {
        product::<F2, false>(x, w, epilogue, shape, y);
    } else {
        product::<F4, false>(x, w, epilogue, shape, y);
    }
}

/// Gradient of the input: `dy` `(N, H', W', K)`, `w` `(K, C, 3, 3)`, `dx` `(N, H, W, C)`.
pub(super) fn input_grad(g: &Geometry, w: &[f32], dy: &[f32], dx: &mut [f32]) {
    let shape = Shape::of(g);
    let (h, w_) = shape.out();
    let turned = Shape {
        n: shape.n,
        h,
        w: w_,
        c: shape.k,
        k: shape.c,
        pad: 2 - shape.pad,
    };
    if turned.small() {
        product::<F2, true>(dy, w, Epilogue::default(), turned, dx);
    } else {
        product::<F4, true>(dy, w, Epilogue::default(), turned, dx);
    }
}

/// A pointer that tasks share.
#[derive(Clone, Copy)]
struct Shared(*mut f32);
// SAFETY: every task writes a part of its own.
unsafe impl Send for Shared {}
// SAFETY: as above.
unsafe impl Sync for Shared {}
impl Shared {
    fn get(self) -> *mut f32 {
        self.0
    }
}

/// Forward, or with `FLIP` the input gradient, which is a forward pass with the filters turned.
fn product<F: Tile, const FLIP: bool>(
    x: &[f32],
    w: &[f32],
    epilogue: Epilogue,
    shape: Shape,
    y: &mut [f32],
) {
    let Shape { c, k, .. } = shape;
    let frequencies = F::T * F::T;
    let (input, output) = (shape.input(F::M), shape.output(F::M));
    let tiles = shape.n * input.th * input.tw;
    let y = Shared(y.as_mut_ptr());

    let mut u = scratch::take::<f32>(frequencies * plane(c, k));
    let u = planes(&mut u, c, k);
    let dims = if FLIP { (c, k) } else { (k, c) };
    (0..k.div_ceil(PANEL)).into_par_iter().for_each(|panel| {
        run::<F>(&[Step::Weights {
            w,
            dims,
            panel,
            out: u,
            flip: FLIP,
        }]);
    });

    let small = 4 * frequencies * c * k <= SMALL_WEIGHTS;
    let rows = tiles_in(if small { BLOCK } else { CHUNK }, frequencies, c + k, tiles);
    if small {
        (0..tiles.div_ceil(rows)).into_par_iter().for_each(|block| {
            let (first, count) = (block * rows, rows.min(tiles - block * rows));
            let (mut v, mut m) = (
                scratch::take::<f32>(frequencies * plane(rows, c)),
                scratch::take::<f32>(frequencies * plane(rows, k)),
            );
            let (v, m) = (planes(&mut v, rows, c), planes(&mut m, rows, k));
            run::<F>(&[
                Step::Gather {
                    x: x.as_ptr(),
                    maps: input,
                    first,
                    count,
                    out: v,
                    row: 0,
                    grad: false,
                },
                Step::Multiply {
                    dims: (count, k, c),
                    a: v,
                    b: u,
                    out: m,
                    frequencies: (0, frequencies),
                },
                Step::Scatter {
                    m,
                    row: 0,
                    maps: output,
                    first,
                    count,
                    epilogue,
                    y: y.get(),
                },
            ]);
        });
        return;
    }
    let (mut v, mut m) = (
        scratch::take::<f32>(frequencies * plane(rows, c)),
        scratch::take::<f32>(frequencies * plane(rows, k)),
    );
    let (v, m) = (planes(&mut v, rows, c), planes(&mut m, rows, k));
    for start in (0..tiles).step_by(rows) {
        let total = rows.min(tiles - start);
        let part = |row: usize| PART.min(total - row);
        let parts = || (0..total).into_par_iter().step_by(PART);
        parts().for_each(|row| {
            run::<F>(&[Step::Gather {
                x: x.as_ptr(),
                maps: input,
                first: start + row,
                count: part(row),
                out: v,
                row,
                grad: false,
            }]);
        });
        (0..frequencies).into_par_iter().for_each(|f| {
            run::<F>(&[Step::Multiply {
                dims: (total, k, c),
                a: v,
                b: u,
                out: m,
                frequencies: (f, f + 1),
            }]);
        });
        parts().for_each(|row| {
            run::<F>(&[Step::Scatter {
                m,
                row,
                maps: output,
                first: start + row,
                count: part(row),
                epilogue,
                y: y.get(),
            }]);
        });
    }
}

/// Gradient of the weights: `x` `(N, H, W, C)`, `dy` `(N, H', W', K)`, `dw` `(K, C, 3, 3)`.
///
/// The result depends on the number of threads in its last bits, never on their timing.
pub(super) fn weight_grad(g: &Geometry, x: &[f32], dy: &[f32], dw: &mut [f32]) {
    let shape = Shape::of(g);
    if shape.small() {
        weight_product::<F2>(x, dy, shape, dw);
    } else {
        weight_product::<F4>(x, dy, shape, dw);
    }
}

fn weight_product<F: Tile>(x: &[f32], dy: &[f32], shape: Shape, dw: &mut [f32]) {
    let Shape { c, k, .. } = shape;
    let frequencies = F::T * F::T;
    let (input, output) = (shape.input(F::M), shape.output(F::M));
    let tiles = shape.n * input.th * input.tw;
    let size = frequencies * plane(c, k);
    let threads = rayon::current_num_threads();

    let small = size * 4 <= SMALL_WEIGHTS_GRAD;
    let rows = tiles_in(if small { BLOCK } else { CHUNK }, frequencies, c + k, tiles);
    let sums = if small { threads } else { 1 };
    let mut du = scratch::take::<f32>(size * sums);
    if small {
        let per = tiles.div_ceil(threads);
        du[..size * sums]
            .par_chunks_mut(size)
            .enumerate()
            .for_each(|(thread, du)| {
                let (mut v, mut m) = (
                    scratch::take::<f32>(frequencies * plane(rows, c)),
                    scratch::take::<f32>(frequencies * plane(rows, k)),
                );
                let (v, m, sum) = (
                    planes(&mut v, rows, c),
                    planes(&mut m, rows, k),
                    planes(du, c, k),
                );
                let range = thread * per..tiles.min((thread + 1) * per);
                if range.is_empty() {
                    du.fill(0.0);
                }
                for first in range.clone().step_by(rows) {
                    let count = rows.min(range.end - first);
                    run::<F>(&[
                        Step::Gather {
                            x: x.as_ptr(),
                            maps: input,
                            first,
                            count,
                            out: v,
                            row: 0,
                            grad: false,
                        },
                        Step::Gather {
                            x: dy.as_ptr(),
                            maps: output,
                            first,
                            count,
                            out: m,
                            row: 0,
                            grad: true,
                        },
                        Step::MultiplyTransposed {
                            dims: (c, k, count),
                            a: v,
                            b: m,
                            out: sum,
                            frequencies: (0, frequencies),
                            accumulate: first > range.start,
                        },
                    ]);
                }
            });
        let (sum, rest) = du[..size * sums].split_at_mut(size);
        for other in rest.chunks(size) {
            sum.iter_mut().zip(other).for_each(|(a, b)| *a += b);
        }
    } else {
        let (mut v, mut m) = (
            scratch::take::<f32>(frequencies * plane(rows, c)),
            scratch::take::<f32>(frequencies * plane(rows, k)),
        );
        let (v, m, sum) = (
            planes(&mut v, rows, c),
            planes(&mut m, rows, k),
            planes(&mut du, c, k),
        );
        for start in (0..tiles).step_by(rows) {
            let total = rows.min(tiles - start);
            (0..total).into_par_iter().step_by(PART).for_each(|row| {
                let count = PART.min(total - row);
                run::<F>(&[
                    Step::Gather {
                        x: x.as_ptr(),
                        maps: input,
                        first: start + row,
                        count,
                        out: v,
                        row,
                        grad: false,
                    },
                    Step::Gather {
                        x: dy.as_ptr(),
                        maps: output,
                        first: start + row,
                        count,
                        out: m,
                        row,
                        grad: true,
                    },
                ]);
            });
            (0..frequencies).into_par_iter().for_each(|f| {
                run::<F>(&[Step::MultiplyTransposed {
                    dims: (c, k, total),
                    a: v,
                    b: m,
                    out: sum,
                    frequencies: (f, f + 1),
                    accumulate: start > 0,
                }]);
            });
        }
    }
    let du = planes(&mut du, c, k);
    let dw = Shared(dw.as_mut_ptr());
    (0..k.div_ceil(PANEL)).into_par_iter().for_each(|panel| {
        run::<F>(&[Step::WeightsGrad {
            du,
            dims: (k, c),
            panel,
            dw: dw.get(),
        }]);
    });
}
