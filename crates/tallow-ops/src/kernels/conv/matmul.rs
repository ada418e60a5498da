//! Convolution as matrix products over patches (im2col), many images to a product.

use std::ops::Range;

use super::geometry::Geometry;
use super::im2col::{col2im_nchw, col2im_nhwc, im2col_nchw, im2col_nhwc, line};
use super::passes::Gradients;
use crate::kernels::gemm::{Matrix, MatrixMut, gemm};
use crate::kernels::parallel::{Threads, for_each_chunk};
use crate::kernels::real::Real;
use crate::kernels::scratch::{self, Scratch};
use crate::layout::Layout;

/// Elements a block of patches aims at.
const BLOCK: usize = 1 << 20;
/// Pixels of a block: enough to keep the product busy, and no more than pays.
const BLOCK_PIXELS: (usize, usize) = (256, 4096);
/// Elements that the partial weight gradients of all threads may take together.
const PARTIALS: usize = 1 << 26;

/// Partition of a pass: tasks of whole images run in parallel, blocks of output rows run one after another inside a task.
#[derive(Clone, Copy)]
struct Plan {
    /// Images of a task.
    images: usize,
    /// Output rows of a block.
    rows: usize,
    /// Threads that a task may use by itself.
    inside: Threads,
}

impl Plan {
    fn new(g: &Geometry, layout: Layout) -> Self {
        let pixels = (BLOCK / g.depth()).clamp(BLOCK_PIXELS.0, BLOCK_PIXELS.1);
        let mut rows = pixels.div_ceil(g.out_width);
        if layout == Layout::Nchw && g.is_pointwise() && g.out_plane() >= BLOCK_PIXELS.0 {
            // Then each image is its own matrix of patches and nothing is copied.
            rows = rows.min(g.out_height);
        }
        let threads = Threads::for_work(g.multiply_adds()).count();
        if threads == 1 {
            return Self {
                images: g.batch.max(1),
                rows,
                inside: Threads::One,
            };
        }
        if g.batch < threads {
            return Self {
                images: g.batch.max(1),
                rows,
                inside: Threads::All,
            };
        }
        Self {
            images: (rows / g.out_height).clamp(1, g.batch.div_ceil(threads)),
            rows,
            inside: Threads::One,
        }
    }

    /// The same with one task for each thread, or one task in all when so many partial weight gradients would take too much.
    fn for_weight(self, g: &Geometry) -> Self {
        let threads = Threads::for_work(g.multiply_adds()).count();
        if threads > 1 && g.weights().saturating_mul(threads) > PARTIALS {
            return Self {
                images: g.batch.max(1),
                inside: Threads::All,
                ..self
            };
        }
        match self.inside {
            Threads::One => Self {
                images: g.batch.div_ceil(threads).max(1),
                ..self
            },
            Threads::All => self,
        }
    }

    /// The blocks of the task with these images. In NCHW a block that ends inside an image starts in the same one.
    fn blocks(self, g: &Geometry, images: Range<usize>) -> impl Iterator<Item = Range<usize>> {
        let whole = (self.rows / g.out_height).max(1);
        let (height, rows) = (g.out_height, self.rows);
        images.clone().step_by(whole).flat_map(move |n| {
            let end = (n + whole).min(images.end) * height;
            let step = if whole == 1 {
                rows.min(height)
            } else {
                whole * height
            };
            (n * height..end)
                .step_by(step)
                .map(move |start| start..(start + step).min(end))
        })
    }
}

/// The weight as `(o, (ky, kx, c))`, the order of patches in NHWC, or as it is.
enum Weight<'a, T: Real> {
    Given(&'a [T]),
    Packed(Scratch<T>),
}

impl<'a, T: Real> Weight<'a, T> {
    fn new(g: &Geometry, layout: Layout, w: &'a [T]) -> Self {
        if layout == Layout::Nchw || g.taps() == 1 || g.group_in() == 1 {
            return Weight::Given(w);
        }
        let mut packed = scratch::take(w.len());
        let threads = Threads::for_work(g.multiply_adds());
        for_each_chunk(&mut packed, g.depth(), threads, |o, packed| {
            transpose(
                &w[o * g.depth()..(o + 1) * g.depth()],
                g.group_in(),
                g.taps(),
                packed,
            );
        });
        Weight::Packed(packed)
    }

