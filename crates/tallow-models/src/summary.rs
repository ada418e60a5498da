/// What a model consists of, layer by layer; made by [`crate::Model::summary`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Summary {
    /// The model.
    pub model: &'static str,
    /// The images it takes, `(C, H, W)`.
    pub input_shape: (usize, usize, usize),
    /// The leaf layers in the order they run.
    pub layers: Vec<LayerSummary>,
    /// Trained values in all.
    pub parameters: usize,
    /// Multiplications, each with its addition, for one image, in convolutions and linear layers.
    pub multiply_adds: u64,
}

/// One leaf layer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LayerSummary {
    /// The dotted name.
    pub name: String,
    /// PyTorch's name for this kind of layer.
    pub kind: &'static str,
    /// `(C, H, W)` or `(F)`.
    pub output_shape: Vec<usize>,
    /// Trained values in it.
    pub parameters: usize,
    /// Multiplications, each with its addition, for one image.
    pub multiply_adds: u64,
}
