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
#[serde(from = "Stored")]
pub struct ClassScore {
    /// Class, as in the labels.
    pub class: usize,
    /// Fraction of the samples predicted as this class that belong to it; `None`, and `null` in the file, for a class without
    /// samples. Records of earlier versions have 0 there, which is read as `None`.
    pub precision: Option<f64>,
    /// Fraction of the samples of this class that are predicted as it; `None` for a class without samples.
    pub recall: Option<f64>,
    /// Harmonic mean of precision and recall; `None` for a class without samples.
    pub f1: Option<f64>,
    /// Number of samples of this class.
    pub support: u64,
    /// Number of samples predicted as this class; `None` in a results file.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub predicted: Option<u64>,
}

/// [`ClassScore`] as a file of this or an earlier version has it.
#[derive(Deserialize)]
struct Stored {
    class: usize,
    precision: Option<f64>,
    recall: Option<f64>,
    f1: Option<f64>,
    support: u64,
    #[serde(default)]
    predicted: Option<u64>,
}

impl From<Stored> for ClassScore {
    fn from(stored: Stored) -> Self {
        let of_samples = |score: Option<f64>| score.filter(|_| stored.support > 0);
        Self {
            class: stored.class,
            precision: of_samples(stored.precision),
            recall: of_samples(stored.recall),
            f1: of_samples(stored.f1),
            support: stored.support,
            predicted: stored.predicted,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_class_without_samples_has_no_scores_in_old_and_new_records() {
        let read = |text: &str| serde_json::from_str::<ClassScore>(text).unwrap();
        let old = r#"{"class":1,"precision":0.0,"recall":0.0,"f1":0.0,"support":0,"predicted":3}"#;
        let new =
            r#"{"class":1,"precision":null,"recall":null,"f1":null,"support":0,"predicted":3}"#;
        assert_eq!(read(old), read(new));
        assert_eq!(read(old).precision, None);
        assert_eq!(serde_json::to_string(&read(old)).unwrap(), new);
        // With samples, 0 is a score.
        let zero = r#"{"class":1,"precision":0.0,"recall":0.0,"f1":0.0,"support":2}"#;
        assert_eq!(read(zero).recall, Some(0.0));
        assert_eq!(serde_json::to_string(&read(zero)).unwrap(), zero);
    }
}