    /// The rows of one group, `(group_out, depth)`.
    fn group(&self, g: &Geometry, group: usize) -> Matrix<'_, T> {
        let all: &[T] = match self {
            Weight::Given(w) => w,
            Weight::Packed(w) => w,
        };
        Matrix::dense(
            &all[group * g.group_out() * g.depth()..],
            g.group_out(),
            g.depth(),
        )
    }
}

/// `(rows, columns)` to `(columns, rows)`.
fn transpose<T: Real>(from: &[T], rows: usize, columns: usize, to: &mut [T]) {
    for (j, to) in to.chunks_exact_mut(rows).enumerate().take(columns) {
        to.iter_mut()
            .zip(from[j..].iter().step_by(columns))
            .for_each(|(t, &v)| *t = v);
    }
}

/// A block inside one image, as the elements before it in its channel plane; `None` when it covers several images.
fn inside_image(g: &Geometry, rows: &Range<usize>) -> Option<(usize, usize)> {
    let n = rows.start / g.out_height;
    (rows.end <= (n + 1) * g.out_height).then(|| (n, (rows.start - n * g.out_height) * g.out_width))
}

/// Patches of a block as a matrix `(depth, pixels)` in NCHW and `(pixels, depth)` in NHWC; `buffer` holds them when they must
/// be gathered.
fn patches<'a, T: Real>(
    g: &Geometry,
    layout: Layout,
    x: &'a [T],
    group: usize,
    rows: &Range<usize>,
    buffer: &'a mut [T],
    threads: Threads,
) -> Matrix<'a, T> {
    let (pixels, depth) = (rows.len() * g.out_width, g.depth());
    match layout {
        Layout::Nchw => {
            if let Some((n, skip)) = inside_image(g, rows).filter(|_| g.is_pointwise()) {
                let first = n * g.image() + group * depth * g.plane() + skip;
                return Matrix::rows(&x[first..], depth, pixels, g.plane());
            }
            im2col_nchw(
                g,
                x,
                group,
                rows.clone(),
                &mut buffer[..depth * line(pixels)],
                threads,
            );
            Matrix::rows(buffer, depth, pixels, line(pixels))
        }
        Layout::Nhwc => {
            if g.is_pointwise() {
                let first = rows.start * g.width * g.channels + group * depth;
                return Matrix::rows(&x[first..], pixels, depth, g.channels);
            }
            im2col_nhwc(
                g,
                x,
                group,
                rows.clone(),
                &mut buffer[..depth * pixels],
                threads,
            );
            Matrix::dense(buffer, pixels, depth)
        }
    }
}

/// The output gradient of a block as a matrix `(group_out, pixels)` in NCHW and `(pixels, group_out)` in NHWC.
fn output_block<'a, T: Real>(
    g: &Geometry,
    layout: Layout,
    dy: &'a [T],
    group: usize,
    rows: &Range<usize>,
    buffer: &'a mut [T],
) -> Matrix<'a, T> {
    let (pixels, group_out, plane) = (rows.len() * g.out_width, g.group_out(), g.out_plane());
    if layout == Layout::Nhwc {
        let first = rows.start * g.out_width * g.out_channels + group * group_out;
        return Matrix::rows(&dy[first..], pixels, group_out, g.out_channels);
    }
    if let Some((n, skip)) = inside_image(g, rows) {
        let first = n * g.out_image() + group * group_out * plane + skip;
        return Matrix::rows(&dy[first..], group_out, pixels, plane);
    }
    for (o, to) in buffer[..group_out * line(pixels)]
        .chunks_exact_mut(line(pixels))
        .enumerate()
    {
        for (n, part) in (rows.start / g.out_height..).zip(to[..pixels].chunks_exact_mut(plane)) {
            part.copy_from_slice(
                &dy[n * g.out_image() + (group * group_out + o) * plane..][..plane],
            );
        }
    }
    Matrix::rows(buffer, group_out, pixels, line(pixels))
}

