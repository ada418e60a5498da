//! Batches of transformed images, in this thread or from background threads.

mod batch;
mod config;
mod epoch;
mod plan;
mod share;

use std::fmt;
use std::sync::Arc;

use tallow_transforms::Compose;

use crate::block_sampler::BlockSampler;
use crate::dataset::Dataset;
use crate::error::{Error, Result};
use crate::sampler::{
    FixedSampler, RandomSampler, Sampler, SequentialSampler, ShardedSampler, check_rank,
};
pub use batch::{ArrangedBatch, Batch};
pub use config::LoaderConfig;
pub use epoch::Epoch;
use epoch::Make;
use plan::Plan;
pub use share::BatchSlice;
use share::Share;

/// Data loader: batches of a dataset, epoch after epoch, as `torch.utils.data.DataLoader`.
///
/// A batch depends on the dataset, the transforms, the seed, the epoch and its place in it, and on nothing else: any
/// number of workers gives the same bits in the same order. An epoch visits every sample once (less what `drop_last`
/// leaves out), unless [`with_sampler`](DataLoader::with_sampler) sets another order. Clones share the dataset. Of a dataset that is
/// streamed in blocks, a shuffled order keeps the samples of a block near each other ([`BlockSampler`]).
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
    sampler: Arc<dyn Sampler>,
    share: Share,
}

impl DataLoader {
    /// Data loader over all of `dataset`.
    ///
    /// # Errors
    /// [`Error::Argument`] for a batch size of 0 and for blocks of another number of samples, [`Error::Transform`] when the transforms do not suit the shape that
    /// the images of the dataset share.
    pub fn new(
        dataset: Arc<dyn Dataset>,
        transform: Compose,
        config: LoaderConfig,
    ) -> Result<Self> {
        if config.batch_size == 0 {
            return Err(Error::Argument(
                "the batch size is 0: expected at least 1".into(),
            ));
        }
        if let Some(shape) = dataset.shape() {
            transform.output_shape(shape)?;
        }
        let sampler: Arc<dyn Sampler> = match config.shuffle {
            false => Arc::new(SequentialSampler::new(dataset.len())),
            true => match block_sampler(&*dataset, config.seed)? {
                None => Arc::new(RandomSampler::new(dataset.len(), config.seed)),
                Some(blocks) => Arc::new(blocks),
            },
        };
        Ok(Self {
            dataset,
            transform: Arc::new(transform),
            config,
            sampler,
            share: Share::All,
        })
    }

    /// Replaces the order of the samples that [`LoaderConfig::shuffle`] gave.
    pub fn with_sampler(self, sampler: Arc<dyn Sampler>) -> Self {
        Self { sampler, ..self }
    }

    /// Loader for training on batches that are cut into `chunks`: where the dataset is read in blocks and shuffled, each chunk gets samples
    /// of its own blocks ([`BlockSampler::in_chunks`]), so that each of several ranks, which have a [`slice`](Self::slice) of each batch,
    /// reads its share of the dataset and not all of it. Otherwise the loader stays as it is. An order of [`with_sampler`](Self::with_sampler)
    /// is to be set after this.
    ///
    /// # Errors
    /// [`Error::Argument`] for blocks of another number of samples than the dataset has.
    pub fn for_chunks(self, chunks: usize) -> Result<Self> {
        if !self.config.shuffle {
            return Ok(self);
        }
        let LoaderConfig {
            batch_size, seed, ..
        } = self.config;
        Ok(match block_sampler(&*self.dataset, seed)? {
            None => self,
            Some(blocks) => self.with_sampler(Arc::new(blocks.in_chunks(batch_size, chunks))),
        })
    }

    /// Loader of every `world`-th sample of each epoch, from position `rank` on: see [`ShardedSampler`].
    ///
    /// Ranks may have different numbers of batches, so that ranks which wait for each other in every step would wait forever: those
    /// take a [`slice`](Self::slice) of each batch.
    ///
    /// # Errors
    /// [`Error::Argument`] unless `rank < world`.
    pub fn shard(self, rank: usize, world: usize) -> Result<Self> {
        let sampler = ShardedSampler::new(self.sampler.clone(), rank, world)?;
        Ok(self.with_sampler(Arc::new(sampler)))
    }

    /// Loader of a slice of each batch, for a rank that trains on it together with others. All ranks have the same number of batches, and
    /// together the samples of a loader without slices, whatever their number. The batch of an empty slice has no sample.
    ///
    /// # Errors
    /// [`Error::Argument`] unless `rank < world` and `chunks` is a multiple of `world`, and for a loader that is a share already.
    pub fn slice(self, slice: BatchSlice) -> Result<Self> {
        slice.validate()?;
        self.with_share(Share::Slice(slice))
    }

