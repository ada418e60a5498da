//! Convolution kernels. Each algorithm offers the same four passes; which one runs is decided in `crate::conv`.

mod bias;
pub(crate) mod channels_last;
pub(crate) mod depthwise;
pub(crate) mod direct;
mod geometry;
mod im2col;
pub(crate) mod matmul;
mod unfold;
mod winograd;

pub(crate) use bias::grad_bias;
pub(crate) use geometry::Geometry;

/// What a backward pass is to fill; a gradient nobody asked for is `None`.
pub(crate) struct Gradients<'a, T> {
    /// Shaped as the input, all zeros on entry.
    pub(crate) input: Option<&'a mut [T]>,
    /// Shaped as the weight.
    pub(crate) weight: Option<&'a mut [T]>,
}

/// What a convolution does to its result while it is at hand: `relu(result * scale + bias + addend)`, or what of it is there.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Epilogue<'a> {
    /// One value a channel.
    pub(crate) scale: Option<&'a [f32]>,
    /// One value a channel.
    pub(crate) bias: Option<&'a [f32]>,
    /// Of the result's shape.
    pub(crate) addend: Option<&'a [f32]>,
    /// Whether negative values become zero.
    pub(crate) relu: bool,
}
