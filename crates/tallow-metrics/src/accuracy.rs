use std::borrow::Cow;

use crate::error::{Error, Result};
use crate::metric::Metric;
use crate::rows;

/// Accuracy: the fraction of samples whose predicted class is the label.
///
/// It is micro-averaged, as `sklearn.metrics.accuracy_score` and torchmetrics' `multiclass_accuracy(average="micro")`.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Accuracy {
    pub(crate) correct: u64,
    pub(crate) total: u64,
}

impl Accuracy {
    /// Accuracy over no samples.
    pub fn new() -> Self {
        Self::default()
    }

    /// Adds one predicted class and one label per sample.
    ///
    /// # Errors
    /// If the lengths differ; nothing is added then.
    pub fn update(&mut self, predictions: &[u32], labels: &[u32]) -> Result<()> {
        if predictions.len() != labels.len() {
            return Err(Error::Length {
                what: "predictions",
                labels: labels.len(),
                expected: labels.len(),
                found: predictions.len(),
            });
        }
        self.correct += predictions
            .iter()
            .zip(labels)
            .filter(|(p, l)| p == l)
            .count() as u64;
        self.total += labels.len() as u64;
        Ok(())
    }

    /// Adds a batch: `logits` is `(N, classes)` in row-major order, `labels` is `(N)`. The prediction is the
    /// [`argmax`](crate::argmax) of each row.
    ///
    /// # Errors
    /// If the lengths do not fit or a label is not below `classes`; nothing is added then.
    pub fn update_logits(&mut self, logits: &[f32], classes: usize, labels: &[u32]) -> Result<()> {
        rows::check("logits", logits, classes, labels)?;
        let rows = logits.chunks_exact(classes).zip(labels);
        self.correct += rows
            .filter(|&(row, &label)| rows::argmax(row) == label as usize)
            .count() as u64;
        self.total += labels.len() as u64;
        Ok(())
    }

    /// Adds all samples of `other`.
    pub fn merge(&mut self, other: &Self) {
        self.correct += other.correct;
        self.total += other.total;
    }

    /// Number of samples.
    pub fn total(&self) -> u64 {
        self.total
    }

    /// Number of samples whose prediction is the label.
    pub fn correct(&self) -> u64 {
        self.correct
    }

    /// Accuracy in `[0, 1]`, or `None` before the first sample.
    pub fn compute(&self) -> Option<f64> {
        (self.total > 0).then(|| self.correct as f64 / self.total as f64)
    }
}

impl Metric for Accuracy {
    fn name(&self) -> Cow<'static, str> {
        "accuracy".into()
    }

    fn update_logits(&mut self, logits: &[f32], classes: usize, labels: &[u32]) -> Result<()> {
        self.update_logits(logits, classes, labels)
    }

    fn merge(&mut self, other: &Self) -> Result<()> {
        self.merge(other);
        Ok(())
    }

    fn value(&self) -> Option<f64> {
        self.compute()
    }

    fn reset(&mut self) {
        *self = Self::default();
    }
}
