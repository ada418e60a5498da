use std::borrow::Cow;

use serde::{Deserialize, Serialize};

use crate::error::{Error, Result};
use crate::metric::Metric;
use crate::rows;

/// Confusion matrix: counts of (label, prediction) pairs, and the scores computed from them.
///
/// Rows are labels and columns predictions, as `sklearn.metrics.confusion_matrix`. The counts are integers, so
/// merging is exact.
///
/// # Classes without samples
/// Precision, recall and F1 of a class that no sample belongs to are `None`, also if the class was predicted, and the class is left
/// out of the macro average: there was nothing to find. scikit-learn and torchmetrics leave out of their macro average only
/// the classes that are neither labels nor predictions; a class that is predicted and has no samples counts there as 0, and lowers the
/// mean. The result here is scikit-learn's with `labels=numpy.unique(y_true)`. The precision of a class that has samples and was
/// never predicted is 0 (`zero_division=0`, the value of both libraries by default).
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct ConfusionMatrix {
    classes: usize,
    counts: Vec<u64>,
}

/// Scores of one class against all others.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct ClassScore {
    /// Class index.
    pub class: usize,
    /// Fraction of the samples predicted as this class that are of it; 0 if it was never predicted, `None` if it has no samples.
    pub precision: Option<f64>,
    /// Fraction of the samples of this class that are predicted as it; `None` if it has none.
    pub recall: Option<f64>,
    /// `2 tp / (2 tp + fp + fn)`, the harmonic mean of the two; `None` if the class has no samples.
    pub f1: Option<f64>,
    /// Number of samples of this class.
    pub support: u64,
    /// Number of samples predicted as this class.
    pub predicted: u64,
}

/// Precision, recall and F1 averaged over classes; 0 without samples.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Average {
    /// Averaged precision.
    pub precision: f64,
    /// Averaged recall.
    pub recall: f64,
    /// Averaged F1 (the mean of the F1 scores, not the F1 of the means).
    pub f1: f64,
    /// Number of samples.
    pub support: u64,
}

/// All scores of a confusion matrix: those of `sklearn.metrics.classification_report` and more.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Report {
    /// See [`ConfusionMatrix::accuracy`].
    pub accuracy: Option<f64>,
    /// See [`ConfusionMatrix::balanced_accuracy`].
    pub balanced_accuracy: Option<f64>,
    /// See [`ConfusionMatrix::cohen_kappa`].
    pub cohen_kappa: Option<f64>,
    /// See [`ConfusionMatrix::macro_average`].
    pub macro_average: Average,
    /// See [`ConfusionMatrix::weighted_average`].
    pub weighted_average: Average,
    /// See [`ConfusionMatrix::micro_average`].
    pub micro_average: Average,
    /// See [`ConfusionMatrix::per_class`].
    pub per_class: Vec<ClassScore>,
}

impl ConfusionMatrix {
    /// Empty matrix of `classes` x `classes` counts.
    ///
    /// # Errors
    /// If `classes` is zero or above 32,768.
    pub fn new(classes: usize) -> Result<Self> {
        rows::check_classes(classes)?;
        Ok(Self {
            classes,
            counts: vec![0; classes * classes],
        })
    }

    /// Number of classes.
    pub fn classes(&self) -> usize {
        self.classes
    }

    /// Adds one predicted class and one label per sample.
    ///
    /// # Errors
    /// If the lengths differ, or a label or prediction is not a class; nothing is added then.
    pub fn update(&mut self, predictions: &[u32], labels: &[u32]) -> Result<()> {
        if predictions.len() != labels.len() {
            return Err(Error::Length {
                what: "predictions",
                labels: labels.len(),
                expected: labels.len(),
                found: predictions.len(),
            });
        }
        rows::check_indices("label", labels, self.classes)?;
        rows::check_indices("prediction", predictions, self.classes)?;
        for (&prediction, &label) in predictions.iter().zip(labels) {
            self.counts[label as usize * self.classes + prediction as usize] += 1;
        }
        Ok(())
    }

