//! Batch of samples.

use candle_core::Tensor;

/// Batch of transformed samples.
#[derive(Debug, Clone)]
pub struct Batch {
    /// Images, f32 `(N, C, H, W)` on the CPU.
    pub images: Tensor,
    /// Labels, u32 `(N)` on the CPU.
    pub labels: Tensor,
    /// Indices of the samples in the dataset.
    pub indices: Vec<usize>,
}

impl Batch {
    /// Number of samples.
    pub fn len(&self) -> usize {
        self.indices.len()
    }

    /// True when there is no sample, as in the batch of an empty [`slice`](crate::DataLoader::slice). No other batch is.
    pub fn is_empty(&self) -> bool {
        self.indices.is_empty()
    }
}
