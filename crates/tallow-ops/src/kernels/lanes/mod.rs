//! Small convolutions with images in the vector lanes.
//!
//! A vector holds the same pixel of as many images as it has lanes (cuda-convnet kept its batches like this). Whatever the number of
//! channels and the width of the map, every load is whole and aligned, and pooling or its gradient need no shuffles. The tensors
//! outside stay `(N, C, H, W)`: a block of images is transposed on input and on output, which costs little beside a
//! convolution over it. Each block is one task, so the bits do not depend on the number of threads.

mod buffer;
mod correlate;
mod dots;
mod frequencies;
mod plan;
mod tail;
mod tile;
mod turn;
mod weight_grad;
mod winograd;

use pulp::{Simd, WithSimd};

pub(crate) use self::buffer::Lines;
use self::correlate::{Filters, Source, correlate};
use self::frequencies::Frequencies;
pub(crate) use self::plan::Plan;
use self::turn::Frame;
use super::parallel::{for_each_chunk, for_each_chunk2};
use super::simd::arch;

/// Results of forward for backward: of each block the input, and for each output the position of the maximum in its square, or
/// [`tail::DEAD`].
pub(crate) struct Kept(Lines);

/// `y = pool(relu(conv(x, w) + bias))`: `x` `(N, C, H, W)`, `w` `(K, C, KH, KW)`, `y` `(N, K, H', W')`.
pub(crate) fn forward(
    plan: &Plan,
    x: &[f32],
    w: &[f32],
    bias: Option<&[f32]>,
    y: &mut [f32],
) -> Kept {
    let (g, blocks) = (&plan.geometry, plan.blocks());
    let filters = Prepared::new(plan, w, false);
    let arch = arch();
    let (image, input_len) = (plan.lanes * plan.output_image(), plan.input_block());
    let each = input_len + plan.output_block();
    let work = |block: usize, y: &mut [f32], kept: &mut [f32]| {
        let x = &x[block * plan.lanes * g.image()..][..plan.images(block) * g.image()];
        let (input, codes) = kept.split_at_mut(input_len);
        arch.dispatch(Forward {
            plan,
            filters: &filters,
            bias,
            x,
            input,
            codes,
            y,
        });
    };
    let run = |kept: &mut [f32]| for_each_chunk2((y, image), (kept, each), plan.threads(1), work);
    // SAFETY: every block writes all of its input, zeros included, before it reads any, and all of its codes.
    Kept(unsafe { Lines::fresh(blocks * each, run) })
}

/// Gradients that backward writes; `None` for those not needed.
pub(crate) struct Gradients<'a> {
    pub(crate) input: Option<&'a mut [f32]>,
    pub(crate) weight: &'a mut [f32],
    pub(crate) bias: Option<&'a mut [f32]>,
}

/// Gradients from `dy` `(N, K, H', W')`.
pub(crate) fn backward(plan: &Plan, w: &[f32], kept: &Kept, dy: &[f32], into: Gradients) {
    let (g, blocks) = (&plan.geometry, plan.blocks());
    let filters = into.input.is_some().then(|| Prepared::new(plan, w, true));
    let arch = arch();
    let work = |block: usize, dx: Option<&mut [f32]>| {
        let image = plan.output_image();
        let each = plan.input_block() + plan.output_block();
        let (input, codes) = kept.0[block * each..][..each].split_at(plan.input_block());
        let mut sums = vec![0f32; w.len() + g.out_channels];
        let (weight, bias) = sums.split_at_mut(w.len());
        arch.dispatch(Backward {
            plan,
            filters: filters.as_ref(),
            input,
            codes,
            dy: &dy[block * plan.lanes * image..][..plan.images(block) * image],
            dx,
            weight,
            bias,
        });
        sums
    };
    let images = plan.lanes * g.image();
    let mut sums = vec![Vec::new(); blocks];
    match into.input {
        Some(dx) => for_each_chunk2(
            (&mut sums, 1),
            (dx, images),
            plan.threads(2),
            |block, sums, dx| sums[0] = work(block, Some(dx)),
        ),
        None => for_each_chunk(&mut sums, 1, plan.threads(2), |block, sums| {
            sums[0] = work(block, None);
        }),
    }
    // In the order of the blocks, whoever computed them.
    let add = |to: &mut [f32], from: usize| {
        to.fill(0.0);
        for sums in &sums {
            to.iter_mut()
                .zip(&sums[from..])
                .for_each(|(to, s)| *to += s);
        }
    };
    add(into.weight, 0);
    if let Some(bias) = into.bias {
        add(bias, w.len());
    }
}

