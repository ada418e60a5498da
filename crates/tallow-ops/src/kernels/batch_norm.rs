use super::channels;
use super::float::Float;
use crate::layout::{Extents, Layout};

/// Mean and biased variance of each channel of a batch.
#[derive(Debug)]
pub(crate) struct Moments {
    pub mean: Vec<f64>,
    pub variance: Vec<f64>,
}

/// The parameters of one normalisation, a value a channel: `y = (x - mean) * scale + bias`, with `scale = weight * inverse`
/// and `inverse = 1 / sqrt(variance + eps)`.
#[derive(Debug)]
pub(crate) struct Normal {
    pub mean: Vec<f64>,
    pub inverse: Vec<f64>,
}

impl Normal {
    pub(crate) fn new(mean: Vec<f64>, variance: &[f64], eps: f64) -> Self {
        let inverse = variance.iter().map(|v| 1. / (v + eps).sqrt()).collect();
        Self { mean, inverse }
    }
}

/// One pass of shifted sums (Chan, Golub and LeVeque 1983): the first element of a channel is taken from all of them, so that
/// a large mean does not drown the variance.
pub(crate) fn moments<T: Float>(x: &[T], extents: Extents, layout: Layout) -> Moments {
    let Extents { n, c, h, w } = extents;
    let shift: Vec<f64> = match layout {
        Layout::Nchw => x
            .iter()
            .step_by(h * w)
            .take(c)
            .map(|x| x.to_f64())
            .collect(),
        Layout::Nhwc => x.iter().take(c).map(|x| x.to_f64()).collect(),
    };
    let (sum, squares) = channels::sums(
        [x],
        extents,
        layout,
        &shift,
        #[inline(always)]
        |[x], shift| {
            let d = x - shift;
            [d, d * d]
        },
    );
    let count = (n * h * w) as f64;
    let mean = shift
        .iter()
        .zip(&sum)
        .map(|(shift, sum)| shift + sum / count)
        .collect();
    let variance = sum
        .iter()
        .zip(&squares)
        .map(|(sum, squares)| ((squares - sum * sum / count) / count).max(0.))
        .collect();
    Moments { mean, variance }
}

pub(crate) fn forward<T: Float>(
    x: &[T],
    extents: Extents,
    layout: Layout,
    normal: &Normal,
    weight: &[T],
    bias: &[T],
    y: &mut [T],
) {
    let mean = narrow(&normal.mean);
    let scale = scale(weight, normal);
    channels::map(
        [x],
        [&mean, &scale, bias],
        extents,
        layout,
        y,
        #[inline(always)]
        |[x], [mean, scale, bias]| (x - mean) * scale + bias,
    );
}

/// The gradients when mean and variance are those of the batch, and so depend on `x` (Ioffe and Szegedy 2015).
pub(crate) fn backward_train<T: Float>(
    x: &[T],
    gy: &[T],
    extents: Extents,
    layout: Layout,
    normal: &Normal,
    weight: &[T],
    gx: &mut [T],
) -> (Vec<T>, Vec<T>) {
    let (sum, dot) = gradient_sums(x, gy, extents, layout, normal);
    let count = (extents.n * extents.h * extents.w) as f64;
    let sums = (count, &sum[..], &dot[..]);
    input_gradient([x, gy], extents, layout, normal, weight, sums, gx);
    parameter_gradients(&sum, &dot, normal)
}

/// The gradient of `x` by the sums over the batch that has given mean and variance, of which `x` may be a part: number of values of a channel,
/// and [`gradient_sums`].
pub(crate) fn input_gradient<T: Float>(
    [x, gy]: [&[T]; 2],
    extents: Extents,
    layout: Layout,
    normal: &Normal,
    weight: &[T],
    (count, sum, dot): (f64, &[f64], &[f64]),
    gx: &mut [T],
) {
    let mean = narrow(&normal.mean);
    let scale = scale(weight, normal);
    let offset: Vec<T> = sum.iter().map(|s| T::from_f64(s / count)).collect();
    let slope: Vec<T> = dot
        .iter()
        .zip(&normal.inverse)
        .map(|(d, inv)| T::from_f64(d / count * inv * inv))
        .collect();
    channels::map(
        [x, gy],
        [&mean, &scale, &offset, &slope],
        extents,
        layout,
        gx,
        #[inline(always)]
        |[x, g], [mean, scale, offset, slope]| (g - offset - (x - mean) * slope) * scale,
    );
}

/// `out = relu((x - mean) * scale + bias + shortcut)`.
pub(crate) fn forward_add_relu<T: Float>(
    [x, shortcut]: [&[T]; 2],
    extents: Extents,
    layout: Layout,
    normal: &Normal,
    weight: &[T],
    bias: &[T],
    out: &mut [T],
) {
    let mean = narrow(&normal.mean);
    let scale = scale(weight, normal);
    channels::map(
        [x, shortcut],
        [&mean, &scale, bias],
        extents,
        layout,
        out,
        #[inline(always)]
        |[x, shortcut], [mean, scale, bias]| {
            let z = (x - mean) * scale + bias + shortcut;
            // Keeps NaN, as PyTorch's.
            if z <= T::ZERO { T::ZERO } else { z }
        },
    );
}

/// The gradients when mean and variance are constants.
pub(crate) fn backward_eval<T: Float>(
    x: &[T],
    gy: &[T],
    extents: Extents,
    layout: Layout,
    normal: &Normal,
    weight: &[T],
    gx: &mut [T],
) -> (Vec<T>, Vec<T>) {
    let (sum, dot) = gradient_sums(x, gy, extents, layout, normal);
    channels::map(
        [gy],
        [&scale(weight, normal)],
        extents,
        layout,
        gx,
        #[inline(always)]
        |[g], [scale]| g * scale,
    );
    parameter_gradients(&sum, &dot, normal)
}

/// Of each channel, the sums of `gy` and of `gy * (x - mean)`.
pub(crate) fn gradient_sums<T: Float>(
    x: &[T],
    gy: &[T],
    extents: Extents,
    layout: Layout,
    normal: &Normal,
) -> (Vec<f64>, Vec<f64>) {
    channels::sums(
        [x, gy],
        extents,
        layout,
        &normal.mean,
        #[inline(always)]
        |[x, g], mean| [g, g * (x - mean)],
    )
}

/// The gradients of weight and bias.
pub(crate) fn parameter_gradients<T: Float>(
    sum: &[f64],
    dot: &[f64],
    normal: &Normal,
) -> (Vec<T>, Vec<T>) {
    let weight = dot
        .iter()
        .zip(&normal.inverse)
        .map(|(dot, inverse)| T::from_f64(dot * inverse))
        .collect();
    (weight, narrow(sum))
}

fn scale<T: Float>(weight: &[T], normal: &Normal) -> Vec<T> {
    weight
        .iter()
        .zip(&normal.inverse)
        .map(|(w, inverse)| T::from_f64(w.to_f64() * inverse))
        .collect()
}

fn narrow<T: Float>(values: &[f64]) -> Vec<T> {
    values.iter().map(|&v| T::from_f64(v)).collect()
}
