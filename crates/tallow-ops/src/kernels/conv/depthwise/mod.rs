//! Convolution with one input channel to a group. Every pass writes all elements of its result and reads none before.

mod axis;
mod blocks;
mod pixels;
mod plain;
mod planes;
mod tiles;
mod weight;

use pulp::Arch;

use super::bias::grad_bias;
use super::geometry::Geometry;
use crate::kernels::real::Real;
use crate::kernels::simd::arch;
use crate::layout::Layout;

/// Channels from which vectors of them are used: as many as the longest vector has lanes.
const CHANNELS: usize = 16;

/// True if this algorithm can run the convolution.
pub(crate) fn suits(g: &Geometry) -> bool {
    g.group_in() == 1 && g.groups > 1
}

/// True if the sums of `f32` can stay in registers.
fn in_registers(g: &Geometry, layout: Layout) -> bool {
    g.group_out() == 1
        && g.batch > 0
        && (layout == Layout::Nchw || g.channels >= CHANNELS)
        && !matches!(arch(), Arch::Scalar)
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
    if in_registers(g, layout)
        && let (Some(x), Some(w)) = (T::f32s(x), T::f32s(w))
        && let Some(y) = T::f32s_mut(y)
    {
        let bias = bias.and_then(T::f32s);
        return match layout {
            Layout::Nchw => planes::forward(g, x, w, bias, y),
            Layout::Nhwc => pixels::forward(g, x, w, bias, y),
        };
    }
    plain::forward(g, layout, x, w, bias, y);
}

/// Gradient of the input.
pub(crate) fn input_grad<T: Real>(g: &Geometry, layout: Layout, w: &[T], dy: &[T], dx: &mut [T]) {
    if in_registers(g, layout)
        && let (Some(w), Some(dy)) = (T::f32s(w), T::f32s(dy))
        && let Some(dx) = T::f32s_mut(dx)
    {
        return match layout {
            Layout::Nchw => planes::grad_input(g, w, dy, dx),
            Layout::Nhwc => pixels::grad_input(g, w, dy, dx),
        };
    }
    plain::grad_input(g, layout, w, dy, dx);
}

