use std::borrow::Cow;

use serde::{Deserialize, Serialize};

use crate::error::{Error, Result};
use crate::metric::Metric;
use crate::rows;

/// Area under the receiver operating characteristic (AUROC) of each class against all others.
///
/// The area is the probability that a sample of the class has a higher score for it than a sample of another class, with
/// ties counted half. It is `torchmetrics.classification.MulticlassAUROC(thresholds=None)` and
/// `sklearn.metrics.roc_auc_score(multi_class="ovr")`, except for a class with no samples or with all of them: there it
/// is undefined and left out of the average (torchmetrics returns 0, scikit-learn NaN).
///
/// Every probability is kept, four bytes each, since the area depends on their order. Pairs are counted in integers, so
/// batch size and order do not matter.
#[derive(Clone, Debug)]
pub struct Auroc {
    classes: usize,
    /// `(N, classes)` in row-major order.
    probabilities: Vec<f32>,
    labels: Vec<u32>,
}

/// Result of an [`Auroc`].
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct AurocScore {
    /// Unweighted mean over the classes for which the area is defined, in `[0, 1]`; `None` if there is none. NaN if a row
    /// of logits has NaN.
    pub macro_average: Option<f64>,
    /// Area of each class; `None` if all samples are of that class, or none.
    pub per_class: Vec<Option<f64>>,
    /// Number of samples.
    pub samples: u64,
}

impl Auroc {
    /// AUROC over no samples.
    ///
    /// # Errors
    /// If `classes` is zero or above 32,768.
    pub fn new(classes: usize) -> Result<Self> {
        rows::check_classes(classes)?;
        Ok(Self {
            classes,
            probabilities: Vec::new(),
            labels: Vec::new(),
        })
    }

    /// Adds a batch: `logits` is `(N, classes)` in row-major order, `labels` is `(N)`. The softmax of the logits is
    /// computed in f64 and rounded to f32 (torchmetrics skips the softmax for a batch with all values in `[0, 1]`).
    ///
    /// # Errors
    /// If `classes` is not that of the metric, the lengths do not fit or a label is not a class; nothing is added then.
    pub fn update_logits(&mut self, logits: &[f32], classes: usize, labels: &[u32]) -> Result<()> {
        self.check("logits", logits, classes, labels)?;
        for row in logits.chunks_exact(classes) {
            let (max, exp_sum) = rows::log_sum_exp_parts(row);
            let share = |&x: &f32| ((f64::from(x) - max).exp() / exp_sum) as f32;
            self.probabilities.extend(row.iter().map(share));
        }
        self.labels.extend(labels);
        Ok(())
    }

    /// Adds a batch of probabilities, `(N, classes)` in row-major order.
    ///
    /// # Errors
    /// If `classes` is not that of the metric, the lengths do not fit, a label is not a class or a value is not in
    /// `[0, 1]`; nothing is added then.
    pub fn update_probabilities(
        &mut self,
        probabilities: &[f32],
        classes: usize,
        labels: &[u32],
    ) -> Result<()> {
        self.check("probabilities", probabilities, classes, labels)?;
        if let Some(position) = probabilities.iter().position(|p| !(0.0..=1.0).contains(p)) {
            return Err(Error::Probability {
                position,
                value: probabilities[position],
            });
        }
        self.probabilities.extend(probabilities);
        self.labels.extend(labels);
        Ok(())
    }

    /// Adds all samples of `other`.
    ///
    /// # Errors
    /// If `other` has another number of classes.
    pub fn merge(&mut self, other: &Self) -> Result<()> {
        self.check_same(other.classes)?;
        self.probabilities.extend(&other.probabilities);
        self.labels.extend(&other.labels);
        Ok(())
    }

    /// Areas, or `None` before the first sample.
    pub fn compute(&self) -> Option<AurocScore> {
        if self.labels.is_empty() {
            return None;
        }
        let per_class: Vec<Option<f64>> = (0..self.classes).map(|class| self.area(class)).collect();
        let defined: Vec<f64> = per_class.iter().flatten().copied().collect();
        Some(AurocScore {
            macro_average: (!defined.is_empty())
                .then(|| defined.iter().sum::<f64>() / defined.len() as f64),
            per_class,
            samples: self.labels.len() as u64,
        })
    }

    fn area(&self, class: usize) -> Option<f64> {
        let scores = self.probabilities.iter().skip(class).step_by(self.classes);
        let mut scored: Vec<(f32, bool)> = scores
            .zip(&self.labels)
            .map(|(&score, &label)| (score, label as usize == class))
            .collect();
        let inside = scored.iter().filter(|(_, inside)| *inside).count() as u128;
        let outside = scored.len() as u128 - inside;
        if inside == 0 || outside == 0 {
            return None;
        }
        if scored.iter().any(|(score, _)| score.is_nan()) {
            return Some(f64::NAN);
        }
        scored.sort_unstable_by(|a, b| a.0.total_cmp(&b.0));
        // Twice the number of ordered pairs: a pair of equal scores counts once.
        let (mut pairs, mut below) = (0u128, 0u128);
        for equal in scored.chunk_by(|a, b| a.0 == b.0) {
            let inside = equal.iter().filter(|(_, inside)| *inside).count() as u128;
            let outside = equal.len() as u128 - inside;
            pairs += inside * (2 * below + outside);
            below += outside;
        }
        Some(pairs as f64 / (2 * inside * outside) as f64)
    }

    fn check(
        &self,
        what: &'static str,
        scores: &[f32],
        classes: usize,
        labels: &[u32],
    ) -> Result<()> {
        self.check_same(classes)?;
        rows::check(what, scores, classes, labels)
    }

    fn check_same(&self, classes: usize) -> Result<()> {
        if classes == self.classes {
            return Ok(());
        }
        Err(Error::Unlike {
            what: "classes =",
            expected: self.classes,
            found: classes,
        })
    }
}

impl Metric for Auroc {
    fn name(&self) -> Cow<'static, str> {
        "auroc".into()
    }

    fn update_logits(&mut self, logits: &[f32], classes: usize, labels: &[u32]) -> Result<()> {
        self.update_logits(logits, classes, labels)
    }

    fn merge(&mut self, other: &Self) -> Result<()> {
        self.merge(other)
    }

    fn value(&self) -> Option<f64> {
        self.compute()?.macro_average
    }

    fn reset(&mut self) {
        self.probabilities.clear();
        self.labels.clear();
    }
}
