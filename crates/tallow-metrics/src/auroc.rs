use crate::{Error, Result, mean, rows};
use serde::{Deserialize, Serialize};

/// The area under the receiver operating characteristic of each class against all others: how likely a sample of the class has a
/// higher probability for it than one of another class has, equal ones counting half.
///
/// It is `torchmetrics.classification.MulticlassAUROC(thresholds=None)` and `sklearn.metrics.roc_auc_score(multi_class="ovr")`, but
/// for a class without samples, or with nothing else: there the area is undefined, and is left out of the average (torchmetrics calls
/// it 0, scikit-learn NaN).
///
/// Every probability is kept, four bytes each, since the area needs their order. Pairs are counted in integers, so batch size and
/// order do not matter.
#[derive(Clone, Debug)]
pub struct Auroc {
    classes: usize,
    /// `(N, classes)` in row-major order.
    probabilities: Vec<f32>,
    labels: Vec<u32>,
}

/// The result of an [`Auroc`].
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct AurocScore {
    /// The plain mean over the classes for which it is defined, in `[0, 1]`; `None` when there is none. NaN when a row of logits
    /// held NaN.
    pub macro_average: Option<f64>,
    /// By class; `None` where every sample is of that class, or none.
    pub per_class: Vec<Option<f64>>,
    /// The number of samples.
    pub samples: u64,
}

impl Auroc {
    /// Over nothing yet.
    ///
    /// # Errors
    /// When `classes` is zero or above 32,768.
    pub fn new(classes: usize) -> Result<Self> {
        rows::check_classes(classes)?;
        Ok(Self {
            classes,
            probabilities: Vec::new(),
            labels: Vec::new(),
        })
    }

    /// Adds a batch: `logits` is `(N, classes)` in row-major order, `labels` is `(N)`. The logits always pass through a softmax, in
    /// f64 and then rounded to f32 (torchmetrics skips it for a batch that happens to lie in `[0, 1]`).
    ///
    /// # Errors
    /// When `classes` is not that of the metric, the lengths do not fit or a label is not a class; nothing is added then.
    pub fn update_logits(&mut self, logits: &[f32], classes: usize, labels: &[u32]) -> Result<()> {
        self.check("logits", logits, classes, labels)?;
        for row in logits.chunks_exact(classes) {
            let (max, exp_sum) = mean::log_sum_exp_parts(row);
            let share = |&x: &f32| ((f64::from(x) - max).exp() / exp_sum) as f32;
            self.probabilities.extend(row.iter().map(share));
        }
        self.labels.extend(labels);
        Ok(())
    }

    /// Adds a batch of probabilities, `(N, classes)` in row-major order, as they are.
    ///
    /// # Errors
    /// When `classes` is not that of the metric, the lengths do not fit, a label is not a class or a value is not in `[0, 1]`;
    /// nothing is added then.
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

    /// Adds everything `other` has seen.
    ///
    /// # Errors
    /// When `other` has another number of classes.
    pub fn merge(&mut self, other: &Self) -> Result<()> {
        self.check_same(other.classes)?;
        self.probabilities.extend(&other.probabilities);
        self.labels.extend(&other.labels);
        Ok(())
    }

    /// The areas so far, or `None` before the first sample.
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
        // Twice the pairs in order: one of equal scores counts once.
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
