//! Convolution kernels. Each algorithm has the same passes; `crate::conv` chooses one.

mod bias;
pub(crate) mod channels_last;
pub(crate) mod depthwise;
pub(crate) mod direct;
pub(crate) mod geometry;
mod im2col;
pub(crate) mod matmul;
mod passes;
mod unfold;
mod winograd;

pub(crate) use bias::grad_bias;
pub(crate) use geometry::Geometry;
pub(crate) use passes::{Epilogue, Gradients};
