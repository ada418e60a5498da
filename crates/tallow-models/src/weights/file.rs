use candle_core::Tensor;

/// Content of a file of weights.
#[derive(Debug, Default)]
pub(super) struct WeightsFile {
    /// Names and tensors, in the file's order.
    pub tensors: Vec<(String, Tensor)>,
    /// Keys that lead to the state dict read, joined by dots; empty where the file is one.
    pub key: String,
    /// Keys of other state dicts in the file.
    pub others: Vec<String>,
    /// Rest of the key asked for, which is a prefix of names.
    pub rest: Option<String>,
}