/// Gradients of the weight and, if there is one, of the bias.
pub(crate) fn weight_grad<T: Real>(
    g: &Geometry,
    layout: Layout,
    x: &[T],
    dy: &[T],
    dw: &mut [T],
    db: Option<&mut [T]>,
) {
    if in_registers(g, layout)
        && let (Some(x), Some(dys)) = (T::f32s(x), T::f32s(dy))
        && let Some(dw) = T::f32s_mut(dw)
    {
        match layout {
            Layout::Nchw => planes::grad_weight(g, x, dys, dw),
            Layout::Nhwc => return weight::grad_weight(g, x, dys, dw, db.and_then(T::f32s_mut)),
        }
    } else {
        plain::grad_weight(g, layout, x, dy, dw);
    }
    if let Some(db) = db {
        grad_bias(g, layout, dy, db);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::kernels::conv::geometry::tests::geometry;

    /// The results of `conv2d` are not initialized before.
    fn results_are_written<T: Real>(g: &Geometry, layout: Layout) {
        let ones = |len: usize| vec![T::ONE; len];
        let unset = |len: usize| vec![T::from_f64(f64::NAN); len];
        let (x, w) = (ones(g.batch * g.image()), ones(g.weights()));
        let dy = ones(g.batch * g.out_image());
        for bias in [None, Some(&ones(g.out_channels)[..])] {
            let mut y = unset(dy.len());
            forward(g, layout, &x, &w, bias, &mut y);
            assert!(y.iter().all(|y| y.to_f64().is_finite()), "{g:?} {layout}");
        }
        let (mut dx, mut dw) = (unset(x.len()), unset(w.len()));
        input_grad(g, layout, &w, &dy, &mut dx);
        let mut db = unset(g.out_channels);
        weight_grad(g, layout, &x, &dy, &mut dw, Some(&mut db));
        for value in dx.iter().chain(&dw).chain(&db) {
            assert!(value.to_f64().is_finite(), "{g:?} {layout}");
        }
    }

    #[test]
    fn every_element_of_a_result_is_written() {
        for (channels, outputs) in [(20, 20), (16, 16), (3, 3), (5, 10)] {
            for (size, kernel, stride, padding) in [
                ((7, 8), (3, 3), (1, 1), (1, 1)),
                ((9, 14), (3, 3), (2, 2), (1, 1)),
                ((9, 7), (1, 2), (3, 4), (0, 0)),
                ((5, 5), (5, 5), (1, 2), (6, 7)),
            ] {
                let shape = (2, channels, size.0, size.1);
                let mut g = geometry(shape, outputs, kernel, stride, padding, (1, 1));
                g.groups = channels;
                for layout in [Layout::Nchw, Layout::Nhwc] {
                    results_are_written::<f32>(&g, layout);
                    results_are_written::<f64>(&g, layout);
                }
            }
        }
    }

    /// Pairs of output and input position through kernel position `k`, along one axis.
    fn pairs(
        (input, output, k): (usize, usize, usize),
        (stride, padding, dilation): (usize, usize, usize),
    ) -> Vec<(usize, usize)> {
        let pair = |o: usize| {
            let i = (o * stride + k * dilation).checked_sub(padding)?;
            (i < input).then_some((o, i))
        };
        (0..output).filter_map(pair).collect()
    }

    /// Each sum of a map has its products in the order of the kernel, whatever pixels are computed together, and nothing from the padding;
    /// those of the weight have all products.
    #[test]
    fn sums_have_the_order_of_the_kernel() {
        if matches!(arch(), Arch::Scalar) {
            println!("skipped: the portable kernel rounds the products");
            return;
        }
        let values = |len: usize, salt: usize| -> Vec<f32> {
            let value = |i: usize| ((i * 7919 + salt) % 1009) as f32 / 997.0 - 0.5;
            (0..len).map(value).collect()
        };
        for (size, kernel, stride, dilation) in [
            ((5, 16), (3, 3), (1, 1), (1, 1)),
            ((9, 14), (3, 3), (2, 2), (1, 1)),
            ((8, 7), (5, 5), (1, 1), (1, 1)),
            ((9, 15), (5, 5), (2, 2), (1, 1)),
            ((7, 7), (7, 7), (1, 1), (1, 1)),
            ((6, 26), (7, 4), (2, 2), (1, 1)),
            ((9, 13), (2, 3), (1, 3), (2, 2)),
            ((4, 3), (1, 6), (1, 1), (1, 1)),
            // These are computed in several pieces.
            ((45, 41), (3, 3), (1, 1), (1, 1)),
            ((91, 41), (5, 4), (2, 2), (1, 1)),
        ] {
            let shape = (2, 37, size.0, size.1);
            let padding = (kernel.0 / 2, kernel.1 / 2);
            let mut g = geometry(shape, 37, kernel, stride, padding, dilation);
            g.groups = 37;
            let (x, w) = (values(g.batch * g.image(), 1), values(g.weights(), 2));
            let (dy, bias) = (values(g.batch * g.out_image(), 3), values(37, 4));
            let mut expected_y: Vec<f32> = bias.iter().copied().cycle().take(dy.len()).collect();
            let mut expected_dx = vec![0f32; x.len()];
            // The sum of the products, and of their sizes.
            let mut expected_dw = vec![(0f64, 0f64); w.len()];
            for (ky, kx) in (0..kernel.0).flat_map(|ky| (0..kernel.1).map(move |kx| (ky, kx))) {
                let rows = (g.height, g.out_height, ky);
                let columns = (g.width, g.out_width, kx);
                for (oy, iy) in pairs(rows, (stride.0, padding.0, dilation.0)) {
                    for (ox, ix) in pairs(columns, (stride.1, padding.1, dilation.1)) {
                        for (n, c) in (0..g.batch).flat_map(|n| (0..37).map(move |c| (n, c))) {
                            let tap = c * g.taps() + ky * kernel.1 + kx;
                            let w = w[tap];
                            let output = ((n * g.out_height + oy) * g.out_width + ox) * 37 + c;
                            let input = ((n * g.height + iy) * g.width + ix) * 37 + c;
                            let (y, dx) = (&mut expected_y[output], &mut expected_dx[input]);
                            *y = x[input].mul_add(w, *y);
                            *dx = dy[output].mul_add(w, *dx);
                            let product = f64::from(x[input]) * f64::from(dy[output]);
                            expected_dw[tap].0 += product;
                            expected_dw[tap].1 += product.abs();
                        }
                    }
                }
            }
            let (mut y, mut dx) = (vec![f32::NAN; dy.len()], vec![f32::NAN; x.len()]);
            forward(&g, Layout::Nhwc, &x, &w, Some(&bias), &mut y);
            input_grad(&g, Layout::Nhwc, &w, &dy, &mut dx);
            assert!(y == expected_y, "{g:?}");
            assert!(dx == expected_dx, "{g:?}");
            let mut dw = vec![f32::NAN; w.len()];
            let mut db = vec![f32::NAN; 37];
            weight_grad(&g, Layout::Nhwc, &x, &dy, &mut dw, Some(&mut db));
            let mut expected_db = vec![(0f64, 0f64); 37];
            for (i, &dy) in dy.iter().enumerate() {
                expected_db[i % 37].0 += f64::from(dy);
                expected_db[i % 37].1 += f64::from(dy).abs();
            }
            let found = dw.iter().chain(&db);
            for (&found, (sum, size)) in found.zip(expected_dw.into_iter().chain(expected_db)) {
                let error = (f64::from(found) - sum).abs();
                assert!(error <= 1e-6 * size, "{found} {sum} {g:?}");
            }
        }
    }
}
