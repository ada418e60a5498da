//! Squeeze-and-excitation: sums over the pixels of a channel, two small layers, and products with one factor per channel.

use super::activation::Activation;
use super::float::Float;
use super::linear::{self, Shape};
use super::parallel::pieces;
use crate::layout::{Extents, Layout};

/// Independent partial sums, for the compiler to keep in vector registers.
const LANES: usize = 16;
/// Rows of pixels whose sum is taken in the element type before it goes into a sum in `f64`.
const ROWS: usize = 128;

/// Sizes and functions of a block.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Block {
    pub(crate) extents: Extents,
    pub(crate) layout: Layout,
    /// Channels between the two layers.
    pub(crate) squeezed: usize,
    pub(crate) activation: Activation,
    pub(crate) gate: Activation,
}

/// Results of the small layers, each with a row per image.
pub(crate) struct Excitation<T> {
    /// Mean of each channel.
    means: Vec<T>,
    /// First layer before its activation, and after it.
    inner: [Vec<T>; 2],
    /// Second layer before its activation, and after it: the factors.
    outer: [Vec<T>; 2],
}

/// Weight and bias of a layer.
#[derive(Clone, Copy)]
pub(crate) struct Layer<'a, T>(pub(crate) &'a [T], pub(crate) &'a [T]);

/// Gradients of weight and bias of a layer.
pub(crate) struct LayerGrads<T>(pub(crate) Vec<T>, pub(crate) Vec<T>);

impl Block {
    fn layers(&self) -> [Shape; 2] {
        let Extents { n, c, .. } = self.extents;
        let shape = |inputs, outputs| Shape {
            batch: n,
            inputs,
            outputs,
        };
        [shape(c, self.squeezed), shape(self.squeezed, c)]
    }

    /// Writes `x` times its factors to `y`.
    pub(crate) fn forward<T: Float>(
        &self,
        x: &[T],
        layers: [Layer<T>; 2],
        y: &mut [T],
    ) -> Excitation<T> {
        let pixels = (self.extents.h * self.extents.w) as f64;
        let means = self.sums(
            [x],
            1. / pixels,
            #[inline(always)]
            |[x]| x,
        );
        let [first, second] = self.layers();
        let inner = layer(first, &means, layers[0], self.activation);
        let outer = layer(second, &inner[1], layers[1], self.gate);
        self.map(x, &outer[1], None, y);
        Excitation {
            means,
            inner,
            outer,
        }
    }

    /// Gradients of input and layers.
    pub(crate) fn backward<T: Float>(
        &self,
        x: &[T],
        weights: [&[T]; 2],
        excitation: &Excitation<T>,
        dy: &[T],
        dx: &mut [T],
    ) -> [LayerGrads<T>; 2] {
        let Excitation {
            means,
            inner,
            outer,
        } = excitation;
        let [first, second] = self.layers();
        let factors = self.sums(
            [x, dy],
            1.,
            #[inline(always)]
            |[x, dy]| x * dy,
        );
        let (inners, grads2) = layer_backward(
            second, &inner[1], weights[1], &outer[0], self.gate, &factors,
        );
        let (mut means, grads1) = layer_backward(
            first,
            means,
            weights[0],
            &inner[0],
            self.activation,
            &inners,
        );
        let share = T::from_f64(1. / (self.extents.h * self.extents.w) as f64);
        means.iter_mut().for_each(|mean| *mean = *mean * share);
        self.map(dy, &outer[1], Some(&means), dx);
        [grads1, grads2]
    }

    /// For each image and channel, `scale` times the sum of the terms of its pixels.
    fn sums<T: Float, const K: usize>(
        &self,
        inputs: [&[T]; K],
        scale: f64,
        term: impl Fn([T; K]) -> T + Send + Sync,
    ) -> Vec<T> {
        let Extents { n, c, h, w } = self.extents;
        let (plane, layout) = (h * w, self.layout);
        let mut sums = vec![T::ZERO; n * c];
        pieces(
            &mut sums,
            c,
            c * plane,
            #[inline(always)]
            |image, sums| {
                let inputs = inputs.map(|x| &x[image * c * plane..][..c * plane]);
                match layout {
                    Layout::Nchw => {
                        for (channel, sum) in sums.iter_mut().enumerate() {
                            let inputs = inputs.map(|x| &x[channel * plane..][..plane]);
                            *sum = T::from_f64(scale * sum_of_run(inputs, &term));
                        }
                    }
                    Layout::Nhwc => {
                        let mut totals = vec![0f64; c];
                        for at in (0..plane).step_by(ROWS) {
                            sums.fill(T::ZERO);
                            for row in at..plane.min(at + ROWS) {
                                let inputs = inputs.map(|x| &x[row * c..][..c]);
                                for (j, sum) in sums.iter_mut().enumerate() {
                                    *sum += term(inputs.map(|x| x[j]));
                                }
                            }
                            for (total, sum) in totals.iter_mut().zip(&*sums) {
                                *total += sum.to_f64();
                            }
                        }
                        for (sum, total) in sums.iter_mut().zip(totals) {
                            *sum = T::from_f64(scale * total);
                        }
                    }
                }
            },
        );
        sums
    }