/// Filters prepared for an algorithm.
enum Prepared {
    Direct(Filters),
    Winograd(Frequencies),
}

impl Prepared {
    /// For forward, or `turned` for the input gradient.
    fn new(plan: &Plan, w: &[f32], turned: bool) -> Self {
        if plan.winograd {
            return Prepared::Winograd(arch().dispatch(Transform { plan, w, turned }));
        }
        Prepared::Direct(if turned {
            Filters::turned(&plan.geometry, w)
        } else {
            Filters::forward(&plan.geometry, w)
        })
    }
}

struct Transform<'a> {
    plan: &'a Plan,
    w: &'a [f32],
    turned: bool,
}

impl WithSimd for Transform<'_> {
    type Output = Frequencies;

    #[inline(always)]
    fn with_simd<S: Simd>(self, simd: S) -> Frequencies {
        let g = &self.plan.geometry;
        Frequencies::new(simd, (g.out_channels, g.channels), self.w, self.turned)
    }
}

/// The forward pass of one block.
struct Forward<'a> {
    plan: &'a Plan,
    filters: &'a Prepared,
    bias: Option<&'a [f32]>,
    x: &'a [f32],
    input: &'a mut [f32],
    codes: &'a mut [f32],
    y: &'a mut [f32],
}

impl WithSimd for Forward<'_> {
    type Output = ();

    #[inline(always)]
    fn with_simd<S: Simd>(mut self, simd: S) {
        let plan = self.plan;
        turn::inward::<S>(simd, self.x, plan.frame(), self.input);
        let mut out = buffer::take(plan.output_block());
        let out = &mut *out;
        match self.filters {
            Prepared::Winograd(u) => {
                winograd::forward(simd, plan, u, self.bias, self.input, out, self.codes);
            }
            Prepared::Direct(filters) => self.direct(simd, filters, out),
        }
        turn::outward::<S>(simd, out, Frame::whole(plan.output_image()), self.y);
    }
}

impl Forward<'_> {
    #[inline(always)]
    fn direct<S: Simd>(&mut self, simd: S, filters: &Filters, out: &mut [f32]) {
        let (plan, g) = (self.plan, &self.plan.geometry);
        let (ph, pw) = plan.padded();
        let (oh, ow) = plan.output();
        // Rows of the convolution that make one of the result.
        let rows = if plan.pool { 2 } else { 1 };
        let l = S::F32_LANES;
        let mut lines = buffer::take(filters.outputs() * rows * g.out_width * l);
        for y in 0..oh {
            for row in 0..rows {
                let source = Source {
                    start: self.input[(y * rows + row) * pw * l..].as_ptr(),
                    plane: ph * pw,
                    row: pw,
                };
                // SAFETY: the kernel's rows and columns lie inside the padded input, and a line of every output channel in `lines`.
                unsafe {
                    correlate(
                        simd,
                        source,
                        filters,
                        0..g.kernel.0,
                        self.bias,
                        g.out_width,
                        (
                            lines.as_mut_ptr().add(row * g.out_width * l),
                            rows * g.out_width,
                        ),
                    );
                }
            }
            for k in 0..g.out_channels {
                let at = (k * oh + y) * ow * l;
                tail::forward::<S>(
                    simd,
                    plan.pool,
                    &lines[k * rows * g.out_width * l..][..rows * g.out_width * l],
                    &mut out[at..at + ow * l],
                    &mut self.codes[at..at + ow * l],
                );
            }
        }
    }
}

