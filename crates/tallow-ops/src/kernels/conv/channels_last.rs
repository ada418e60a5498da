//! Convolution without groups of `f32` in `(N, H, W, C)`: by Winograd's filtering where it saves multiplications, else unfolded.

use super::geometry::Geometry;
use super::passes::Epilogue;
use super::{unfold, winograd};

/// True if these algorithms can run the convolution.
pub(crate) fn suits(g: &Geometry) -> bool {
    g.groups == 1 && g.batch > 0
}

/// The convolution of `x` with `w`; every element of `y` is written.
pub(crate) fn forward(g: &Geometry, x: &[f32], w: &[f32], epilogue: Epilogue, y: &mut [f32]) {
    if winograd::suits(g) {
        winograd::forward(g, x, w, epilogue, y)
    } else {
        unfold::forward(g, x, w, epilogue, y)
    }
}

/// Gradient of the input; every element of `dx` is written.
pub(crate) fn input_grad(g: &Geometry, w: &[f32], dy: &[f32], dx: &mut [f32]) {
    if winograd::suits(g) {
        winograd::input_grad(g, w, dy, dx)
    } else {
        unfold::input_grad(g, w, dy, dx)
    }
}

/// Gradient of the weight; every element of `dw` is written.
pub(crate) fn weight_grad(g: &Geometry, x: &[f32], dy: &[f32], dw: &mut [f32]) {
    if winograd::suits(g) {
        winograd::weight_grad(g, x, dy, dw)
    } else {
        unfold::weight_grad(g, x, dy, dw)
    }
}