    /// Adds a batch: `logits` is `(N, classes)` in row-major order, `labels` is `(N)`. The prediction is the
    /// [`argmax`](crate::argmax) of each row.
    ///
    /// # Errors
    /// If `classes` is not that of the matrix, the lengths do not fit or a label is not a class; nothing is added
    /// then.
    pub fn update_logits(&mut self, logits: &[f32], classes: usize, labels: &[u32]) -> Result<()> {
        self.check_same(classes)?;
        rows::check("logits", logits, classes, labels)?;
        for (row, &label) in logits.chunks_exact(classes).zip(labels) {
            self.counts[label as usize * self.classes + rows::argmax(row)] += 1;
        }
        Ok(())
    }

    /// Adds all samples of `other`.
    ///
    /// # Errors
    /// If `other` has another number of classes.
    pub fn merge(&mut self, other: &Self) -> Result<()> {
        self.check_same(other.classes)?;
        for (count, more) in self.counts.iter_mut().zip(&other.counts) {
            *count += more;
        }
        Ok(())
    }

    /// Counts in row-major order, `classes` x `classes`: rows are labels, columns predictions.
    pub fn matrix(&self) -> &[u64] {
        &self.counts
    }

    /// Counts of the samples of one class by prediction; `None` if `label` is not a class.
    pub fn row(&self, label: usize) -> Option<&[u64]> {
        self.counts.chunks_exact(self.classes).nth(label)
    }

    /// Number of samples.
    pub fn total(&self) -> u64 {
        self.counts.iter().sum()
    }

    /// Fraction of samples on the diagonal, or `None` before the first sample.
    pub fn accuracy(&self) -> Option<f64> {
        let total = self.total();
        (total > 0).then(|| self.correct() as f64 / total as f64)
    }

    /// Mean recall over the classes that have samples (`sklearn.metrics.balanced_accuracy_score`), or `None`
    /// before the first sample.
    pub fn balanced_accuracy(&self) -> Option<f64> {
        let present: Vec<f64> = self.per_class().iter().filter_map(|c| c.recall).collect();
        (!present.is_empty()).then(|| present.iter().sum::<f64>() / present.len() as f64)
    }

    /// Cohen's kappa, `(observed - expected) / (1 - expected)` agreement (`sklearn.metrics.cohen_kappa_score`).
    /// `None` where it is undefined: before the first sample, and if labels and predictions are all one class.
    pub fn cohen_kappa(&self) -> Option<f64> {
        let total = self.total() as f64;
        let chance: f64 = self
            .per_class()
            .iter()
            .map(|c| c.support as f64 * c.predicted as f64)
            .sum();
        // Observed and expected disagreement, both times the square of the total: integers as long as they fit.
        let observed = (self.total() - self.correct()) as f64 * total;
        let expected = total * total - chance;
        (expected > 0.0).then(|| 1.0 - observed / expected)
    }

    /// Precision, recall, F1 and support of every class, in order.
    pub fn per_class(&self) -> Vec<ClassScore> {
        let mut predicted = vec![0u64; self.classes];
        for row in self.counts.chunks_exact(self.classes) {
            for (sum, count) in predicted.iter_mut().zip(row) {
                *sum += count;
            }
        }
        let rows = self
            .counts
            .chunks_exact(self.classes)
            .zip(predicted)
            .enumerate();
        rows.map(|(class, (row, predicted))| {
            let support = row.iter().sum();
            let hits = row[class];
            let score = |part, whole| (support > 0).then(|| ratio(part, whole));
            ClassScore {
                class,
                precision: score(hits, predicted),
                recall: score(hits, support),
                f1: score(2 * hits, support + predicted),
                support,
                predicted,
            }
        })
        .collect()
    }

