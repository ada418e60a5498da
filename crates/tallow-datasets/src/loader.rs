//! Batches of transformed images, in this thread or from background threads.

mod epoch;
mod plan;

use std::fmt;
use std::sync::Arc;

use candle_core::Tensor;
use serde::{Deserialize, Serialize};
use tallow_transforms::Compose;

use crate::dataset::Dataset;
use crate::error::{Error, Result};
use crate::sampler::Sampler;
pub use epoch::Epoch;
use plan::Plan;

/// How a [`DataLoader`] makes batches.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct LoaderConfig {
    /// Samples in a batch.
    pub batch_size: usize,
    /// A new order every epoch; otherwise the order of the dataset.
    pub shuffle: bool,
    /// Leave out the last batch where it is smaller than the others.
    pub drop_last: bool,
    /// Background threads; 0 makes each batch in the calling thread when it is asked for.
    pub num_workers: usize,
    /// Finished batches that each worker keeps waiting, beside the one it is at work on.
    pub prefetch: usize,
    /// Of the order and of the random transforms.
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

/// Some samples, transformed and stacked.
#[derive(Debug, Clone)]
pub struct Batch {
    /// f32 `(N, C, H, W)` on the CPU.
    pub images: Tensor,
    /// u32 `(N)` on the CPU.
    pub labels: Tensor,
    /// Which samples of the dataset they are.
    pub indices: Vec<usize>,
}

/// Turns a dataset into batches, epoch after epoch, as `torch.utils.data.DataLoader` does.
///
/// A batch depends on the dataset, the transforms, the seed, the epoch and its place in it, and on nothing else: any
/// number of workers gives the same bits in the same order. An epoch visits every sample once (less what `drop_last`
/// leaves out). Cloning shares the dataset.
///
/// ```
/// use std::sync::Arc;
/// use tallow_datasets::{DataLoader, ImageSet, LoaderConfig, Split};
/// use tallow_transforms::{Compose, TransformConfig};
///
/// let classes = vec!["dark".to_owned(), "light".to_owned()];
/// let pixels = vec![0, 10, 20, 30, 200, 210, 220, 230]; // two grey images of 2 x 2
/// let set = ImageSet::from_parts("toy", Split::Train, "made up", classes, (1, 2, 2), pixels, vec![0, 1])?;
/// let config = LoaderConfig { batch_size: 2, ..LoaderConfig::default() };
/// let loader = DataLoader::new(Arc::new(set), Compose::new(vec![TransformConfig::to_tensor()])?, config)?;
/// for batch in loader.epoch(0) {
///     let batch = batch?;
///     assert_eq!(batch.images.dims(), [2, 1, 2, 2]);
///     assert_eq!(batch.labels.to_vec1::<u32>()?, [0, 1]);
/// }
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone)]
pub struct DataLoader {
    dataset: Arc<dyn Dataset>,
    transform: Arc<Compose>,
    config: LoaderConfig,
    sampler: Sampler,
}

impl DataLoader {
    /// A loader over all of `dataset`.
    ///
    /// [`Error::Argument`] for a batch size of 0, [`Error::Transform`] when the transforms do not suit the shape that
    /// the images of the dataset share.
    pub fn new(
        dataset: Arc<dyn Dataset>,
        transform: Compose,
        config: LoaderConfig,
    ) -> Result<Self> {
        if config.batch_size == 0 {
            return Err(Error::Argument(
                "a batch needs at least one sample: the batch size is 0".into(),
            ));
        }
        if let Some(shape) = dataset.shape() {
            transform.output_shape(shape)?;
        }
        let samples = dataset.len();
        let sampler = if config.shuffle {
            Sampler::shuffled(samples, config.seed)
        } else {
            Sampler::sequential(samples)
        };
        Ok(Self {
            dataset,
            transform: Arc::new(transform),
            config,
            sampler,
        })
    }

    /// This loader on every `world`-th sample of each epoch's order, from entry `rank` on: see [`Sampler::shard`].
    pub fn shard(self, rank: usize, world: usize) -> Result<Self> {
        Ok(Self {
            sampler: self.sampler.shard(rank, world)?,
            ..self
        })
    }

    /// Batches in an epoch.
    pub fn num_batches(&self) -> usize {
        let (samples, size) = (self.sampler.len(), self.config.batch_size);
        if self.config.drop_last {
            samples / size
        } else {
            samples.div_ceil(size)
        }
    }

    /// Samples in an epoch, those of a dropped last batch not counted.
    pub fn num_samples(&self) -> usize {
        self.sampler
            .len()
            .min(self.num_batches().saturating_mul(self.config.batch_size))
    }

    /// The dataset.
    pub fn dataset(&self) -> &Arc<dyn Dataset> {
        &self.dataset
    }

    /// What is done to each image.
    pub fn transform(&self) -> &Compose {
        &self.transform
    }

    /// The configuration.
    pub fn config(&self) -> &LoaderConfig {
        &self.config
    }

    /// The batches of one epoch. With workers, they start now.
    pub fn epoch(&self, epoch: u64) -> Epoch {
        let plan = Plan::new(self, epoch, self.sampler.order(epoch));
        Epoch::start(
            Arc::new(plan),
            self.config.num_workers,
            self.config.prefetch,
        )
    }
}

impl fmt::Debug for DataLoader {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("DataLoader")
            .field("dataset", self.dataset.info())
            .field("transform", &self.transform)
            .field("config", &self.config)
            .field("sampler", &self.sampler)
            .finish()
    }
}
