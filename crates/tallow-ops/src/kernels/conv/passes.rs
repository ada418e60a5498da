//! Arguments of the passes of a convolution.

/// Gradients that a backward pass computes; those not wanted are `None`.
pub(crate) struct Gradients<'a, T> {
    /// Shaped as the input, all zeros on entry.
    pub(crate) input: Option<&'a mut [T]>,
    /// Shaped as the weight.
    pub(crate) weight: Option<&'a mut [T]>,
}

/// Epilogue of a convolution: `relu(result * scale + bias + addend)`, without the parts that are `None` or false.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Epilogue<'a> {
    /// One value per channel.
    pub(crate) scale: Option<&'a [f32]>,
    /// One value per channel.
    pub(crate) bias: Option<&'a [f32]>,
    /// Tensor of the result's shape.
    pub(crate) addend: Option<&'a [f32]>,
    /// ReLU at the end.
    pub(crate) relu: bool,
}