/// `y = x * w + bias`.
pub(crate) fn forward<T: Real>(
    g: &Geometry,
    layout: Layout,
    x: &[T],
    w: &[T],
    bias: Option<&[T]>,
    y: &mut [T],
) {
    let plan = Plan::new(g, layout);
    let weight = Weight::new(g, layout, w);
    for_each_task(plan, y, g.out_image(), |first, y| {
        let images = first..first + y.len() / g.out_image();
        let mut buffer = scratch::take(g.depth() * line(block_pixels(plan, g)));
        let mut out = scratch::take(g.group_out() * line(block_pixels(plan, g)));
        for rows in plan.blocks(g, images) {
            for group in 0..g.groups {
                let patches = patches(g, layout, x, group, &rows, &mut buffer, plan.inside);
                let weight = weight.group(g, group);
                let bias = bias.map(|b| &b[group * g.group_out()..(group + 1) * g.group_out()]);
                match layout {
                    Layout::Nchw => forward_nchw(
                        g,
                        group,
                        &rows,
                        weight,
                        patches,
                        bias,
                        y,
                        first,
                        &mut out,
                        plan.inside,
                    ),
                    Layout::Nhwc => forward_nhwc(
                        g,
                        group,
                        &rows,
                        weight,
                        patches,
                        bias,
                        y,
                        first,
                        plan.inside,
                    ),
                }
            }
        }
    });
}

fn forward_nchw<T: Real>(
    g: &Geometry,
    group: usize,
    rows: &Range<usize>,
    weight: Matrix<T>,
    patches: Matrix<T>,
    bias: Option<&[T]>,
    y: &mut [T],
    first: usize,
    out: &mut [T],
    threads: Threads,
) {
    let (pixels, group_out, plane) = (rows.len() * g.out_width, g.group_out(), g.out_plane());
    if let Some((n, skip)) = inside_image(g, rows) {
        let y = &mut y[(n - first) * g.out_image() + group * group_out * plane + skip..];
        if let Some(bias) = bias {
            for (o, &b) in bias.iter().enumerate() {
                y[o * plane..][..pixels].fill(b);
            }
        }
        return gemm(
            MatrixMut::rows(y, group_out, pixels, plane),
            weight,
            patches,
            bias.is_some(),
            threads,
        );
    }
    let out = &mut out[..group_out * line(pixels)];
    gemm(
        MatrixMut::rows(out, group_out, pixels, line(pixels)),
        weight,
        patches,
        false,
        threads,
    );
    for (o, from) in out.chunks_exact(line(pixels)).enumerate() {
        let b = bias.map_or(T::ZERO, |bias| bias[o]);
        for (n, part) in (rows.start / g.out_height..).zip(from[..pixels].chunks_exact(plane)) {
            let y =
                &mut y[(n - first) * g.out_image() + (group * group_out + o) * plane..][..plane];
            y.iter_mut().zip(part).for_each(|(y, &v)| *y = v + b);
        }
    }
}

fn forward_nhwc<T: Real>(
    g: &Geometry,
    group: usize,
    rows: &Range<usize>,
    weight: Matrix<T>,
    patches: Matrix<T>,
    bias: Option<&[T]>,
    y: &mut [T],
    first: usize,
    threads: Threads,
) {
    let (pixels, group_out) = (rows.len() * g.out_width, g.group_out());
    let y = &mut y
        [(rows.start - first * g.out_height) * g.out_width * g.out_channels + group * group_out..];
    if let Some(bias) = bias {
        for pixel in y.chunks_mut(g.out_channels).take(pixels) {
            pixel[..group_out].copy_from_slice(bias);
        }
    }
    gemm(
        MatrixMut::rows(y, pixels, group_out, g.out_channels),
        patches,
        weight.t(),
        bias.is_some(),
        threads,
    );
}

/// The gradients of input and weight.
pub(crate) fn backward<T: Real>(
    g: &Geometry,
    layout: Layout,
    x: &[T],
    w: &[T],
    dy: &[T],
    into: Gradients<T>,
) {
    if let Some(dx) = into.input {
        grad_input(g, layout, w, dy, dx);
    }
    if let Some(dw) = into.weight {
        grad_weight(g, layout, x, dy, dw);
    }
}

