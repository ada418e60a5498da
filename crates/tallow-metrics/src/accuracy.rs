use crate::{Error, Result, rows};

/// The share of samples whose predicted class is the label: micro-averaged accuracy, as
/// `sklearn.metrics.accuracy_score` and torchmetrics' `multiclass_accuracy(average="micro")`.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Accuracy {
    correct: u64,
    total: u64,
}

impl Accuracy {
    /// An accuracy over nothing yet.
    pub fn new() -> Self {
        Self::default()
    }

    /// Adds predicted classes against labels, one of each a sample.
    ///
    /// # Errors
    /// When the lengths differ; nothing is added then.
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
    /// When the lengths do not fit or a label is not below `classes`; nothing is added then.
    pub fn update_logits(&mut self, logits: &[f32], classes: usize, labels: &[u32]) -> Result<()> {
        rows::check("logits", logits, classes, labels)?;
        let rows = logits.chunks_exact(classes).zip(labels);
        self.correct += rows
            .filter(|&(row, &label)| rows::argmax(row) == label as usize)
            .count() as u64;
        self.total += labels.len() as u64;
        Ok(())
    }

    /// Adds everything `other` has seen.
    pub fn merge(&mut self, other: &Self) {
        self.correct += other.correct;
        self.total += other.total;
    }

    /// The number of samples seen.
    pub fn total(&self) -> u64 {
        self.total
    }

    /// The number of samples predicted right.
    pub fn correct(&self) -> u64 {
        self.correct
    }

    /// The accuracy in `[0, 1]`, or `None` before the first sample.
    pub fn compute(&self) -> Option<f64> {
        (self.total > 0).then(|| self.correct as f64 / self.total as f64)
    }
}

/// The share of samples whose label is among the `k` best-scored classes.
///
/// Classes are ranked by falling score. Of equal scores the lower index comes first, and NaN counts as larger than
/// every number, so `k = 1` is exactly [`Accuracy`] (`torch.topk` leaves ties open; `sklearn.metrics.top_k_accuracy_score`
/// takes the higher index). With `k` at or above the number of classes every sample is right, as in scikit-learn.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TopK {
    k: usize,
    tally: Accuracy,
}

impl TopK {
    /// A top-`k` accuracy over nothing yet.
    ///
    /// # Errors
    /// When `k` is zero.
    pub fn new(k: usize) -> Result<Self> {
        if k == 0 {
            return Err(Error::Zero { what: "k" });
        }
        Ok(Self {
            k,
            tally: Accuracy::new(),
        })
    }

    /// The `k` it was made with.
    pub fn k(&self) -> usize {
        self.k
    }

    /// Adds a batch: `logits` is `(N, classes)` in row-major order, `labels` is `(N)`. Any scores will do, of which
    /// the larger is the better.
    ///
    /// # Errors
    /// When the lengths do not fit or a label is not below `classes`; nothing is added then.
    pub fn update_logits(&mut self, logits: &[f32], classes: usize, labels: &[u32]) -> Result<()> {
        rows::check("logits", logits, classes, labels)?;
        let rows = logits.chunks_exact(classes).zip(labels);
        self.tally.correct += rows
            .filter(|&(row, &label)| rows::rank(row, label as usize) < self.k)
            .count() as u64;
        self.tally.total += labels.len() as u64;
        Ok(())
    }

    /// Adds everything `other` has seen.
    ///
    /// # Errors
    /// When `other` has another `k`.
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

    /// The number of samples seen.
    pub fn total(&self) -> u64 {
        self.tally.total
    }

    /// The number of samples whose label was among the best `k`.
    pub fn correct(&self) -> u64 {
        self.tally.correct
    }

    /// The accuracy in `[0, 1]`, or `None` before the first sample.
    pub fn compute(&self) -> Option<f64> {
        self.tally.compute()
    }
}
