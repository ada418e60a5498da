//! Loss and accuracy of one pass over the data.

use candle_core::{CpuStorage, DType, Device, Storage, Tensor};
use serde::{Deserialize, Serialize};
use tallow_metrics::{Accuracy, ConfusionMatrix, MeanMetric, Metric, TopK};

use crate::device_tally::DeviceTally;
use crate::error::{Error, Result};
use crate::history::Evaluation;
use crate::loss::scalar;
use crate::ranks::Ranks;

/// Batches whose results stay on the device before they are read.
const WAITING: usize = 32;

/// Metrics of an epoch's training batches.
///
/// On the CPU each batch is counted at once. On other devices reading a number waits for all
/// work before it, so the results of several batches are read together.
pub(crate) struct TrainTally {
    gather: bool,
    counted: TallyState,
    waiting: Vec<Waiting>,
    device: DeviceTally,
}

/// Counts of a [`TrainTally`], for checkpoints.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub(crate) struct TallyState {
    loss: MeanMetric,
    right: u64,
    samples: u64,
}

struct Waiting {
    step: usize,
    /// Loss and right predictions; `None` for those that the device counts itself.
    results: Option<[Tensor; 2]>,
    samples: usize,
}

impl TrainTally {
    /// Tally of batches on `device` that goes on from `counted`.
    pub fn new(device: &Device, counted: TallyState) -> Self {
        Self {
            gather: !device.is_cpu(),
            counted,
            waiting: Vec::new(),
            device: DeviceTally::default(),
        }
    }

    /// Counts so far, without the results that are still on the device.
    pub fn state(&self) -> TallyState {
        self.counted.clone()
    }

    /// Counts a batch. Fails when its loss, or one that is read now, is not finite.
    pub fn add(
        &mut self,
        (epoch, step): (usize, usize),
        loss: &Tensor,
        output: &Tensor,
        labels: &Tensor,
    ) -> Result<()> {
        let samples = labels.elem_count();
        if !self.gather {
            let right = right(output, labels)?;
            return self.count((epoch, step), scalar(loss)?, right, samples);
        }
        let results = match self.device.add(WAITING, loss, output, labels)? {
            true => None,
            false => {
                let right = output.detach().argmax(1)?.eq(labels)?;
                let right = right.to_dtype(DType::F32)?.sum_all()?;
                // A step that the device repeats writes its loss to the same place.
                Some([loss.detach().to_dtype(DType::F32)?.copy()?, right])
            }
        };
        self.waiting.push(Waiting {
            step,
            results,
            samples,
        });
        if self.waiting.len() >= WAITING {
            self.read(epoch)?;
        }
        Ok(())
    }

    /// Counts a batch of `samples` samples: its loss, and the outputs and labels of this rank's part of it. As [`add`](Self::add) otherwise.
    pub fn add_part(
        &mut self,
        at: (usize, usize),
        loss: &Tensor,
        (output, labels): (&Tensor, &Tensor),
        samples: usize,
        ranks: &Ranks,
    ) -> Result<()> {
        if ranks.is_alone() {
            return self.add(at, loss, output, labels);
        }
        let own = match labels.elem_count() {
            0 => 0,
            _ => right(output, labels)?,
        };
        self.count(at, scalar(loss)?, ranks.sum(own)?, samples)
    }

    /// Reads the results that are still on the device.
    pub fn read(&mut self, epoch: usize) -> Result<()> {
        if self.waiting.is_empty() {
            return Ok(());
        }
        let waiting = std::mem::take(&mut self.waiting);
        let gathered: Vec<&Tensor> = waiting
            .iter()
            .flat_map(|b| b.results.iter().flatten())
            .collect();
        let gathered = match gathered.is_empty() {
            true => Vec::new(),
            false => Tensor::stack(&gathered, 0)?.to_vec1::<f32>()?,
        };
        let mut gathered = gathered.chunks_exact(2);
        let mut counted = self.device.read()?.into_iter();
        for batch in waiting {
            let results = match batch.results {
                Some(_) => gathered.next().map(|pair| (pair[0], pair[1] as u64)),
                None => counted.next(),
            };
            // There is a pair for each batch.
            if let Some((loss, right)) = results {
                self.count((epoch, batch.step), loss.into(), right, batch.samples)?;
            }
        }
        Ok(())
    }

    /// Mean loss so far; NaN before the first batch.
    pub fn mean_loss(&self) -> f64 {
        self.counted.loss.compute().unwrap_or(f64::NAN)
    }

    /// Accuracy so far.
    pub fn accuracy(&self) -> f64 {
        self.counted.right as f64 / self.counted.samples.max(1) as f64
    }

    /// Number of samples so far.
    pub fn samples(&self) -> u64 {
        self.counted.samples
    }

    fn count(
        &mut self,
        (epoch, step): (usize, usize),
        loss: f64,
        right: u64,
        samples: usize,
    ) -> Result<()> {
        if !loss.is_finite() {
            return Err(Error::NonFiniteLoss {
                epoch,
                step,
                loss,
                names: Vec::new(),
            });
        }
        self.counted.count(loss, right, samples);
        Ok(())
    }
}

impl TallyState {
    /// Counts a batch with this mean loss and number of right predictions.
    pub fn count(&mut self, loss: f64, right: u64, samples: usize) {
        self.loss.add(loss, samples as f64);
        self.right += right;
        self.samples += samples as u64;
    }
}

