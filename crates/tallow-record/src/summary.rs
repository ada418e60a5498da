//! Results of one run: `summary.json`.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::info::RunInfo;

/// Results of a finished run: `summary.json`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Summary {
    /// Identity of the run.
    pub run: RunInfo,
    /// Number of finished epochs.
    pub epochs: usize,
    /// Reason for which training ended before the last epoch; `None` if it did not.
    pub stopped: Option<String>,
    /// Wall time of all epochs, in seconds.
    pub seconds: f64,
    /// Metrics by name, see [`METRICS`](crate::METRICS): `train_loss`, `train_accuracy`, `test_loss`, `test_accuracy`
    /// and `test_top5` of the last epoch, the mean `images_per_second`, the `seconds` of all epochs,
    /// `best_test_accuracy` with its `best_epoch`, and what the program adds. A metric that was not measured is left
    /// out; one that is not finite is `null` in the file and `None` here.
    pub metrics: BTreeMap<String, Option<f64>>,
    /// Confusion matrix of the test data: rows are labels, columns are predictions.
    pub confusion: Option<Vec<Vec<u64>>>,
    /// Scores of the test data by class.
    pub per_class: Option<Vec<ClassScore>>,
}

/// Precision, recall and F1 of one class.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct ClassScore {
    /// Class, as in the labels.
    pub class: usize,
    /// Fraction of the samples predicted as this class that belong to it.
    pub precision: f64,
    /// Fraction of the samples of this class that are predicted as it.
    pub recall: f64,
    /// Harmonic mean of precision and recall.
    pub f1: f64,
    /// Number of samples of this class.
    pub support: u64,
    /// Number of samples predicted as this class; `None` in a results file.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub predicted: Option<u64>,
}
