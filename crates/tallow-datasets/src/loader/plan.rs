//! Plan of one epoch: everything that its batches depend on, and the making of one batch.

use std::any::Any;
use std::borrow::Cow;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use candle_core::{Device, Tensor};
use tallow_transforms::{Arrangement, Compose, SampleRng};

use crate::dataset::Dataset;
use crate::error::{Error, Result};
use crate::loader::batch::{ArrangedBatch, Batch};
use crate::loader::config::LoaderConfig;
use crate::loader::share::Share;

pub(super) struct Plan {
    dataset: Arc<dyn Dataset>,
    transform: Arc<Compose>,
    order: Vec<usize>,
    batch_size: usize,
    batches: usize,
    seed: u64,
    epoch: u64,
    random: bool,
    share: Share,
    stopped: AtomicBool,
}

impl Plan {
    pub fn new(
        dataset: Arc<dyn Dataset>,
        transform: Arc<Compose>,
        config: &LoaderConfig,
        epoch: u64,
        order: Vec<usize>,
        share: Share,
    ) -> Self {
        Self {
            random: transform.is_random(),
            dataset,
            transform,
            batch_size: config.batch_size,
            // Of the indices given: a sampler may give another number than it announced.
            batches: share.batches(config.batches(order.len())),
            order,
            seed: config.seed,
            epoch,
            share,
            stopped: AtomicBool::new(false),
        }
    }

    pub fn batches(&self) -> usize {
        self.batches
    }

    /// Makes every batch under way fail at its next sample.
    pub fn stop(&self) {
        self.stopped.store(true, Ordering::Relaxed);
    }

    /// Batch `number` of the epoch. A dataset that panics gives an error; `scratch` may hold anything.
    pub fn batch(&self, number: usize, scratch: &mut Vec<u8>) -> Result<Batch> {
        self.guarded(number, |indices| self.make(indices, scratch))
    }

    /// Draws of the transforms for batch `number` of the epoch, whose images have `shape`.
    pub fn arranged(&self, number: usize, shape: (usize, usize, usize)) -> Result<ArrangedBatch> {
        self.guarded(number, |indices| self.arrange(indices, shape))
    }

    /// Calls `make` with the indices of a batch.
    fn guarded<B>(&self, number: usize, make: impl FnOnce(&[usize]) -> Result<B>) -> Result<B> {
        let start = self.share.number(number) * self.batch_size;
        let end = start.saturating_add(self.batch_size).min(self.order.len());
        let indices = self.share.indices(&self.order[start..end]);
        // The dataset is behind a shared reference and the rest of what the closure touches is dropped or overwritten.
        catch_unwind(AssertUnwindSafe(|| make(&indices))).unwrap_or_else(|panic| {
            Err(Error::Loader(format!(
                "batch {number}: the dataset or a transform panicked: {}",
                message(&*panic)
            )))
        })
    }

    fn make(&self, indices: &[usize], scratch: &mut Vec<u8>) -> Result<Batch> {
        let mut pixels = Vec::new();
        let mut labels = Vec::with_capacity(indices.len());
        // Shape of the image before, and what the transforms make of it: most often the same for all.
        let (mut input, mut output) = ((0, 0, 0), (0, 0, 0));
        let mut first = output;
        let mut rng = SampleRng::new(self.seed, self.epoch, 0);
        for (slot, &index) in indices.iter().enumerate() {
            if self.stopped.load(Ordering::Relaxed) {
                return Err(Error::Loader("stopped".into()));
            }
            let name = || self.dataset.name(index).map(Cow::into_owned);
            let at_sample = |source| Error::Sample {
                index,
                name: name(),
                source,
            };
            let image = self.dataset.image(index, scratch)?;
            if image.shape() != input {
                input = image.shape();
                output = self.transform.output_shape(input).map_err(at_sample)?;
            }
            let (c, h, w) = output;
            if slot == 0 {
                first = output;
                let size = c
                    .checked_mul(h)
                    .and_then(|s| s.checked_mul(w)?.checked_mul(indices.len()));
                let too_large = || {
                    Error::Argument(format!(
                        "a batch of {} images of {c}x{h}x{w} is too large",
                        indices.len()
                    ))
                };
                pixels = vec![0.0; size.ok_or_else(too_large)?];
            } else if output != first {
                return Err(Error::Shapes {
                    index,
                    name: name(),
                    expected: first,
                    found: output,
                });
            }
            let size = c * h * w;
            if self.random {
                rng = SampleRng::new(self.seed, self.epoch, index as u64);
            }
            touch(image.data);
            let out = &mut pixels[slot * size..][..size];
            self.transform
                .apply(image, &mut rng, out)
                .map_err(at_sample)?;
            labels.push(self.dataset.label(index)?);
        }
        let (c, h, w) = first;
        Ok(Batch {
            images: Tensor::from_vec(pixels, (indices.len(), c, h, w), &Device::Cpu)?,
            labels: Tensor::from_vec(labels, indices.len(), &Device::Cpu)?,
            indices: indices.to_vec(),
        })
    }
}

impl Plan {
    fn arrange(&self, indices: &[usize], shape: (usize, usize, usize)) -> Result<ArrangedBatch> {
        let mut batch = ArrangedBatch {
            labels: Vec::with_capacity(indices.len()),
            indices: indices.to_vec(),
            ..ArrangedBatch::default()
        };
        let mut one = Arrangement::default();
        for (slot, &index) in indices.iter().enumerate() {
            if self.stopped.load(Ordering::Relaxed) {
                return Err(Error::Loader("stopped".into()));
            }
            let mut rng = SampleRng::new(self.seed, self.epoch, index as u64);
            let drawn = self.transform.arrange(shape, &mut rng, &mut one);
            drawn.map_err(|source| Error::Sample {
                index,
                name: self.dataset.name(index).map(Cow::into_owned),
                source,
            })?;
            if slot == 0 {
                batch.fills.clone_from(&one.fills);
            } else if batch.fills != one.fills
                || (batch.rows.len(), batch.columns.len())
                    != (slot * one.rows.len(), slot * one.columns.len())
            {
                let message = format!(
                    "sample {index}: its size, or the values of its borders, are not those of the samples before"
                );
                return Err(Error::Loader(message));
            }
            batch.rows.extend_from_slice(&one.rows);
            batch.columns.extend_from_slice(&one.columns);
            batch.labels.push(self.dataset.label(index)?);
        }
        Ok(batch)
    }
}

/// Asks for all of an image at once: reading one byte of each cache line lets the misses of a shuffled order overlap,
/// which the transforms, going pixel by pixel, would wait for one after the other.
fn touch(data: &[u8]) {
    std::hint::black_box(data.iter().step_by(64).fold(0, |all, byte| all ^ byte));
}

/// Message of a panic.
fn message(panic: &(dyn Any + Send)) -> &str {
    let text = panic.downcast_ref::<&str>().copied();
    text.or_else(|| panic.downcast_ref::<String>().map(String::as_str))
        .unwrap_or("without a message")
}
