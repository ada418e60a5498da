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

/// Batch of samples whose images are to be made elsewhere, from the images of the dataset and the tables of the transforms: by a GPU, say.
///
/// It holds what the transforms drew, the numbers of [`Batch`] of the same place: see [`Arrangement`](tallow_transforms::Arrangement) for the
/// codes.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct ArrangedBatch {
    /// Code of each row of each image, `(N, H)`.
    pub rows: Vec<i32>,
    /// Code of each column of each image, `(N, W)`.
    pub columns: Vec<i32>,
    /// Values of the fills, `(F, C)`, the same for all images.
    pub fills: Vec<f32>,
    /// Labels.
    pub labels: Vec<u32>,
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
