//! Convolution with 3x3 filters and stride 1 or 2 in `(N, H, W, C)` by Winograd's minimal filtering, all three passes.

mod filters;
mod step;
mod strided;
mod tile;
mod transform;

use std::marker::PhantomData;

use super::geometry::Geometry;
use super::passes::Epilogue;
use crate::kernels::panel::{self, Mat, PANEL};
use crate::kernels::parallel::{Threads, for_each_chunk, for_each_index, for_each_task};
use crate::kernels::scratch;
use step::{Gather, Multiply, MultiplyTransposed, Scatter, Weights, WeightsGrad, run};
use strided::S4;
use tile::{F2, F4, Line, Tile};
use transform::{Maps, Planes};

/// True for convolutions of this kind with enough channels to fill vectors.
pub(super) fn suits(g: &Geometry) -> bool {
    let Geometry {
        kernel,
        stride,
        dilation,
        groups,
        padding: (p, q),
        ..
    } = *g;
    let pays = match stride {
        (1, 1) => p <= 2 && g.channels.min(g.out_channels) >= 8,
        (2, 2) => p == 1 && strided_pays(g),
        _ => false,
    };
    (kernel, dilation, groups) == ((3, 3), (1, 1), 1)
        && p == q
        && pays
        && g.channels.max(g.out_channels) <= transform::MOST_CHANNELS
}

/// True if the tiles of a convolution with stride 2 save more time in multiplications than its transforms cost.
fn strided_pays(g: &Geometry) -> bool {
    let tiles = g.out_height.div_ceil(S4::M) * g.out_width.div_ceil(S4::M);
    let multiplications = tiles * <S4 as Tile>::Input::TO.pow(2);
    4 * multiplications <= 3 * 9 * g.out_plane() && g.channels.min(g.out_channels) >= 32
}

/// Runs `$body` with the type `$F` of the tile for maps of `$map` pixels to be written.
macro_rules! with_tile {
    ($g:expr, $map:expr, |$F:ident| $body:expr) => {
        if $g.stride == (2, 2) {
            type $F = S4;
            $body
        } else if small($map) {
            type $F = F2;
            $body
        } else {
            type $F = F4;
            $body
        }
    };
}

/// True if 2x2 tiles need fewer multiplications than 4x4 ones.
fn small((h, w): (usize, usize)) -> bool {
    let cost = |m: usize, t: usize| h.div_ceil(m) * w.div_ceil(m) * t * t;
    cost(2, 4) < cost(4, 6)
}

/// The input, as tiles of outputs see it.
fn input<F: Tile>(g: &Geometry) -> Maps {
    Maps {
        h: g.height,
        w: g.width,
        c: g.channels,
        th: g.out_height.div_ceil(F::M),
        tw: g.out_width.div_ceil(F::M),
        step: F::M * F::STRIDE,
        pad: g.padding.0,
    }
}

/// The output in tiles.
fn output<F: Tile>(g: &Geometry) -> Maps {
    Maps {
        h: g.out_height,
        w: g.out_width,
        c: g.out_channels,
        step: F::M,
        pad: 0,
        ..input::<F>(g)
    }
}

/// The input's gradient in tiles.
fn back_output<F: Tile>(g: &Geometry) -> Maps {
    let step = F::M * F::STRIDE;
    Maps {
        th: g.height.div_ceil(step),
        tw: g.width.div_ceil(step),
        step,
        pad: 0,
        ..input::<F>(g)
    }
}

