//! Parts of a recipe that watch a run: validation data, early stopping, checkpoints.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use tallow_train::{CheckpointConfig, EarlyStopping, Monitor};

use crate::error::{Error, Result};

/// Part of the training images that the training does not see, for validation or for the test.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(
    untagged,
    expecting = "expected a share in (0, 1), such as 0.1, or a number of images"
)]
pub enum Validation {
    /// Number of training images.
    Images(usize),
    /// Share of the training images, in `(0, 1)`.
    Share(f64),
}

impl Validation {
    /// Number of images that are taken of a training set with so many. `key` is that of the recipe.
    ///
    /// # Errors
    /// [`Error::Recipe`] when no image is taken or none is left.
    pub fn images(&self, train: usize, key: &str) -> Result<usize> {
        let images = match *self {
            Self::Images(images) => images,
            Self::Share(share) => (share * train as f64).round() as usize,
        };
        if images == 0 || images >= train {
            return Err(Error::Recipe(format!(
                "{key} would take {images} of {train} training images: at least one must be taken and one be left"
            )));
        }
        Ok(images)
    }

    pub(crate) fn check(&self, key: &str) -> Result<()> {
        match *self {
            Self::Images(images) if images >= 1 => Ok(()),
            Self::Share(share) if share > 0.0 && share < 1.0 => Ok(()),
            Self::Images(wrong) => refuse(format!(
                "{key} is {wrong}: expected a share in (0, 1), such as 0.1, or a number of images"
            )),
            Self::Share(wrong) => refuse(format!(
                "{key} is {wrong}: expected a share in (0, 1), such as 0.1, or a number of images"
            )),
        }
    }
}

/// Early stopping: ends training when a metric has stopped improving, as Lightning's `EarlyStopping`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Stopping {
    /// Metric of an epoch; default: `train.monitor`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub monitor: Option<Monitor>,
    /// Direction of improvement. It follows from the metric; a recipe that says it says the same.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub mode: Option<Mode>,
    /// Epochs without an improvement after which training ends; default: 3.
    #[serde(default = "three")]
    pub patience: usize,
    /// Largest change that is no improvement; default: 0.
    #[serde(default)]
    pub min_delta: f64,
}

fn three() -> usize {
    3
}

/// Direction of improvement of a metric.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum Mode {
    /// Lower is better.
    Min,
    /// Higher is better.
    Max,
}

/// Checkpoints of a run. Each is exact to the step.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct Checkpoint {
    /// Epochs from one checkpoint to the next.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub every_epochs: Option<usize>,
    /// Steps from one checkpoint to the next.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub every_steps: Option<usize>,
    /// Minutes from one checkpoint to the next.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub every_minutes: Option<f64>,
    /// Number of checkpoints to keep, the last ones, also when the run has finished; without it one is kept until then.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub keep_last: Option<usize>,
    /// Write the weights of the best epoch by `train.monitor` to `best.safetensors` in the run record.
    #[serde(skip_serializing_if = "crate::unset::is_default")]
    pub best: bool,
}

/// Minutes from one checkpoint to the next where a recipe does not set any interval.
const MINUTES: f64 = 1.0;

impl Checkpoint {
    /// Times of the checkpoints: those of the recipe, or every minute.
    pub fn config(&self) -> CheckpointConfig {
        let unset = self.every_epochs.is_none()
            && self.every_steps.is_none()
            && self.every_minutes.is_none();
        CheckpointConfig {
            every_epochs: self.every_epochs,
            every_steps: self.every_steps,
            every_minutes: self.every_minutes.or(unset.then_some(MINUTES)),
            keep_last: self.keep_last,
        }
    }
}

impl Stopping {
    /// Callback of these settings; `monitor` is that of the recipe.
    pub(crate) fn callback(&self, monitor: Monitor) -> EarlyStopping {
        let monitor = self.monitor.unwrap_or(monitor);
        EarlyStopping::new(monitor, self.patience).min_delta(self.min_delta)
    }

    /// Checks the settings, in a run with or without validation data, or where that is not known yet.
    pub(crate) fn check(&self, monitor: Monitor, validated: Option<bool>) -> Result<()> {
        if let Some(own) = self.monitor {
            check_monitor("train.early_stopping.monitor", own, validated)?;
        }
        if self.patience == 0 {
            return refuse("train.early_stopping.patience is 0: expected at least 1".into());
        }
        if !(self.min_delta.is_finite() && self.min_delta >= 0.0) {
            return refuse(format!(
                "train.early_stopping.min_delta is {}: expected a finite number of at least 0",
                self.min_delta
            ));
        }
        let monitor = self.monitor.unwrap_or(monitor);
        check_mode("train.early_stopping.mode", self.mode, monitor)
    }
}

/// Checks that the direction that `key` gives, if any, is that of its metric.
pub(crate) fn check_mode(key: &str, given: Option<Mode>, monitor: Monitor) -> Result<()> {
    let (mode, better) = match monitor.higher_is_better() {
        true => (Mode::Max, "higher"),
        false => (Mode::Min, "lower"),
    };
    if given.is_some_and(|given| given != mode) {
        return refuse(format!(
            "{key} contradicts the monitor {}, of which {better} is better; leave `mode` out",
            monitor.name()
        ));
    }
    Ok(())
}

/// Checks that a run with or without validation data has the metric `monitor` of `key` at the end of an epoch. Where it is not known whether
/// there is validation data, every metric passes.
pub(crate) fn check_monitor(key: &str, monitor: Monitor, validated: Option<bool>) -> Result<()> {
    let name = monitor.name();
    if name.starts_with("validation") && validated == Some(false) {
        return refuse(format!(
            "{key} is {name}, but there is no validation data: set data.validation, such as 0.1"
        ));
    }
    if name.starts_with("test") && validated == Some(true) {
        return refuse(format!(
            "{key} is {name}, but with validation data the test data is not read before the end: monitor {} instead",
            name.replace("test", "validation")
        ));
    }
    Ok(())
}

/// Sentence on a key that chooses `what`, such as the epoch, by the test data; `None` if `monitor` is not of the test data.
pub(crate) fn chosen_on_test(key: &str, what: &str, monitor: Monitor) -> Option<String> {
    matches!(monitor, Monitor::TestAccuracy | Monitor::TestLoss).then(|| {
        format!(
            "{key} chooses {what} by {}, so the test data is no longer unseen data; set data.validation, such as 0.1",
            monitor.name()
        )
    })
}

fn refuse(message: String) -> Result<()> {
    Err(Error::Recipe(message))
}
