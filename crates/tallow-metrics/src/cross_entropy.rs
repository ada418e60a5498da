use std::borrow::Cow;

use crate::error::Result;
use crate::mean::MeanMetric;
use crate::metric::Metric;
use crate::rows;

/// Mean cross-entropy in nats of logits and class labels, as `torch.nn.functional.cross_entropy` with its default
/// arguments over all samples at once.
///
/// Each sample is computed in f64 from its f32 logits, and the sum is exact, so the value is the same for every batch
/// size and order. It is NaN if a logit is NaN or positive infinity, as in PyTorch.
#[derive(Clone, Debug, Default)]
pub struct CrossEntropy {
    mean: MeanMetric,
}

impl CrossEntropy {
    /// Cross-entropy over no samples.
    pub fn new() -> Self {
        Self::default()
    }

    /// Adds a batch: `logits` is `(N, classes)` in row-major order, `labels` is `(N)`.
    ///
    /// # Errors
    /// If the lengths do not fit or a label is not below `classes`; nothing is added then.
    pub fn update_logits(&mut self, logits: &[f32], classes: usize, labels: &[u32]) -> Result<()> {
        rows::check("logits", logits, classes, labels)?;
        for (row, &label) in logits.chunks_exact(classes).zip(labels) {
            let (max, exp_sum) = rows::log_sum_exp_parts(row);
            self.mean
                .add(exp_sum.ln() - (f64::from(row[label as usize]) - max), 1.0);
        }
        Ok(())
    }

    /// Adds all samples of `other`.
    pub fn merge(&mut self, other: &Self) {
        self.mean.merge(&other.mean);
    }

    /// Mean in nats, or `None` before the first sample.
    pub fn compute(&self) -> Option<f64> {
        self.mean.compute()
    }
}

impl Metric for CrossEntropy {
    fn name(&self) -> Cow<'static, str> {
        "cross_entropy".into()
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
