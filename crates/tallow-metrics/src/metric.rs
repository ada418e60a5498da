use std::borrow::Cow;
use std::fmt;

use crate::error::Result;

/// Metric of a classifier, computed from batches of logits and labels.
///
/// It follows torchmetrics' protocol: `update` for each batch, `compute` ([`value`](Self::value) here) at the end of an
/// epoch, `merge` for parts of the data seen elsewhere, `reset` before the next epoch. A `Box<dyn Metric>` is one in a
/// trainer; the metrics of this crate also have a method `compute` that returns everything they know.
///
/// ```
/// use std::borrow::Cow;
/// use tallow_metrics::{Accuracy, Metric, Result, TopK};
///
/// /// Mean of the largest logit.
/// #[derive(Debug, Default)]
/// struct MeanMaximum {
///     sum: f64,
///     samples: u64,
/// }
///
/// impl Metric for MeanMaximum {
///     fn name(&self) -> Cow<'static, str> {
///         "mean_maximum".into()
///     }
///
///     fn update_logits(&mut self, logits: &[f32], classes: usize, labels: &[u32]) -> Result<()> {
///         for row in logits.chunks_exact(classes) {
///             self.sum += f64::from(row.iter().copied().fold(f32::NEG_INFINITY, f32::max));
///         }
///         self.samples += labels.len() as u64;
///         Ok(())
///     }
///
///     fn merge(&mut self, other: &Self) -> Result<()> {
///         self.sum += other.sum;
///         self.samples += other.samples;
///         Ok(())
///     }
///
///     fn value(&self) -> Option<f64> {
///         (self.samples > 0).then(|| self.sum / self.samples as f64)
///     }
///
///     fn reset(&mut self) {
///         *self = Self::default();
///     }
/// }
///
/// let mut metrics: Vec<Box<dyn Metric>> = vec![
///     Box::new(Accuracy::new()),
///     Box::new(TopK::new(2)?),
///     Box::new(MeanMaximum::default()),
/// ];
/// for metric in &mut metrics {
///     metric.update_logits(&[0.1, 0.2, 0.7, 0.6, 0.3, 0.1], 3, &[2, 1])?;
/// }
/// let values: Vec<_> = metrics.iter().flat_map(|metric| metric.values()).collect();
/// assert_eq!(values[0], ("accuracy".to_string(), 0.5));
/// assert_eq!(values[1], ("top2_accuracy".to_string(), 1.0));
/// assert!((values[2].1 - 0.65).abs() < 1e-6);
/// # Ok::<(), tallow_metrics::Error>(())
/// ```
pub trait Metric: fmt::Debug + Send {
    /// Name of [`value`](Self::value), in lower case with underscores.
    fn name(&self) -> Cow<'static, str>;

    /// Adds a batch: `logits` is `(N, classes)` in row-major order, `labels` is `(N)` with class indices.
    ///
    /// # Errors
    /// If the lengths do not fit or a label is not below `classes`; nothing is added then.
    fn update_logits(&mut self, logits: &[f32], classes: usize, labels: &[u32]) -> Result<()>;

    /// Adds all samples of `other`, as if this metric had seen them.
    ///
    /// # Errors
    /// If the two have different parameters, as the `k` of a top-k accuracy.
    fn merge(&mut self, other: &Self) -> Result<()>
    where
        Self: Sized;

    /// Value over all samples since the last [`reset`](Self::reset), or `None` where it is not defined, as before the
    /// first sample.
    fn value(&self) -> Option<f64>;

    /// All values with their names, without those that are not defined. By default [`value`](Self::value) alone.
    fn values(&self) -> Vec<(String, f64)> {
        let value = self.value();
        value
            .map(|value| (self.name().into_owned(), value))
            .into_iter()
            .collect()
    }

    /// Removes all samples.
    fn reset(&mut self);
}