    /// Unweighted mean over the classes that have samples. scikit-learn and torchmetrics also count classes that were predicted and
    /// have none, see [above](Self#classes-without-samples).
    pub fn macro_average(&self) -> Average {
        self.average(|class| f64::from(u8::from(class.support > 0)))
    }

    /// Mean over the classes weighted by their support.
    pub fn weighted_average(&self) -> Average {
        self.average(|class| class.support as f64)
    }

    /// Scores of all decisions pooled. With one label and one prediction per sample, all three are the accuracy.
    pub fn micro_average(&self) -> Average {
        let accuracy = self.accuracy().unwrap_or(0.0);
        Average {
            precision: accuracy,
            recall: accuracy,
            f1: accuracy,
            support: self.total(),
        }
    }

    /// All of these scores in one struct.
    pub fn report(&self) -> Report {
        Report {
            accuracy: self.accuracy(),
            balanced_accuracy: self.balanced_accuracy(),
            cohen_kappa: self.cohen_kappa(),
            macro_average: self.macro_average(),
            weighted_average: self.weighted_average(),
            micro_average: self.micro_average(),
            per_class: self.per_class(),
        }
    }

    fn correct(&self) -> u64 {
        (0..self.classes)
            .map(|class| self.counts[class * self.classes + class])
            .sum()
    }

    /// Mean over the classes that have samples.
    fn average(&self, weight: impl Fn(&ClassScore) -> f64) -> Average {
        let scores = self.per_class();
        let total: f64 = scores.iter().map(&weight).sum();
        let mean = |value: fn(&ClassScore) -> Option<f64>| {
            if total == 0.0 {
                return 0.0;
            }
            let terms = (scores.iter()).filter_map(|class| Some(weight(class) * value(class)?));
            terms.sum::<f64>() / total
        };
        Average {
            precision: mean(|c| c.precision),
            recall: mean(|c| c.recall),
            f1: mean(|c| c.f1),
            support: self.total(),
        }
    }

    fn check_same(&self, classes: usize) -> Result<()> {
        if classes != self.classes {
            return Err(Error::Unlike {
                what: "classes =",
                expected: self.classes,
                found: classes,
            });
        }
        Ok(())
    }
}

impl Metric for ConfusionMatrix {
    fn name(&self) -> Cow<'static, str> {
        "accuracy".into()
    }

    fn update_logits(&mut self, logits: &[f32], classes: usize, labels: &[u32]) -> Result<()> {
        self.update_logits(logits, classes, labels)
    }

    fn merge(&mut self, other: &Self) -> Result<()> {
        self.merge(other)
    }

    fn value(&self) -> Option<f64> {
        self.accuracy()
    }

    /// `accuracy`, `balanced_accuracy`, `cohen_kappa`, and `precision`, `recall` and `f1` after `macro_` and `weighted_`.
    fn values(&self) -> Vec<(String, f64)> {
        let report = self.report();
        let mut values = vec![
            ("accuracy", report.accuracy),
            ("balanced_accuracy", report.balanced_accuracy),
            ("cohen_kappa", report.cohen_kappa),
        ];
        if report.accuracy.is_some() {
            let (plain, weighted) = (report.macro_average, report.weighted_average);
            values.extend([
                ("macro_precision", Some(plain.precision)),
                ("macro_recall", Some(plain.recall)),
                ("macro_f1", Some(plain.f1)),
                ("weighted_precision", Some(weighted.precision)),
                ("weighted_recall", Some(weighted.recall)),
                ("weighted_f1", Some(weighted.f1)),
            ]);
        }
        values
            .into_iter()
            .filter_map(|(name, value)| Some((name.to_string(), value?)))
            .collect()
    }

    fn reset(&mut self) {
        self.counts.fill(0);
    }
}

fn ratio(part: u64, whole: u64) -> f64 {
    if whole == 0 {
        0.0
    } else {
        part as f64 / whole as f64
    }
}
