//! Loss and accuracy of one pass over the data.

use candle_core::{CpuStorage, DType, Storage, Tensor};
use tallow_metrics::{Accuracy, ConfusionMatrix, MeanMetric, TopK};

use crate::{Error, Evaluation, Result};

/// Batches whose figures wait on the device before they are read.
const WAITING: usize = 32;

/// The figures of an epoch's training batches.
///
/// On the CPU each batch is counted at once. On other devices reading a number waits for all
/// work before it, so the figures gather there and are read together.
#[derive(Default)]
pub(crate) struct TrainTally {
    loss: MeanMetric,
    right: u64,
    samples: u64,
    waiting: Vec<Waiting>,
}

struct Waiting {
    step: usize,
    loss: Tensor,
    right: Tensor,
    samples: usize,
}

impl TrainTally {
    /// Counts a batch. Fails when its loss, or one that had been waiting, is not finite.
    pub fn add(
        &mut self,
        (epoch, step): (usize, usize),
        loss: &Tensor,
        output: &Tensor,
        labels: &Tensor,
    ) -> Result<()> {
        let samples = labels.elem_count();
        if output.device().is_cpu() {
            let classes = output.dim(1)?;
            let mut batch = Accuracy::new();
            with_slices(output, labels, |output, labels| {
                Ok(batch.update_logits(output, classes, labels)?)
            })?;
            return self.count((epoch, step), scalar(loss)?, batch.correct(), samples);
        }
        let right = output.detach().argmax(1)?.eq(labels)?;
        self.waiting.push(Waiting {
            step,
            loss: loss.detach().to_dtype(DType::F32)?,
            right: right.to_dtype(DType::F32)?.sum_all()?,
            samples,
        });
        if self.waiting.len() >= WAITING {
            self.read(epoch)?;
        }
        Ok(())
    }

    /// Reads what waits on the device.
    pub fn read(&mut self, epoch: usize) -> Result<()> {
        if self.waiting.is_empty() {
            return Ok(());
        }
        let waiting = std::mem::take(&mut self.waiting);
        let losses: Vec<&Tensor> = waiting.iter().map(|batch| &batch.loss).collect();
        let losses = Tensor::stack(&losses, 0)?.to_vec1::<f32>()?;
        let rights: Vec<&Tensor> = waiting.iter().map(|batch| &batch.right).collect();
        let rights = Tensor::stack(&rights, 0)?.to_vec1::<f32>()?;
        for ((batch, loss), right) in waiting.iter().zip(losses).zip(rights) {
            self.count(
                (epoch, batch.step),
                loss.into(),
                right as u64,
                batch.samples,
            )?;
        }
        Ok(())
    }

    /// Mean loss so far; NaN before the first.
    pub fn mean_loss(&self) -> f64 {
        self.loss.compute().unwrap_or(f64::NAN)
    }

    /// The share of samples predicted right so far.
    pub fn accuracy(&self) -> f64 {
        self.right as f64 / self.samples.max(1) as f64
    }

    /// Number of samples so far.
    pub fn samples(&self) -> u64 {
        self.samples
    }

    fn count(
        &mut self,
        (epoch, step): (usize, usize),
        loss: f64,
        right: u64,
        samples: usize,
    ) -> Result<()> {
        if !loss.is_finite() {
            return Err(Error::NonFiniteLoss { epoch, step, loss });
        }
        self.loss.add(loss, samples as f64);
        self.right += right;
        self.samples += samples as u64;
        Ok(())
    }
}

/// The figures of an evaluation.
#[derive(Default)]
pub(crate) struct TestTally {
    loss: f64,
    samples: u64,
    classes: Option<(ConfusionMatrix, Option<TopK>)>,
}

impl TestTally {
    /// Counts a batch. The loss may be anything: a model that has diverged can still be judged.
    pub fn add(&mut self, loss: &Tensor, output: &Tensor, labels: &Tensor) -> Result<()> {
        let samples = labels.elem_count();
        self.loss += scalar(loss)? * samples as f64;
        self.samples += samples as u64;
        let classes = output.dim(1)?;
        let (confusion, top5) = match &mut self.classes {
            Some(known) => known,
            none => none.insert((
                ConfusionMatrix::new(classes)?,
                (classes > 5).then(|| TopK::new(5)).transpose()?,
            )),
        };
        with_slices(output, labels, |logits, labels| {
            confusion.update_logits(logits, classes, labels)?;
            if let Some(top5) = top5 {
                top5.update_logits(logits, classes, labels)?;
            }
            Ok(())
        })
    }

    /// The whole; `None` when there was no batch.
    pub fn finish(self) -> Option<Evaluation> {
        let (confusion, top5) = self.classes?;
        Some(Evaluation {
            loss: self.loss / self.samples as f64,
            accuracy: confusion.accuracy().unwrap_or(0.0),
            top5: top5.and_then(|top5| top5.compute()),
            confusion,
            samples: self.samples,
        })
    }
}

fn scalar(loss: &Tensor) -> candle_core::Result<f64> {
    match loss.dtype() {
        DType::F64 => loss.to_scalar(),
        DType::F32 => Ok(loss.to_scalar::<f32>()?.into()),
        _ => Ok(loss.to_dtype(DType::F32)?.to_scalar::<f32>()?.into()),
    }
}

/// Lends outputs `(N, K)` as f32 and labels `(N)` as slices, without a copy where they lie so already.
fn with_slices<T>(
    output: &Tensor,
    labels: &Tensor,
    f: impl FnOnce(&[f32], &[u32]) -> Result<T>,
) -> Result<T> {
    let cpu = candle_core::Device::Cpu;
    let output = output
        .detach()
        .to_device(&cpu)?
        .to_dtype(DType::F32)?
        .contiguous()?;
    let labels = labels.to_device(&cpu)?.contiguous()?;
    let (output, output_layout) = output.storage_and_layout();
    let (labels, labels_layout) = labels.storage_and_layout();
    match (&*output, &*labels) {
        (Storage::Cpu(CpuStorage::F32(output)), Storage::Cpu(CpuStorage::U32(labels))) => {
            let (o, l) = (output_layout.start_offset(), labels_layout.start_offset());
            f(
                &output[o..o + output_layout.shape().elem_count()],
                &labels[l..l + labels_layout.shape().elem_count()],
            )
        }
        _ => Err(candle_core::Error::Msg("labels must be u32".into()).into()),
    }
}
