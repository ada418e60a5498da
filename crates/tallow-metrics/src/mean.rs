use crate::sum::ExactSum;
use crate::{Result, rows};

/// A weighted mean, as `torchmetrics.MeanMetric`: `sum(value * weight) / sum(weight)`.
///
/// Both sums are exact until they are read, so merging and any order of the terms give the same bits. A term that is
/// infinite or NaN makes the mean so.
///
/// ```
/// let mut loss = tallow_metrics::MeanMetric::default();
/// loss.add(0.5, 64.0); // the mean of a batch, and its size
/// loss.add(0.25, 16.0);
/// assert_eq!(loss.compute(), Some(0.45));
/// ```
#[derive(Clone, Debug, Default)]
pub struct MeanMetric {
    sum: ExactSum,
    weight: ExactSum,
}

impl MeanMetric {
    /// A mean of nothing.
    pub fn new() -> Self {
        Self::default()
    }

    /// Adds one value; `weight` is 1 for a single sample, or the batch size for the mean of a batch.
    pub fn add(&mut self, value: f64, weight: f64) {
        self.sum.add_product(value, weight);
        self.weight.add(weight);
    }

    /// Adds everything `other` has seen.
    pub fn merge(&mut self, other: &Self) {
        self.sum.merge(&other.sum);
        self.weight.merge(&other.weight);
    }

    /// The mean so far, or `None` while the weights add up to zero.
    pub fn compute(&self) -> Option<f64> {
        let weight = self.weight.total();
        (weight != 0.0).then(|| self.sum.total() / weight)
    }
}

/// The mean cross-entropy in nats of logits against class labels, as `torch.nn.functional.cross_entropy` with its
/// default arguments over all samples at once.
///
/// Each sample is computed in f64 from its f32 logits, and the sum is exact, so the value is the same for every batch
/// size and order. Logits that are NaN or positive infinity make it NaN, as in PyTorch.
#[derive(Clone, Debug, Default)]
pub struct CrossEntropy {
    mean: MeanMetric,
}

impl CrossEntropy {
    /// A loss over nothing yet.
    pub fn new() -> Self {
        Self::default()
    }

    /// Adds a batch: `logits` is `(N, classes)` in row-major order, `labels` is `(N)`.
    ///
    /// # Errors
    /// When the lengths do not fit or a label is not below `classes`; nothing is added then.
    pub fn update_logits(&mut self, logits: &[f32], classes: usize, labels: &[u32]) -> Result<()> {
        rows::check("logits", logits, classes, labels)?;
        for (row, &label) in logits.chunks_exact(classes).zip(labels) {
            let (max, exp_sum) = log_sum_exp_parts(row);
            self.mean
                .add(exp_sum.ln() - (f64::from(row[label as usize]) - max), 1.0);
        }
        Ok(())
    }

    /// Adds everything `other` has seen.
    pub fn merge(&mut self, other: &Self) {
        self.mean.merge(&other.mean);
    }

    /// The mean loss so far, or `None` before the first sample.
    pub fn compute(&self) -> Option<f64> {
        self.mean.compute()
    }
}

/// `(max, sum of exp(x - max))` of a row.
pub(crate) fn log_sum_exp_parts(row: &[f32]) -> (f64, f64) {
    let max = f64::from(row.iter().copied().fold(f32::NEG_INFINITY, f32::max));
    (max, row.iter().map(|&x| (f64::from(x) - max).exp()).sum())
}