    /// Loader of every `world`-th batch of each epoch, from number `rank` on, each as it is: for a rank that evaluates a set together with
    /// others. The first ranks may have one batch more.
    ///
    /// # Errors
    /// [`Error::Argument`] unless `rank < world`, and for a loader that is a share already.
    pub fn deal(self, rank: usize, world: usize) -> Result<Self> {
        check_rank(rank, world)?;
        self.with_share(Share::Deal { rank, world })
    }

    fn with_share(self, share: Share) -> Result<Self> {
        match self.share {
            Share::All => Ok(Self { share, ..self }),
            Share::Slice(_) | Share::Deal { .. } => Err(Error::Argument(
                "the loader is the share of a rank already: expected one of whole epochs".into(),
            )),
        }
    }

    /// Loader of the first `batches` batches of epoch 0, the same samples in the same order in every epoch. Random transforms still
    /// differ from epoch to epoch.
    #[must_use]
    pub fn first_batches(&self, batches: usize) -> Self {
        let mut indices = self.sampler.indices(0);
        indices.truncate(self.samples_of_all());
        indices.truncate(batches.saturating_mul(self.config.batch_size));
        self.clone()
            .with_sampler(Arc::new(FixedSampler::new(indices)))
    }

    /// Number of batches in an epoch.
    pub fn num_batches(&self) -> usize {
        self.share.batches(self.config.batches(self.sampler.len()))
    }

    /// Number of samples in an epoch, without those of a dropped last batch.
    pub fn num_samples(&self) -> usize {
        self.share
            .samples(self.samples_of_all(), self.config.batch_size)
    }

    /// Number of samples in an epoch of all shares.
    fn samples_of_all(&self) -> usize {
        let samples = self.sampler.len();
        let batches = self.config.batches(samples);
        samples.min(batches.saturating_mul(self.config.batch_size))
    }

    /// Dataset of the loader.
    pub fn dataset(&self) -> &Arc<dyn Dataset> {
        &self.dataset
    }

    /// Transforms applied to each image.
    pub fn transform(&self) -> &Compose {
        &self.transform
    }

    /// Hyper-parameters of the loader.
    pub fn config(&self) -> &LoaderConfig {
        &self.config
    }

    /// Batches of one epoch. Workers, if any, start now.
    pub fn epoch(&self, epoch: u64) -> Epoch {
        self.epoch_from(epoch, 0)
    }

    /// Batches of one epoch from batch `first` on, the same as those that [`epoch`](Self::epoch) gives after `first` others. The
    /// skipped ones are not made: no image of them is read. None from the end of the epoch on.
    pub fn epoch_from(&self, epoch: u64, first: usize) -> Epoch {
        self.start(epoch, first, Arc::new(Plan::batch))
    }

    /// Draws of the transforms for the batches of one epoch, from batch `first` on, for images that are made elsewhere: the batches of
    /// [`epoch_from`](Self::epoch_from), to the bit. `None` unless the images of the dataset share a shape and the transforms have
    /// [`tables`](Compose::tables).
    pub fn arranged_from(&self, epoch: u64, first: usize) -> Option<Epoch<ArrangedBatch>> {
        let shape = self.dataset.shape()?;
        self.transform.tables()?;
        let make = move |plan: &Plan, number: usize, _: &mut Vec<u8>| plan.arranged(number, shape);
        Some(self.start(epoch, first, Arc::new(make)))
    }

    fn start<B: Send + 'static>(&self, epoch: u64, first: usize, make: Arc<Make<B>>) -> Epoch<B> {
        let plan = Plan::new(
            self.dataset.clone(),
            self.transform.clone(),
            &self.config,
            epoch,
            self.sampler.indices(epoch),
            self.share,
        );
        Epoch::start(
            Arc::new(plan),
            make,
            first,
            self.config.num_workers,
            self.config.prefetch,
        )
    }
}

/// Random order of a dataset that is read in blocks; `None` for one that is not.
fn block_sampler(dataset: &dyn Dataset, seed: u64) -> Result<Option<BlockSampler>> {
    let Some(blocks) = dataset.blocks() else {
        return Ok(None);
    };
    let (samples, of) = (dataset.len(), blocks.of().len());
    if of != samples {
        return Err(Error::Argument(format!(
            "the dataset `{}` has {samples} samples and gives the blocks of {of}: expected one block for each sample",
            dataset.info().name
        )));
    }
    Ok(Some(BlockSampler::new(&blocks, seed)))
}

impl fmt::Debug for DataLoader {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("DataLoader")
            .field("dataset", self.dataset.info())
            .field("transform", &self.transform)
            .field("config", &self.config)
            .field("sampler", &self.sampler)
            .field("share", &self.share)
            .finish()
    }
}
