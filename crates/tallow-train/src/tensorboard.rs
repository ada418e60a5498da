//! Callback that writes TensorBoard event files.

use std::path::Path;

use candle_core::{DType, Device, Tensor, Var};
use tallow_tensorboard::{EventWriter, Image};

use crate::callback::{CONTINUE, Callback, EpochEnd, FitStart, Flow};
use crate::error::Result;
use crate::grid::make_grid;
use tallow_record::EpochRow;
use tallow_record::GradientRow;

/// Maximum number of epochs with histograms and filters, besides the last one.
const SNAPSHOTS: usize = 20;
/// Maximum number of filters in an image.
const FILTERS: usize = 64;
/// Approximate size of a filter in the image, in pixels.
const FILTER_SIZE: usize = 24;

/// TensorBoard event file of a training run. The steps are epochs, from 0, as in `metrics.jsonl`.
///
/// | tag | content |
/// | --- | --- |
/// | `train/loss`, `train/accuracy`, `test/loss`, `test/accuracy`, `test/top5`, `lr`, `images_per_second` | metrics of each epoch, as `f32`; `validation/...` instead of `test/...` in a run with validation data |
/// | `test/<name>` | metrics of [`Trainer::with_metric`](crate::Trainer::with_metric) |
/// | `gradients/total` | norm of the gradient, by [`gradients`](Self::gradients) |
/// | `parameters/<name>` | histogram of the values of each parameter, at up to 20 epochs and the last one |
/// | `filters` | filters of the first parameter, if it is the weight of a convolution with 1 or 3 input channels: minimum black, maximum white, at the same epochs |
///
/// Other events are written with the [`writer`](Self::writer). The callback does not affect the training.
pub struct TensorBoard {
    writer: EventWriter,
    /// Epochs from one snapshot to the next.
    every: usize,
}

impl TensorBoard {
    /// Creates an event file in `dir`, which must exist.
    pub fn create(dir: &Path) -> Result<Self> {
        Ok(Self {
            writer: EventWriter::create(dir)?,
            every: 1,
        })
    }

    /// Writer of the event file, for other events.
    pub fn writer(&mut self) -> &mut EventWriter {
        &mut self.writer
    }

    /// Adds the norms that [`GradientNorms`](crate::GradientNorms) measured over each epoch. Its first row, which is of the first step
    /// only, is left out.
    pub fn gradients(&mut self, rows: &[GradientRow]) -> Result<()> {
        for row in rows.iter().skip(1) {
            let norm = row.total as f32;
            self.writer.scalar("gradients/total", row.epoch, norm)?;
        }
        Ok(())
    }

    fn metrics(&mut self, row: &EpochRow) -> Result<()> {
        for (metric, value) in row.metrics() {
            let name = metric.name;
            // The wall time of every event is in the file anyway.
            if name == "seconds" {
                continue;
            }
            let tag = match name.split_once('_') {
                Some((split @ ("train" | "validation" | "test"), metric)) => {
                    format!("{split}/{metric}")
                }
                _ => name.to_string(),
            };
            self.writer.scalar(&tag, row.epoch, value as f32)?;
        }
        Ok(())
    }

    fn snapshot(&mut self, epoch: usize, parameters: &[(String, Var)]) -> Result<()> {
        for (name, var) in parameters {
            let tag = format!("parameters/{name}");
            self.writer.histogram(&tag, epoch, &values(var)?)?;
        }
        let Some((_, first)) = parameters.first() else {
            return Ok(());
        };
        if let Some(image) = filters(&first.as_detached_tensor())? {
            self.writer.image("filters", epoch, &image)?;
        }
        Ok(())
    }
}

impl Callback for TensorBoard {
    fn on_fit_start(&mut self, fit: &FitStart) -> Flow {
        self.every = fit.epochs.div_ceil(SNAPSHOTS).max(1);
        let done = fit.history.rows.len();
        if done > 0 {
            self.writer.start(done)?;
        }
        CONTINUE
    }

    fn on_epoch_end(&mut self, end: &EpochEnd) -> Flow {
        self.metrics(end.row)?;
        let epoch = end.row.epoch;
        let data = match end.row.validation_loss {
            Some(_) => "validation",
            None => "test",
        };
        for (name, value) in end.evaluation.iter().flat_map(|e| &e.metrics) {
            let tag = format!("{data}/{name}");
            self.writer.scalar(&tag, epoch, *value as f32)?;
        }
        if epoch.is_multiple_of(self.every) || epoch + 1 == end.epochs {
            self.snapshot(epoch, &end.store.parameters())?;
        }
        CONTINUE
    }
}

/// Image of the filters in `weight`, if it is the weight `(O, I, H, W)` of a convolution on 1 or 3 channels.
fn filters(weight: &Tensor) -> Result<Option<Image>> {
    let &[count, 1 | 3, height, width] = weight.dims() else {
        return Ok(None);
    };
    let side = height.max(width);
    if side == 1 {
        return Ok(None);
    }
    let filters = weight.narrow(0, 0, count.min(FILTERS))?;
    let values = values(&filters)?;
    let least = values.iter().copied().fold(f32::INFINITY, f32::min);
    let greatest = values.iter().copied().fold(f32::NEG_INFINITY, f32::max);
    let scale = FILTER_SIZE.div_ceil(side);
    make_grid(&filters, (least, greatest), scale).map(Some)
}

fn values(tensor: &Tensor) -> Result<Vec<f32>> {
    let tensor = tensor.to_device(&Device::Cpu)?.to_dtype(DType::F32)?;
    Ok(tensor.flatten_all()?.to_vec1()?)
}
