//! Convolution with one input channel to a group.

mod axis;
mod pixels;
mod plain;
mod planes;

use pulp::Arch;

use super::geometry::Geometry;
use super::passes::Gradients;
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
            Layout::Nhwc => pixels::forward(g, x, &plain::by_tap(g, w), bias, y),
        };
    }
    plain::forward(g, layout, x, w, bias, y);
}

/// The gradients of input and weight.
pub(crate) fn backward<T: Real>(
    g: &Geometry,
    layout: Layout,
    x: &[T],
    w: &[T],
    dy: &[T],
    mut into: Gradients<T>,
) {
    if in_registers(g, layout)
        && let (Some(x), Some(w), Some(dy)) = (T::f32s(x), T::f32s(w), T::f32s(dy))
    {
        if let Some(dx) = into.input.take().and_then(T::f32s_mut) {
            match layout {
                Layout::Nchw => planes::grad_input(g, w, dy, dx),
                Layout::Nhwc => pixels::grad_input(g, &plain::by_tap(g, w), dy, dx),
            }
        }
        if let Some(dw) = into.weight.take().and_then(T::f32s_mut) {
            match layout {
                Layout::Nchw => planes::grad_weight(g, x, dy, dw),
                Layout::Nhwc => pixels::grad_weight(g, x, dy, dw),
            }
        }
        return;
    }
    plain::backward(g, layout, x, w, dy, into);
}