fn grad_input<T: Real>(g: &Geometry, layout: Layout, w: &[T], dy: &[T], dx: &mut [T]) {
    let plan = Plan::new(g, layout);
    let weight = Weight::new(g, layout, w);
    for_each_task(plan, dx, g.image(), |first, dx| {
        let images = first..first + dx.len() / g.image();
        let mut columns = scratch::take(g.depth() * line(block_pixels(plan, g)));
        let mut gathered = scratch::take(g.group_out() * line(block_pixels(plan, g)));
        for rows in plan.blocks(g, images) {
            let pixels = rows.len() * g.out_width;
            for group in 0..g.groups {
                let weight = weight.group(g, group);
                let dy = output_block(g, layout, dy, group, &rows, &mut gathered);
                match (layout, inside_image(g, &rows).filter(|_| g.is_pointwise())) {
                    (Layout::Nchw, Some((n, skip))) => {
                        let dx = &mut dx
                            [(n - first) * g.image() + group * g.depth() * g.plane() + skip..];
                        gemm(
                            MatrixMut::rows(dx, g.depth(), pixels, g.plane()),
                            weight.t(),
                            dy,
                            false,
                            plan.inside,
                        );
                    }
                    (Layout::Nchw, None) => {
                        let to = MatrixMut::rows(&mut columns, g.depth(), pixels, line(pixels));
                        gemm(to, weight.t(), dy, false, plan.inside);
                        col2im_nchw(g, &columns, group, rows.clone(), dx, first, plan.inside);
                    }
                    (Layout::Nhwc, _) if g.is_pointwise() => {
                        let skip = (rows.start - first * g.height) * g.width * g.channels
                            + group * g.depth();
                        let dx = MatrixMut::rows(&mut dx[skip..], pixels, g.depth(), g.channels);
                        gemm(dx, dy, weight, false, plan.inside);
                    }
                    (Layout::Nhwc, _) => {
                        gemm(
                            MatrixMut::dense(&mut columns, pixels, g.depth()),
                            dy,
                            weight,
                            false,
                            plan.inside,
                        );
                        col2im_nhwc(g, &columns, group, rows.clone(), dx, first, plan.inside);
                    }
                }
            }
        }
    });
}

fn grad_weight<T: Real>(g: &Geometry, layout: Layout, x: &[T], dy: &[T], dw: &mut [T]) {
    let plan = Plan::new(g, layout).for_weight(g);
    let parts = g.batch.div_ceil(plan.images).max(1);
    let mut partial = scratch::zeroed::<T>(parts * g.weights());
    let part = |index: usize, sums: &mut [T]| {
        let images = index * plan.images..((index + 1) * plan.images).min(g.batch);
        let mut buffer = scratch::take(g.depth() * line(block_pixels(plan, g)));
        let mut gathered = scratch::take(g.group_out() * line(block_pixels(plan, g)));
        for rows in plan.blocks(g, images) {
            for group in 0..g.groups {
                let patches = patches(g, layout, x, group, &rows, &mut buffer, plan.inside);
                let dy = output_block(g, layout, dy, group, &rows, &mut gathered);
                let sums = &mut sums[group * g.group_out() * g.depth()..];
                let sums = MatrixMut::dense(sums, g.group_out(), g.depth());
                match layout {
                    Layout::Nchw => gemm(sums, dy, patches.t(), true, plan.inside),
                    Layout::Nhwc => gemm(sums, dy.t(), patches, true, plan.inside),
                }
            }
        }
    };
    let threads = if parts == 1 {
        Threads::One
    } else {
        Threads::All
    };
    for_each_chunk(&mut partial, g.weights(), threads, part);

    // The parts are added in their order, whichever finished first.
    let (depth, unpack) = (
        g.depth(),
        layout == Layout::Nhwc && g.taps() > 1 && g.group_in() > 1,
    );
    for_each_chunk(
        dw,
        depth,
        Threads::for_work(parts * g.weights()),
        |o, dw| {
            let mut sum = scratch::zeroed::<T>(depth);
            for part in 0..parts {
                let part = &partial[part * g.weights() + o * depth..][..depth];
                sum.iter_mut().zip(part).for_each(|(s, &v)| *s += v);
            }
            if unpack {
                transpose(&sum, g.taps(), g.group_in(), dw);
            } else {
                dw.copy_from_slice(&sum);
            }
        },
    );
}

/// Pixels of the largest block.
fn block_pixels(plan: Plan, g: &Geometry) -> usize {
    let rows = if plan.rows < g.out_height {
        plan.rows
    } else {
        plan.rows / g.out_height * g.out_height
    };
    rows.min(plan.images * g.out_height) * g.out_width
}

/// Calls `f(first image, images)` for the images of each task, `size` elements an image.
fn for_each_task<T: Real>(
    plan: Plan,
    images: &mut [T],
    size: usize,
    f: impl Fn(usize, &mut [T]) + Sync,
) {
    let chunk = plan.images * size;
    if images.len() <= chunk {
        return f(0, images);
    }
    for_each_chunk(images, chunk, Threads::All, |i, images| {
        f(i * plan.images, images);
    });
}