    /// `y = x * factor + addend`, with one factor and addend per image and channel.
    fn map<T: Float>(&self, x: &[T], factors: &[T], addends: Option<&[T]>, y: &mut [T]) {
        let Extents { c, h, w, .. } = self.extents;
        let (plane, layout) = (h * w, self.layout);
        pieces(
            y,
            c * plane,
            c * plane,
            #[inline(always)]
            |image, y| {
                let x = &x[image * c * plane..][..c * plane];
                let factors = &factors[image * c..][..c];
                let addends = addends.map(|addends| &addends[image * c..][..c]);
                match layout {
                    Layout::Nchw => {
                        let planes = y.chunks_exact_mut(plane).zip(x.chunks_exact(plane));
                        for (channel, (y, x)) in planes.enumerate() {
                            let factor = factors[channel];
                            let addend = addends.map_or(T::ZERO, |addends| addends[channel]);
                            for (y, &x) in y.iter_mut().zip(x) {
                                *y = x * factor + addend;
                            }
                        }
                    }
                    Layout::Nhwc => {
                        for (y, x) in y.chunks_exact_mut(c).zip(x.chunks_exact(c)) {
                            let values = y.iter_mut().zip(x).zip(factors);
                            match addends {
                                Some(addends) => {
                                    for (((y, &x), &factor), &addend) in values.zip(addends) {
                                        *y = x * factor + addend;
                                    }
                                }
                                None => values.for_each(|((y, &x), &factor)| *y = x * factor),
                            }
                        }
                    }
                }
            },
        );
    }
}

/// Sum of the terms of a run of elements: in the element type over short runs, in `f64` over these.
#[inline(always)]
fn sum_of_run<T: Float, const K: usize>(inputs: [&[T]; K], term: &impl Fn([T; K]) -> T) -> f64 {
    let len = inputs.first().map_or(0, |x| x.len());
    let inputs = inputs.map(|x| &x[..len]);
    let whole = len - len % LANES;
    let mut total = 0.;
    for from in (0..whole).step_by(ROWS * LANES) {
        let mut lanes = [T::ZERO; LANES];
        for at in (from..whole.min(from + ROWS * LANES)).step_by(LANES) {
            let inputs = inputs.map(|x| &x[at..][..LANES]);
            for (lane, sum) in lanes.iter_mut().enumerate() {
                *sum += term(inputs.map(|x| x[lane]));
            }
        }
        total += lanes.iter().map(|lane| lane.to_f64()).sum::<f64>();
    }
    for at in whole..len {
        total += term(inputs.map(|x| x[at])).to_f64();
    }
    total
}

/// A layer before and after its activation.
fn layer<T: Float>(
    shape: Shape,
    x: &[T],
    Layer(weight, bias): Layer<T>,
    activation: Activation,
) -> [Vec<T>; 2] {
    let mut before = vec![T::ZERO; shape.batch * shape.outputs];
    linear::forward(shape, x, weight, Some(bias), &mut before);
    let mut after = vec![T::ZERO; before.len()];
    activation.forward(&before, &mut after);
    [before, after]
}

/// Gradients of a layer's input and parameters, from that of its result.
fn layer_backward<T: Float>(
    shape: Shape,
    x: &[T],
    weight: &[T],
    before: &[T],
    activation: Activation,
    d_after: &[T],
) -> (Vec<T>, LayerGrads<T>) {
    let mut d_before = vec![T::ZERO; before.len()];
    activation.backward(before, d_after, &mut d_before);
    let (mut dx, mut dw, mut db) = (
        vec![T::ZERO; x.len()],
        vec![T::ZERO; weight.len()],
        vec![T::ZERO; shape.outputs],
    );
    linear::grad_input(shape, weight, &d_before, &mut dx);
    linear::grad_weight(shape, x, &d_before, &mut dw);
    linear::grad_bias(shape, &d_before, &mut db);
    (dx, LayerGrads(dw, db))
}
