//! Hyper-parameters of a data loader.

use serde::{Deserialize, Serialize};

/// Hyper-parameters of a [`DataLoader`](crate::DataLoader).
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct LoaderConfig {
    /// Number of samples in a batch.
    pub batch_size: usize,
    /// Draw a new order every epoch ([`RandomSampler`](crate::RandomSampler), or [`BlockSampler`](crate::BlockSampler) for a dataset that
    /// has [`blocks`](crate::Dataset::blocks)); otherwise keep that of the dataset.
    pub shuffle: bool,
    /// Leave out the last batch of an epoch if it is smaller than the others.
    pub drop_last: bool,
    /// Number of background threads; with 0 the calling thread makes each batch when it is asked for.
    pub num_workers: usize,
    /// Number of finished batches that each worker keeps ready, beside the one it is making.
    pub prefetch: usize,
    /// Seed of the order and of the random transforms.
    pub seed: u64,
}

impl Default for LoaderConfig {
    /// Batches of 64 in order, in the calling thread; 2 batches of prefetch for each worker once there are any.
    fn default() -> Self {
        Self {
            batch_size: 64,
            shuffle: false,
            drop_last: false,
            num_workers: 0,
            prefetch: 2,
            seed: 0,
        }
    }
}

impl LoaderConfig {
    /// Number of batches that `samples` make.
    pub(super) fn batches(&self, samples: usize) -> usize {
        if self.drop_last {
            samples / self.batch_size
        } else {
            samples.div_ceil(self.batch_size)
        }
    }
}
