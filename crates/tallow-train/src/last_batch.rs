//! Last batch of an epoch that has one sample.

use candle_core::Tensor;
use candle_nn::ModuleT;
use tallow_datasets::{DataLoader, LoaderConfig};
use tallow_ops::{ParamStore, no_grad};

use crate::batch::to_store;
use crate::chunks::lens;
use crate::error::{Error, Result};
use crate::snapshot::Snapshot;

/// Checks before training that `model` can be trained on the last batch of an epoch of `train`, if that batch has one sample.
///
/// Batch norm cannot normalize a single value per channel, `N H W = 1`: PyTorch ("Expected more than 1 value per channel when training")
/// and this crate stop there, at the end of the first epoch. A single image with larger feature maps has a variance and is trained
/// on, as in PyTorch. The model itself is asked: it is run in training mode on one image, and on two if that fails. Its parameters,
/// running statistics and generator are restored. In all other cases nothing is run.
///
/// The last batch is refused and not merged into the one before it: a batch of another size would be trained without a word, with other
/// results than PyTorch's for the same settings.
///
/// [`Trainer::fit`](crate::Trainer::fit) checks this itself. A program that trains several models checks all of them before the first.
///
/// # Errors
/// [`Error::LastBatch`] when one image fails and two do not.
pub fn check_last_batch(model: &dyn ModuleT, store: &ParamStore, train: &DataLoader) -> Result<()> {
    let batch_size = train.config().batch_size;
    let samples = train.num_samples();
    let full = train.num_batches().saturating_sub(1) * batch_size;
    if samples != full + 1 {
        return Ok(());
    }
    match single_sample_error(model, store, train)? {
        None => Ok(()),
        Some(source) => Err(Error::LastBatch {
            samples,
            batch_size,
            source,
        }),
    }
}

/// Checks before training that `model` can be trained on the smallest of `chunks` chunks of a batch of `train`, if that has one sample. As
/// [`check_last_batch`] otherwise.
///
/// # Errors
/// [`Error::Config`] when one image fails and two do not.
pub fn check_chunks(
    model: &dyn ModuleT,
    store: &ParamStore,
    train: &DataLoader,
    chunks: usize,
) -> Result<()> {
    let samples = train.num_samples();
    let most = train.config().batch_size.min(samples);
    let last = samples - train.num_batches().saturating_sub(1) * most;
    let single = |size: usize| lens(size, chunks).any(|len| len == 1);
    let Some(size) = [most, last].into_iter().find(|&size| single(size)) else {
        return Ok(());
    };
    match single_sample_error(model, store, train)? {
        None => Ok(()),
        Some(source) => Err(Error::config(
            "chunks",
            format!(
                "{chunks} chunks leave one of a single sample in a batch of {size}, which the model cannot be trained on ({source}): \
                 choose fewer chunks or a larger `batch_size`, or set `drop_last` for a smaller last batch"
            ),
        )),
    }
}

/// Error of the model for a batch of one sample; `None` if it takes one, or does not take two either.
fn single_sample_error(
    model: &dyn ModuleT,
    store: &ParamStore,
    train: &DataLoader,
) -> Result<Option<candle_core::Error>> {
    let single = LoaderConfig {
        batch_size: 1,
        num_workers: 0,
        ..train.config().clone()
    };
    let single = DataLoader::new(train.dataset().clone(), train.transform().clone(), single)?;
    let Some(batch) = single.epoch(0).next() else {
        return Ok(None);
    };
    let (image, _) = to_store(&batch?, store)?;
    let before = Snapshot::of(store)?;
    let forward = |images: &Tensor| no_grad(|| model.forward_t(images, true));
    let result = match forward(&image) {
        Ok(_) => None,
        // A model that fails on any batch has another fault, which the first step reports.
        Err(source) => Tensor::cat(&[&image, &image], 0)
            .and_then(|two| forward(&two))
            .ok()
            .map(|_| source),
    };
    before.restore(store)?;
    Ok(result)
}
