//! Times and statistics by layer, on demand.

use std::time::Instant;

use candle_core::{Device, Tensor};
use tallow_datasets::DataLoader;
use tallow_models::Model;
use tallow_ops::no_grad;
use tallow_record::{LayerTime, StatisticsRow, TensorStatistics};
use tallow_train::{CONTINUE, Callback, EpochEnd, FitStart, Flow};

use crate::data::first_batch;
use crate::error::Result;

/// Forward passes of which the fastest is taken.
const PASSES: usize = 3;
/// Most images whose activations are measured.
const IMAGES: usize = 64;

/// Seconds of each layer in a forward pass of one training batch, in evaluation mode and layer by layer: the least of some passes.
pub(crate) fn layer_times(model: &Model, train: &DataLoader) -> Result<Vec<LayerTime>> {
    let Some(images) = images(model, train, train.config().batch_size)? else {
        return Ok(Vec::new());
    };
    let device = images.device().clone();
    let mut best: Vec<LayerTime> = Vec::new();
    // The first pass warms up.
    for pass in 0..=PASSES {
        let mut times = Vec::new();
        let mut last = Instant::now();
        no_grad(|| {
            model.forward_observed(&images, false, &mut |layer| {
                // A device that fails here fails the pass too.
                let _ = device.synchronize();
                let seconds = last.elapsed().as_secs_f64();
                times.push(LayerTime {
                    name: layer.name.to_string(),
                    kind: layer.kind.to_string(),
                    seconds,
                });
                last = Instant::now();
            })
        })?;
        match pass {
            0 => {}
            1 => best = times,
            _ => {
                for (best, time) in best.iter_mut().zip(times) {
                    best.seconds = best.seconds.min(time.seconds);
                }
            }
        }
    }
    Ok(best)
}

/// First training images on the device of the model.
fn images(model: &Model, train: &DataLoader, samples: usize) -> Result<Option<Tensor>> {
    let batch = first_batch(train, samples)?;
    let device = model.store().device();
    Ok(batch
        .map(|batch| batch.images.to_device(device))
        .transpose()?)
}

/// Callback that measures the output of each layer after each epoch, for the first training images in evaluation mode.
pub(crate) struct Activations<'a> {
    model: &'a Model,
    images: Option<Tensor>,
    rows: Vec<StatisticsRow>,
}

impl<'a> Activations<'a> {
    /// Activations for the first images of `train`.
    pub fn new(model: &'a Model, train: &DataLoader) -> Result<Self> {
        Ok(Self {
            model,
            images: images(model, train, train.config().batch_size.min(IMAGES))?,
            rows: Vec::new(),
        })
    }

    /// The rows with the gradients of other rows of the same epochs.
    pub fn with_gradients(self, gradients: &[StatisticsRow]) -> Vec<StatisticsRow> {
        let mut rows = self.rows;
        for row in &mut rows {
            let same = gradients.iter().find(|other| other.epoch == row.epoch);
            row.gradients = same
                .map(|other| other.gradients.clone())
                .unwrap_or_default();
        }
        rows
    }
}

impl Callback for Activations<'_> {
    fn on_fit_start(&mut self, _fit: &FitStart) -> Flow {
        self.rows.clear();
        CONTINUE
    }

    fn on_epoch_end(&mut self, end: &EpochEnd) -> Flow {
        let Some(images) = &self.images else {
            return CONTINUE;
        };
        let mut activations = Vec::new();
        no_grad(|| {
            self.model.forward_observed(images, false, &mut |layer| {
                let output = layer.output.detach().to_device(&Device::Cpu);
                let values = output.and_then(|output| output.flatten_all()?.to_vec1::<f32>());
                // Layers of other types than f32 are left out.
                if let Ok(values) = values {
                    activations.push((layer.name.to_string(), TensorStatistics::of(&values)));
                }
            })
        })
        .map_err(tallow_train::Error::custom)?;
        self.rows.push(StatisticsRow {
            epoch: end.row.epoch,
            gradients: Vec::new(),
            activations,
        });
        CONTINUE
    }
}
