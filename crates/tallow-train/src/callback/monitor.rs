use serde::{Deserialize, Serialize};

use tallow_record::EpochRow;

/// Metric of an epoch by which epochs are compared.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(rename_all = "snake_case")]
pub enum Monitor {
    /// Training loss; lower is better.
    TrainLoss,
    /// Test loss; lower is better. A run with validation data has none until its end.
    TestLoss,
    /// Test accuracy; higher is better. A run with validation data has none until its end.
    TestAccuracy,
    /// Validation loss; lower is better.
    ValidationLoss,
    /// Validation accuracy; higher is better.
    ValidationAccuracy,
}

impl Monitor {
    /// Name of the metric in the run record.
    pub fn name(self) -> &'static str {
        match self {
            Monitor::TrainLoss => "train_loss",
            Monitor::TestLoss => "test_loss",
            Monitor::TestAccuracy => "test_accuracy",
            Monitor::ValidationLoss => "validation_loss",
            Monitor::ValidationAccuracy => "validation_accuracy",
        }
    }

    /// Whether higher values are better: those of an accuracy.
    pub fn higher_is_better(self) -> bool {
        matches!(self, Monitor::TestAccuracy | Monitor::ValidationAccuracy)
    }

    /// Best epoch of a run, the first one if several are equal: the epoch whose weights [`KeepBest`](super::KeepBest) keeps for the
    /// same metric. `None` without an epoch that has the metric.
    ///
    /// ```
    /// use tallow_train::{History, Monitor};
    ///
    /// let history = History::default();
    /// assert_eq!(Monitor::TestLoss.best(&history.rows), None);
    /// ```
    pub fn best(self, rows: &[EpochRow]) -> Option<&EpochRow> {
        let mut best: Option<&EpochRow> = None;
        for row in rows {
            let value = best.and_then(|best| self.value(best));
            if self.gain(row, value).is_some_and(|gain| gain > 0.0) {
                best = Some(row);
            }
        }
        best
    }

    /// Improvement of `row` over `best`; `None` if the metric is missing or NaN.
    pub(crate) fn gain(self, row: &EpochRow, best: Option<f64>) -> Option<f64> {
        let value = self.value(row)?;
        let Some(best) = best else {
            return Some(f64::INFINITY);
        };
        Some(match self.higher_is_better() {
            true => value - best,
            false => best - value,
        })
    }

    pub(crate) fn value(self, row: &EpochRow) -> Option<f64> {
        self.raw(row).filter(|value| !value.is_nan())
    }

    /// Value in `row`, which may be NaN; `None` if the run does not measure it.
    pub(crate) fn raw(self, row: &EpochRow) -> Option<f64> {
        match self {
            Monitor::TrainLoss => Some(row.train_loss),
            Monitor::TestLoss => row.test_loss,
            Monitor::TestAccuracy => row.test_accuracy,
            Monitor::ValidationLoss => row.validation_loss,
            Monitor::ValidationAccuracy => row.validation_accuracy,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn row(epoch: usize, test_loss: f64, test_accuracy: f64) -> EpochRow {
        EpochRow {
            epoch,
            train_loss: 1.0,
            train_accuracy: 0.5,
            test_loss: Some(test_loss),
            test_accuracy: Some(test_accuracy),
            test_top5: None,
            lr: 0.1,
            seconds: 1.0,
            images_per_second: 1.0,
            metrics: Default::default(),
            ..EpochRow::default()
        }
    }

    #[test]
    fn the_best_epoch_depends_on_the_metric() {
        let rows = [
            row(0, f64::NAN, 0.5),
            row(1, 0.3, 0.75),
            row(2, 0.2, 0.5),
            row(3, 0.2, 0.75),
        ];
        let best = |monitor: Monitor| monitor.best(&rows).unwrap().epoch;
        assert_eq!(best(Monitor::TestLoss), 2);
        assert_eq!(best(Monitor::TestAccuracy), 1);
        assert_eq!(best(Monitor::TrainLoss), 0);
        assert_eq!(Monitor::TestLoss.best(&rows[..1]), None);
    }
}
