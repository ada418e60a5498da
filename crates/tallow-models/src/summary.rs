/// Table of a model's layers; made by [`Model::summary`](crate::Model::summary).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ModelSummary {
    /// Name of the model.
    pub model: String,
    /// Shape of an input image, `(C, H, W)`.
    pub input_shape: (usize, usize, usize),
    /// Leaf layers in the order in which they run.
    pub layers: Vec<LayerSummary>,
    /// Number of trained values.
    pub parameters: usize,
    /// Multiply-adds for one image, in convolutions and linear layers.
    pub multiply_adds: u64,
}

/// Row of a [`ModelSummary`]: one leaf layer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LayerSummary {
    /// Dotted name, such as `features.0`.
    pub name: String,
    /// PyTorch's name of the kind of layer, such as `Conv2d`.
    pub kind: &'static str,
    /// Output shape, `[C, H, W]` or `[F]`.
    pub output_shape: Vec<usize>,
    /// Number of trained values in the layer.
    pub parameters: usize,
    /// Multiply-adds for one image.
    pub multiply_adds: u64,
}
