//! One epoch: a line of `metrics.jsonl`.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize, Serializer};

use crate::metric::{METRICS, Metric};
use crate::nan::{from_null, same, same_option, some_from_null};

/// Metrics of one finished epoch: a line of `metrics.jsonl`.
///
/// Training metrics are means over the batches of the epoch, each computed with the weights before its step. Validation and test
/// metrics are those of the weights at the end of the epoch; a run with validation data has no test metrics here. Accuracies are fractions in `[0, 1]`. A loss that is not
/// finite is `null` in the file and NaN here; a metric that was not measured is `None` and its key is left out.
///
/// In comparisons of rows NaN equals NaN.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub struct EpochRow {
    /// Epoch, from 0.
    pub epoch: usize,
    /// Mean training loss over the samples.
    #[serde(deserialize_with = "from_null")]
    pub train_loss: f64,
    /// Training accuracy.
    pub train_accuracy: f64,
    /// Mean validation loss over the samples.
    #[serde(
        default,
        skip_serializing_if = "Option::is_none",
        deserialize_with = "some_from_null"
    )]
    pub validation_loss: Option<f64>,
    /// Validation accuracy.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub validation_accuracy: Option<f64>,
    /// Top-5 validation accuracy, for more than five classes.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub validation_top5: Option<f64>,
    /// Mean test loss over the samples.
    #[serde(
        default,
        skip_serializing_if = "Option::is_none",
        deserialize_with = "some_from_null"
    )]
    pub test_loss: Option<f64>,
    /// Test accuracy.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub test_accuracy: Option<f64>,
    /// Top-5 test accuracy, for more than five classes.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub test_top5: Option<f64>,
    /// Learning rate of the last step.
    pub lr: f64,
    /// Wall time of training and evaluation, in seconds.
    pub seconds: f64,
    /// Images trained per second, without evaluation.
    pub images_per_second: f64,
    /// Validation or test metrics that the trainer was given besides the built-in ones, by name; `None` if not finite.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub metrics: BTreeMap<String, Option<f64>>,
}

impl EpochRow {
    /// Value of the metric with this name; `None` if it was not measured, is not finite, or is not a metric of an epoch.
    pub fn get(&self, name: &str) -> Option<f64> {
        self.measured(name).filter(|value| value.is_finite())
    }

    /// Metrics that were measured, in the order of [`METRICS`], those that are not finite included.
    pub fn metrics(&self) -> impl Iterator<Item = (&'static Metric, f64)> + '_ {
        METRICS
            .iter()
            .filter_map(|metric| Some((metric, self.measured(metric.name)?)))
    }

    fn measured(&self, name: &str) -> Option<f64> {
        match name {
            "train_loss" => Some(self.train_loss),
            "train_accuracy" => Some(self.train_accuracy),
            "validation_loss" => self.validation_loss,
            "validation_accuracy" => self.validation_accuracy,
            "validation_top5" => self.validation_top5,
            "test_loss" => self.test_loss,
            "test_accuracy" => self.test_accuracy,
            "test_top5" => self.test_top5,
            "lr" => Some(self.lr),
            "seconds" => Some(self.seconds),
            "images_per_second" => Some(self.images_per_second),
            _ => None,
        }
    }
}

impl PartialEq for EpochRow {
    fn eq(&self, other: &Self) -> bool {
        self.epoch == other.epoch
            && same(self.train_loss, other.train_loss)
            && same(self.train_accuracy, other.train_accuracy)
            && same_option(self.validation_loss, other.validation_loss)
            && same_option(self.validation_accuracy, other.validation_accuracy)
            && same_option(self.validation_top5, other.validation_top5)
            && same_option(self.test_loss, other.test_loss)
            && same_option(self.test_accuracy, other.test_accuracy)
            && same_option(self.test_top5, other.test_top5)
            && same(self.lr, other.lr)
            && same(self.seconds, other.seconds)
            && same(self.images_per_second, other.images_per_second)
            && self.metrics == other.metrics
    }
}

/// Serializes rows with every key, as results files have them: a metric that was not measured is `null`. Rows without validation have
/// no keys of it.
pub fn with_every_key<S: Serializer>(rows: &[EpochRow], serializer: S) -> Result<S::Ok, S::Error> {
    #[derive(Serialize)]
    struct Row<'a> {
        epoch: usize,
        train_loss: f64,
        train_accuracy: f64,
        #[serde(skip_serializing_if = "Option::is_none")]
        validation_loss: Option<f64>,
        #[serde(skip_serializing_if = "Option::is_none")]
        validation_accuracy: Option<f64>,
        #[serde(skip_serializing_if = "Option::is_none")]
        validation_top5: Option<f64>,
        test_loss: Option<f64>,
        test_accuracy: Option<f64>,
        test_top5: Option<f64>,
        lr: f64,
        seconds: f64,
        images_per_second: f64,
        #[serde(skip_serializing_if = "BTreeMap::is_empty")]
        metrics: &'a BTreeMap<String, Option<f64>>,
    }
    serializer.collect_seq(rows.iter().map(|row| Row {
        epoch: row.epoch,
        train_loss: row.train_loss,
        train_accuracy: row.train_accuracy,
        validation_loss: row.validation_loss,
        validation_accuracy: row.validation_accuracy,
        validation_top5: row.validation_top5,
        test_loss: row.test_loss,
        test_accuracy: row.test_accuracy,
        test_top5: row.test_top5,
        lr: row.lr,
        seconds: row.seconds,
        images_per_second: row.images_per_second,
        metrics: &row.metrics,
    }))
}
