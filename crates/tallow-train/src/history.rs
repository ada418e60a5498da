//! History of a training run.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use tallow_metrics::ConfusionMatrix;
use tallow_record::EpochRow;

/// History of a training run: a row of metrics per epoch.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct History {
    /// Finished epochs.
    pub rows: Vec<EpochRow>,
    /// Reason for which training ended before the last epoch; `None` if it did not. Not part of a checkpoint.
    #[serde(skip)]
    pub stopped: Option<String>,
    /// Last evaluation of the test data; not part of a checkpoint.
    #[serde(skip)]
    pub evaluation: Option<Evaluation>,
    /// Epoch whose weights were restored at the end, see [`Trainer::with_restore_best`](crate::Trainer::with_restore_best). Not part
    /// of a checkpoint.
    #[serde(skip)]
    pub restored: Option<usize>,
    /// Whether the run was interrupted and is not at its end, see [`Trainer::with_interrupt`](crate::Trainer::with_interrupt). Not part
    /// of a checkpoint.
    #[serde(skip)]
    pub interrupted: bool,
}

/// Metrics of a model on a dataset, in evaluation mode.
#[derive(Clone, Debug, PartialEq)]
pub struct Evaluation {
    /// Mean loss over the samples.
    pub loss: f64,
    /// Accuracy, as a fraction.
    pub accuracy: f64,
    /// Top-5 accuracy, as a fraction, for more than five classes.
    pub top5: Option<f64>,
    /// Confusion matrix: rows are labels, columns are predictions.
    pub confusion: ConfusionMatrix,
    /// Number of samples.
    pub samples: u64,
    /// Values by name of the metrics that [`Trainer::with_metric`](crate::Trainer::with_metric) added.
    pub metrics: BTreeMap<String, f64>,
}

/// Metrics of an evaluation for its row: `None` where a value is not finite.
pub(crate) fn finite_metrics(evaluation: &Evaluation) -> BTreeMap<String, Option<f64>> {
    let metrics = evaluation.metrics.iter();
    metrics
        .map(|(name, &value)| (name.clone(), Some(value).filter(|value| value.is_finite())))
        .collect()
}

impl History {
    /// Row with the highest validation accuracy, or test accuracy in a run without validation; the first of several that are equal.
    pub fn best(&self) -> Option<&EpochRow> {
        let accuracy = |row: &EpochRow| row.validation_accuracy.or(row.test_accuracy);
        self.rows
            .iter()
            .filter(|row| accuracy(row).is_some())
            .reduce(|best, row| {
                if accuracy(row) > accuracy(best) {
                    row
                } else {
                    best
                }
            })
    }

    /// Wall time of all epochs, in seconds.
    pub fn seconds(&self) -> f64 {
        self.rows.iter().map(|row| row.seconds).sum()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    pub(crate) fn row(epoch: usize, test_accuracy: Option<f64>) -> EpochRow {
        EpochRow {
            epoch,
            train_loss: 0.1,
            train_accuracy: 0.5,
            test_loss: test_accuracy.map(|_| 0.3),
            test_accuracy,
            test_top5: None,
            lr: 0.01,
            seconds: 1.5,
            images_per_second: 100.0,
            metrics: Default::default(),
            ..EpochRow::default()
        }
    }

    #[test]
    fn the_best_row_is_the_first_of_the_highest() {
        let rows = [None, Some(0.5), Some(0.75), Some(0.75), Some(0.25)];
        let rows = rows
            .iter()
            .enumerate()
            .map(|(epoch, &a)| row(epoch, a))
            .collect();
        let history = History {
            rows,
            ..History::default()
        };
        assert_eq!(history.best().unwrap().epoch, 2);
        assert_eq!(history.seconds(), 7.5);
        assert_eq!(History::default().best(), None);
    }
}
