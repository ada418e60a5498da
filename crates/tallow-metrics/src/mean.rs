use serde::{Deserialize, Serialize};

use crate::sum::ExactSum;

/// Weighted mean, as `torchmetrics.MeanMetric`: `sum(value * weight) / sum(weight)`.
///
/// Both sums are exact until they are read, so merging and any order of the terms give the same bits. With an infinite
/// or NaN term the mean is infinite or NaN.
///
/// Written with `serde` and read again, by a format that keeps every bit of a float, it goes on with the same bits.
///
/// ```
/// let mut loss = tallow_metrics::MeanMetric::default();
/// loss.add(0.5, 64.0); // the mean of a batch, and its size
/// loss.add(0.25, 16.0);
/// assert_eq!(loss.compute(), Some(0.45));
/// ```
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct MeanMetric {
    sum: ExactSum,
    weight: ExactSum,
}

impl MeanMetric {
    /// Mean over no values.
    pub fn new() -> Self {
        Self::default()
    }

    /// Adds one value. `weight` is 1 for a single sample, or the batch size for the mean of a batch.
    pub fn add(&mut self, value: f64, weight: f64) {
        self.sum.add_product(value, weight);
        self.weight.add(weight);
    }

    /// Adds all values of `other`.
    pub fn merge(&mut self, other: &Self) {
        self.sum.merge(&other.sum);
        self.weight.merge(&other.weight);
    }

    /// Mean, or `None` while the sum of the weights is zero.
    pub fn compute(&self) -> Option<f64> {
        let weight = self.weight.total();
        (weight != 0.0).then(|| self.sum.total() / weight)
    }
}