/// The output's gradient, as tiles of the input's gradient see it.
fn back<F: Tile>(g: &Geometry) -> Maps {
    Maps {
        h: g.out_height,
        w: g.out_width,
        c: g.out_channels,
        step: F::M,
        // With stride 2 and padding 1, gradient `i` reaches back to pixel `2 i - 1`, which is the last one of the tile before.
        pad: if F::STRIDE == 1 { 2 - g.padding.0 } else { 0 },
        ..back_output::<F>(g)
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
    with_tile!(g, (g.out_height, g.out_width), |F| {
        type I = <F as Tile>::Input;
        type O = <F as Tile>::Output;
        let maps = (input::<F>(g), output::<F>(g));
        product::<F, I, O, false>(x, w, epilogue, g.batch, maps, y)
    })
}

/// Gradient of the input: `dy` `(N, H', W', K)`, `w` `(K, C, 3, 3)`, `dx` `(N, H, W, C)`.
pub(super) fn input_grad(g: &Geometry, w: &[f32], dy: &[f32], dx: &mut [f32]) {
    with_tile!(g, (g.height, g.width), |F| {
        type I = <F as Tile>::Back;
        type O = <F as Tile>::BackOutput;
        let maps = (back::<F>(g), back_output::<F>(g));
        product::<F, I, O, true>(dy, w, Epilogue::default(), g.batch, maps, dx)
    })
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

/// Forward, or with `FLIP` the input gradient, which takes the filters turned; `I` and `O` are the transforms of what is read and
/// what is written.
fn product<F: Tile, I: Line, O: Line, const FLIP: bool>(
    x: &[f32],
    w: &[f32],
    epilogue: Epilogue,
    batch: usize,
    (input, output): (Maps, Maps),
    y: &mut [f32],
) {
    let (c, k) = (input.c, output.c);
    let (filters, frequencies) = (F::FILTERS * F::FILTERS, I::TO * I::TO);
    let tiles = batch * input.th * input.tw;
    let y = Shared(y.as_mut_ptr());

    let mut u = scratch::take::<f32>(filters * plane(c, k));
    let u = planes(&mut u, c, k);
    let dims = if FLIP { (c, k) } else { (k, c) };
    for_each_index(k.div_ceil(PANEL), Threads::All, 1, &|panel| {
        run(Weights::<F, FLIP> {
            tile: PhantomData,
            w,
            dims,
            panel,
            out: u,
        });
    });
    let gather = |first, count, out, row| {
        run(Gather::<I> {
            line: PhantomData,
            x: x.as_ptr(),
            maps: input,
            first,
            count,
            out,
            row,
        });
    };
    let multiply = |rows, a, out, frequencies| {
        run(Multiply::<F> {
            tile: PhantomData,
            dims: (rows, k, c),
            a,
            b: u,
            out,
            frequencies,
        });
    };
    let scatter = |m, row, first, count| {
        run(Scatter::<O> {
            line: PhantomData,
            m,
            row,
            maps: output,
            first,
            count,
            epilogue,
            y: y.get(),
        });
    };

    let small = 4 * filters * c * k <= SMALL_WEIGHTS;
    let rows = tiles_in(if small { BLOCK } else { CHUNK }, frequencies, c + k, tiles);
    if small {
        for_each_index(tiles.div_ceil(rows), Threads::All, 1, &|block| {
            let (first, count) = (block * rows, rows.min(tiles - block * rows));
            let (mut v, mut m) = (
                scratch::take::<f32>(frequencies * plane(rows, c)),
                scratch::take::<f32>(frequencies * plane(rows, k)),
            );
            let (v, m) = (planes(&mut v, rows, c), planes(&mut m, rows, k));
            gather(first, count, v, 0);
            multiply(count, v, m, (0, filters));
            scatter(m, 0, first, count);
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
        for_each_part(total, &|row| gather(start + row, part(row), v, row));
        // One by one: with stride 2 some frequencies take sixteen times as long as others.
        for_each_task(filters, &|f| multiply(total, v, m, (f, f + 1)));
        for_each_part(total, &|row| scatter(m, row, start + row, part(row)));
    }
}

/// Calls `f(first row)` for each part of `rows` rows.
fn for_each_part(rows: usize, f: &(dyn Fn(usize) + Sync)) {
    for_each_index(rows.div_ceil(PART), Threads::All, 1, &|part| f(part * PART));
}

/// Gradient of the weights: `x` `(N, H, W, C)`, `dy` `(N, H', W', K)`, `dw` `(K, C, 3, 3)`.
///
/// The result depends on the number of threads in its last bits, never on their timing.
pub(super) fn weight_grad(g: &Geometry, x: &[f32], dy: &[f32], dw: &mut [f32]) {
    with_tile!(g, (g.out_height, g.out_width), |F| {
        weight_product::<F>(x, dy, g.batch, (input::<F>(g), output::<F>(g)), dw)
    })
}

fn weight_product<F: Tile>(
    x: &[f32],
    dy: &[f32],
    batch: usize,
    (input, output): (Maps, Maps),
    dw: &mut [f32],
) {
    let (c, k) = (input.c, output.c);
    let (filters, frequencies) = (F::FILTERS * F::FILTERS, F::Input::TO * F::Input::TO);
    let tiles = batch * input.th * input.tw;
    let size = filters * plane(c, k);
    let threads = rayon::current_num_threads();

    let small = size * 4 <= SMALL_WEIGHTS_GRAD;
    let rows = tiles_in(if small { BLOCK } else { CHUNK }, frequencies, c + k, tiles);
    let sums = if small { threads } else { 1 };
    let mut du = scratch::take::<f32>(size * sums);
    let gather = |first, count, v, m, row| {
        run(Gather::<F::Input> {
            line: PhantomData,
            x: x.as_ptr(),
            maps: input,
            first,
            count,
            out: v,
            row,
        });
        run(Gather::<F::OutputGrad> {
            line: PhantomData,
            x: dy.as_ptr(),
            maps: output,
            first,
            count,
            out: m,
            row,
        });
    };
    let multiply = |rows, a, b, out, frequencies, accumulate| {
        run(MultiplyTransposed::<F> {
            tile: PhantomData,
            dims: (c, k, rows),
            a,
            b,
            out,
            frequencies,
            accumulate,
        });
    };
    if small {
        let per = tiles.div_ceil(threads);
        for_each_chunk(&mut du[..size * sums], size, Threads::All, |thread, du| {
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
                gather(first, count, v, m, 0);
                multiply(count, v, m, sum, (0, filters), first > range.start);
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
            for_each_part(total, &|row| {
                gather(start + row, PART.min(total - row), v, m, row);
            });
            // One by one: with stride 2 some frequencies take sixteen times as long as others.
            for_each_task(filters, &|f| {
                multiply(total, v, m, sum, (f, f + 1), start > 0)
            });
        }
    }
    let du = planes(&mut du, c, k);
    let dw = Shared(dw.as_mut_ptr());
    for_each_index(k.div_ceil(PANEL), Threads::All, 1, &|panel| {
        run(WeightsGrad::<F> {
            tile: PhantomData,
            du,
            dims: (k, c),
            panel,
            dw: dw.get(),
        });
    });
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::kernels::conv::geometry::tests::geometry;

    #[test]
    fn stride_2_pays_on_maps_that_tiles_fit() {
        let strided = |size, channels, padding| {
            let x = (1, channels, size, size);
            let padding = (padding, padding);
            suits(&geometry(x, 2 * channels, (3, 3), (2, 2), padding, (1, 1)))
        };
        for (size, channels) in [(32, 64), (16, 128), (8, 256), (56, 64), (14, 256), (8, 32)] {
            assert!(strided(size, channels, 1), "{size} {channels}");
        }
        // Half a tile, few channels, other paddings.
        assert!(!strided(4, 512, 1) && !strided(32, 16, 1) && !strided(33, 64, 0));
    }
}