/// The backward pass of one block.
struct Backward<'a> {
    plan: &'a Plan,
    filters: Option<&'a Prepared>,
    input: &'a [f32],
    codes: &'a [f32],
    dy: &'a [f32],
    dx: Option<&'a mut [f32]>,
    weight: &'a mut [f32],
    bias: &'a mut [f32],
}

impl WithSimd for Backward<'_> {
    type Output = ();

    #[inline(always)]
    fn with_simd<S: Simd>(mut self, simd: S) {
        let plan = self.plan;
        let (oh, ow) = plan.output();
        let mut grad = buffer::take(plan.output_block());
        let grad = &mut *grad;
        turn::inward::<S>(simd, self.dy, Frame::whole(plan.output_image()), grad);
        let map = oh * ow * S::F32_LANES;
        let maps = grad.chunks_exact(map).zip(self.codes.chunks_exact(map));
        for (bias, (grad, codes)) in self.bias.iter_mut().zip(maps) {
            *bias = tail::bias_grad::<S>(simd, grad, codes);
        }
        if !plan.winograd {
            return self.direct(simd, grad);
        }
        let grad = (&*grad, self.codes);
        let (Some(Prepared::Winograd(u)), Some(dx)) = (self.filters, self.dx) else {
            return winograd::backward(simd, plan, self.input, grad, self.weight, None);
        };
        let mut maps = buffer::take(plan.input_block());
        let maps = &mut *maps;
        winograd::backward(simd, plan, self.input, grad, self.weight, Some((u, maps)));
        turn::outward::<S>(simd, maps, plan.frame(), dx);
    }
}

impl Backward<'_> {
    #[inline(always)]
    fn direct<S: Simd>(&mut self, simd: S, grad: &[f32]) {
        let (plan, g) = (self.plan, &self.plan.geometry);
        let l = S::F32_LANES;
        let (oh, ow) = plan.output();
        let mut gradient = buffer::take(plan.gradient_block());
        let gradient = &mut *gradient;
        gradient.fill(0.0);
        let (width, margin) = (plan.gradient_width(), g.kernel.1 - 1);
        for k in 0..g.out_channels {
            let at = k * oh * ow * l..(k + 1) * oh * ow * l;
            let map = &mut gradient[k * g.out_height * width * l..][..g.out_height * width * l];
            tail::backward::<S>(
                simd,
                plan.pool,
                (ow, &grad[at.clone()], &self.codes[at]),
                (width, margin),
                map,
            );
        }
        let (ph, pw) = plan.padded();
        // SAFETY: the sizes are the plan's.
        unsafe {
            weight_grad::weight_grad(
                simd,
                g,
                (self.input.as_ptr(), ph * pw, pw),
                (
                    gradient.as_ptr().add(margin * l),
                    g.out_height * width,
                    width,
                ),
                self.weight,
            );
        }
        let (Some(Prepared::Direct(filters)), Some(dx)) = (self.filters, &mut self.dx) else {
            return;
        };
        let mut maps = buffer::take(filters.outputs() * g.plane() * l);
        for y in 0..g.height {
            // Row `ky` of the turned kernel meets row `y + padding - (KH - 1) + ky` of the gradient.
            let reach = (g.kernel.0 - 1) as isize - (y + g.padding.0) as isize;
            let first = reach.max(0) as usize;
            let last = g
                .kernel
                .0
                .min((reach + g.out_height as isize).max(0) as usize);
            let source = Source {
                start: gradient
                    .as_ptr()
                    .wrapping_offset((g.padding.1 as isize - reach * width as isize) * l as isize),
                plane: g.out_height * width,
                row: width,
            };
            // SAFETY: the rows of the kernel are those that meet the gradient, whose margins take the columns beyond it.
            unsafe {
                correlate(
                    simd,
                    source,
                    filters,
                    first..last.max(first),
                    None,
                    g.width,
                    (maps.as_mut_ptr().add(y * g.width * l), g.plane()),
                );
            }
        }
        turn::outward::<S>(simd, &maps[..g.image() * l], Frame::whole(g.image()), dx);
    }
}
