use std::borrow::Cow;

use crate::accuracy::Accuracy;
use crate::error::{Error, Result};
use crate::metric::Metric;
use crate::rows;

/// Top-k accuracy: the fraction of samples whose label is among the `k` classes with the highest scores.
///
/// It is torchmetrics' `multiclass_accuracy(average="micro", top_k=k)`. Classes are ranked by descending score. Of equal
/// scores the lower index comes first, and NaN counts as larger than every number, so `k = 1` is exactly [`Accuracy`]
/// (`torch.topk` does not define the order of ties; `sklearn.metrics.top_k_accuracy_score` prefers the higher index).
/// With `k` at or above the number of classes every sample is correct, as in scikit-learn.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TopK {
    k: usize,
    tally: Accuracy,
}

impl TopK {
    /// Top-`k` accuracy over no samples.
    ///
    /// # Errors
    /// If `k` is zero.
    pub fn new(k: usize) -> Result<Self> {
        if k == 0 {
            return Err(Error::Zero { what: "k" });
        }
        Ok(Self {
            k,
            tally: Accuracy::new(),
        })
    }

    /// Number of classes in which the label is sought.
    pub fn k(&self) -> usize {
        self.k
    }

    /// Adds a batch: `logits` is `(N, classes)` in row-major order, `labels` is `(N)`. Any scores are accepted, of which
    /// higher is better.
    ///
    /// # Errors
    /// If the lengths do not fit or a label is not below `classes`; nothing is added then.
    pub fn update_logits(&mut self, logits: &[f32], classes: usize, labels: &[u32]) -> Result<()> {
        rows::check("logits", logits, classes, labels)?;
        let rows = logits.chunks_exact(classes).zip(labels);
        self.tally.correct += rows
            .filter(|&(row, &label)| rows::rank(row, label as usize) < self.k)
            .count() as u64;
        self.tally.total += labels.len() as u64;
        Ok(())
    }

    /// Adds all samples of `other`.
    ///
    /// # Errors
    /// If `other` has another `k`.
    pub fn merge(&mut self, other: &Self) -> Result<()> {
        if other.k != self.k {
            return Err(Error::Unlike {
                what: "k =",
                expected: self.k,
                found: other.k,
            });
        }
        self.tally.merge(&other.tally);
        Ok(())
    }

    /// Number of samples.
    pub fn total(&self) -> u64 {
        self.tally.total()
    }

    /// Number of samples whose label is among the top `k`.
    pub fn correct(&self) -> u64 {
        self.tally.correct()
    }

    /// Accuracy in `[0, 1]`, or `None` before the first sample.
    pub fn compute(&self) -> Option<f64> {
        self.tally.compute()
    }
}

impl Metric for TopK {
    fn name(&self) -> Cow<'static, str> {
        format!("top{}_accuracy", self.k).into()
    }

    fn update_logits(&mut self, logits: &[f32], classes: usize, labels: &[u32]) -> Result<()> {
        self.update_logits(logits, classes, labels)
    }

    fn merge(&mut self, other: &Self) -> Result<()> {
        self.merge(other)
    }

    fn value(&self) -> Option<f64> {
        self.compute()
    }

    fn reset(&mut self) {
        self.tally = Accuracy::new();
    }
}
