//! Event files that TensorBoard shows.
//!
//! Written by hand and not with a crate: those that there are need `protoc` to build, or bring old versions of `image` and
//! `protobuf`, and none writes grey pictures. What is needed of both formats is a page; `wire.rs` is it.

mod picture;
mod wire;
mod writer;

use std::path::Path;

use candle_core::{DType, Device, Tensor, Var};

use crate::callback::{CONTINUE, Callback, EpochEnd, FitStart, Flow};
use crate::{EpochRow, GradientRow, Result};

pub use picture::Picture;
pub use writer::EventWriter;

/// Epochs of which histograms and filters are written, in a long run; in a short one all of them.
const SNAPSHOTS: usize = 20;
/// Filters in a picture.
const FILTERS: usize = 64;
/// The filters are enlarged to about so many pixels.
const FILTER_SIZE: usize = 24;

/// Writes a TensorBoard event file while a model is trained; the steps are epochs, from 0, as in `metrics.jsonl`.
///
/// | tag | |
/// | --- | --- |
/// | `train/loss`, `train/accuracy`, `test/loss`, `test/accuracy`, `test/top5`, `lr`, `images_per_second` | the figures of each epoch, as `f32` |
/// | `gradients/total` | the gradient's norm, by [`gradients`](Self::gradients) |
/// | `parameters/<name>` | a histogram of each parameter's values, at up to 20 epochs and the last |
/// | `filters` | where the first parameter is the weight of a convolution on 1 or 3 channels: its filters, from the least value in black to the greatest in white, at the same epochs |
///
/// Whatever else is to be seen goes to the [`writer`](Self::writer). Nothing of it changes what is trained.
pub struct TensorBoard {
    writer: EventWriter,
    /// Epochs from one snapshot to the next.
    every: usize,
}

impl TensorBoard {
    /// Begins an event file in `dir`, which must exist.
    pub fn create(dir: &Path) -> Result<Self> {
        Ok(Self {
            writer: EventWriter::create(dir)?,
            every: 1,
        })
    }

    /// The file, for more.
    pub fn writer(&mut self) -> &mut EventWriter {
        &mut self.writer
    }

    /// Adds the norms that [`GradientNorms`](crate::GradientNorms) measured over each epoch; its first row, of the first step
    /// alone, is left out.
    pub fn gradients(&mut self, rows: &[GradientRow]) -> Result<()> {
        for row in rows.iter().skip(1) {
            let norm = row.total as f32;
            self.writer.scalar("gradients/total", row.epoch, norm)?;
        }
        Ok(())
    }

    fn figures(&mut self, row: &EpochRow) -> Result<()> {
        for (tag, value) in [
            ("train/loss", Some(row.train_loss)),
            ("train/accuracy", Some(row.train_accuracy)),
            ("test/loss", row.test_loss),
            ("test/accuracy", row.test_accuracy),
            ("test/top5", row.test_top5),
            ("lr", Some(row.lr)),
            ("images_per_second", Some(row.images_per_second)),
        ] {
            if let Some(value) = value {
                self.writer.scalar(tag, row.epoch, value as f32)?;
            }
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
        if let Some(picture) = filters(&first.as_detached_tensor())? {
            self.writer.picture("filters", epoch, &picture)?;
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
        self.figures(end.row)?;
        let epoch = end.row.epoch;
        if epoch.is_multiple_of(self.every) || epoch + 1 == end.epochs {
            self.snapshot(epoch, &end.store.parameters())?;
        }
        CONTINUE
    }
}

/// A picture of the filters in `weight`, if that is the weight `(O, I, H, W)` of a convolution that takes pixels.
fn filters(weight: &Tensor) -> Result<Option<Picture>> {
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
    Picture::grid(&filters, (least, greatest), scale).map(Some)
}

fn values(tensor: &Tensor) -> Result<Vec<f32>> {
    let tensor = tensor.to_device(&Device::Cpu)?.to_dtype(DType::F32)?;
    Ok(tensor.flatten_all()?.to_vec1()?)
}