/// Metrics of an evaluation.
pub(crate) struct TestTally<'m, 'a> {
    /// Metrics that the caller added.
    metrics: &'m mut [Box<dyn Metric + 'a>],
    /// Sum of the losses, and the divisor of their mean.
    loss: (f64, f64),
    samples: u64,
    classes: Option<(ConfusionMatrix, Option<TopK>)>,
}

impl<'m, 'a> TestTally<'m, 'a> {
    /// Empty tally. Resets `metrics`.
    pub fn new(metrics: &'m mut [Box<dyn Metric + 'a>]) -> Self {
        metrics.iter_mut().for_each(|metric| metric.reset());
        Self {
            metrics,
            loss: (0.0, 0.0),
            samples: 0,
            classes: None,
        }
    }

    /// Counts a batch with the sum of its losses and the divisor of their mean. The loss may be infinite or NaN: a model that has
    /// diverged can still be evaluated.
    pub fn add(
        &mut self,
        (loss, divisor): (f64, f64),
        output: &Tensor,
        labels: &Tensor,
    ) -> Result<()> {
        self.loss.0 += loss;
        self.loss.1 += divisor;
        self.samples += labels.elem_count() as u64;
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
            for metric in self.metrics.iter_mut() {
                metric.update_logits(logits, classes, labels)?;
            }
            Ok(())
        })
    }

    /// The evaluation; `None` without a batch.
    pub fn finish(self) -> Option<Evaluation> {
        let (confusion, top5) = self.classes?;
        Some(Evaluation {
            loss: self.loss.0 / self.loss.1,
            accuracy: confusion.accuracy().unwrap_or(0.0),
            top5: top5.and_then(|top5| top5.compute()),
            confusion,
            samples: self.samples,
            metrics: self.metrics.iter().flat_map(|m| m.values()).collect(),
        })
    }
}

/// Number of right predictions.
fn right(output: &Tensor, labels: &Tensor) -> Result<u64> {
    let classes = output.dim(1)?;
    let mut batch = Accuracy::new();
    with_slices(output, labels, |output, labels| {
        Ok(batch.update_logits(output, classes, labels)?)
    })?;
    Ok(batch.correct())
}

/// Calls `f` with outputs `(N, K)` as `f32` and labels `(N)` as slices, without a copy if they are stored so already.
fn with_slices<T>(
    output: &Tensor,
    labels: &Tensor,
    f: impl FnOnce(&[f32], &[u32]) -> Result<T>,
) -> Result<T> {
    let found = labels.dtype();
    let cpu = Device::Cpu;
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
        _ => Err(Error::LabelType { found }),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::loss::{CrossEntropy, Loss, Target};

    /// Batch `step` of scores for 7 samples of 3 classes; two scores are equal in every row.
    fn batch(step: usize) -> (Tensor, Tensor) {
        let score = |i: usize| ((i * 37 + step * 11) % 8) as f32 / 4.0;
        let rows = (0..7).flat_map(|i| [score(2 * i), score(2 * i + 1), score(2 * i)]);
        let rows: Vec<f32> = rows.collect();
        let labels: Vec<u32> = (0..7).map(|i| (i + step as u32) % 3).collect();
        let output = Tensor::from_vec(rows, (7, 3), &Device::Cpu).unwrap();
        (output, Tensor::new(labels, &Device::Cpu).unwrap())
    }

    fn tally(gather: bool, steps: usize, diverges_at: usize) -> Result<TrainTally> {
        let mut tally = TrainTally::new(&Device::Cpu, TallyState::default());
        tally.gather = gather;
        for step in 0..steps {
            let (output, labels) = batch(step);
            let target = Target::Classes(labels.clone());
            let mut loss = CrossEntropy::default().loss(&output, &target)?;
            if step == diverges_at {
                loss = (loss * f64::INFINITY)?;
            }
            tally.add((5, step), &loss, &output, &labels)?;
        }
        tally.read(5)?;
        Ok(tally)
    }

    #[test]
    fn gathered_figures_are_those_counted_at_once() {
        for steps in [1, WAITING, 2 * WAITING + 3] {
            let (at_once, gathered) = (
                tally(false, steps, 999).unwrap(),
                tally(true, steps, 999).unwrap(),
            );
            assert_eq!(at_once.samples(), 7 * steps as u64);
            assert_eq!(at_once.samples(), gathered.samples());
            assert_eq!(at_once.mean_loss(), gathered.mean_loss());
            assert_eq!(at_once.accuracy(), gathered.accuracy());
            assert!(at_once.accuracy() > 0.1 && at_once.accuracy() < 0.9);
        }
    }

    #[test]
    fn the_step_that_diverged_is_named_however_late_it_is_read() {
        for gather in [false, true] {
            for at in [0, WAITING - 1, WAITING + 2] {
                let error = tally(gather, WAITING + 5, at).err().unwrap();
                assert!(
                    matches!(error, Error::NonFiniteLoss { epoch: 5, step, .. } if step == at),
                    "{error}"
                );
            }
        }
    }

    #[test]
    fn labels_of_another_type_are_an_error() {
        let (output, labels) = batch(0);
        let labels = labels.to_dtype(DType::I64).unwrap();
        let mut tally = TestTally::new(&mut []);
        let error = tally.add((1.0, 7.0), &output, &labels).unwrap_err();
        assert!(
            matches!(error, Error::LabelType { found: DType::I64 }),
            "{error}"
        );
        assert!(TestTally::new(&mut []).finish().is_none());
    }
}
