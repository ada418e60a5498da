//! What a run has come to, epoch by epoch.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use tallow_metrics::ConfusionMatrix;

/// The epochs of a run.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct History {
    /// One row a finished epoch.
    pub rows: Vec<EpochRow>,
    /// Why training ended before the last epoch, where it did; not part of a checkpoint.
    #[serde(skip)]
    pub stopped: Option<String>,
    /// The last evaluation of the test data; not part of a checkpoint.
    #[serde(skip)]
    pub evaluation: Option<Evaluation>,
}

/// One finished epoch: a line of `metrics.jsonl`.
///
/// The training figures are those of the batches as they were trained on, each with the weights
/// of its moment; the test figures are those of the weights at the epoch's end. Accuracies are
/// fractions. A loss that is not finite is written as `null` and read as NaN.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct EpochRow {
    /// From 0.
    pub epoch: usize,
    /// Mean over the samples.
    #[serde(deserialize_with = "nan_from_null")]
    pub train_loss: f64,
    /// The share of samples predicted right.
    pub train_accuracy: f64,
    /// Mean over the samples.
    #[serde(default, skip_serializing_if = "Option::is_none", with = "loss_if_any")]
    pub test_loss: Option<f64>,
    /// The share of samples predicted right.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub test_accuracy: Option<f64>,
    /// The share of samples whose label is among the best five, for more than five classes.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub test_top5: Option<f64>,
    /// The learning rate of the epoch's last step.
    pub lr: f64,
    /// Training and evaluation.
    pub seconds: f64,
    /// Training alone.
    pub images_per_second: f64,
}

/// How a model does on a data set, in evaluation mode.
#[derive(Clone, Debug, PartialEq)]
pub struct Evaluation {
    /// Mean over the samples.
    pub loss: f64,
    /// The share of samples predicted right.
    pub accuracy: f64,
    /// The share of samples whose label is among the best five, for more than five classes.
    pub top5: Option<f64>,
    /// Rows are labels, columns predictions.
    pub confusion: ConfusionMatrix,
    /// Number of samples.
    pub samples: u64,
    /// Values by name of the metrics that [`Trainer::with_metric`](crate::Trainer::with_metric) added.
    pub metrics: BTreeMap<String, f64>,
}

impl History {
    /// The row with the highest test accuracy, the first one where several are equal.
    pub fn best(&self) -> Option<&EpochRow> {
        self.rows
            .iter()
            .filter(|row| row.test_accuracy.is_some())
            .reduce(|best, row| {
                if row.test_accuracy > best.test_accuracy {
                    row
                } else {
                    best
                }
            })
    }

    /// Seconds of all epochs.
    pub fn seconds(&self) -> f64 {
        self.rows.iter().map(|row| row.seconds).sum()
    }
}

fn nan_from_null<'de, D: serde::Deserializer<'de>>(deserializer: D) -> Result<f64, D::Error> {
    Ok(Option::deserialize(deserializer)?.unwrap_or(f64::NAN))
}

/// A field that is left out where there is no value, and `null` where the value is not finite.
mod loss_if_any {
    use serde::{Deserializer, Serialize, Serializer};

    pub fn serialize<S: Serializer>(value: &Option<f64>, serializer: S) -> Result<S::Ok, S::Error> {
        value.unwrap_or(f64::NAN).serialize(serializer)
    }

    pub fn deserialize<'de, D: Deserializer<'de>>(d: D) -> Result<Option<f64>, D::Error> {
        super::nan_from_null(d).map(Some)
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
        }
    }

    #[test]
    fn rows_survive_json() {
        for row in [row(0, None), row(7, Some(1.0 / 3.0))] {
            let text = serde_json::to_string(&row).unwrap();
            assert_eq!(
                serde_json::from_str::<EpochRow>(&text).unwrap(),
                row,
                "{text}"
            );
        }
        let mut bad = row(1, Some(0.1));
        bad.test_loss = Some(f64::INFINITY);
        let text = serde_json::to_string(&bad).unwrap();
        assert!(text.contains(r#""test_loss":null"#), "{text}");
        let read: EpochRow = serde_json::from_str(&text).unwrap();
        assert!(read.test_loss.unwrap().is_nan());
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
