use serde::{Deserialize, Serialize};
use tallow_record::EpochRow;

use crate::callback::Monitor;
use crate::error::{Error, Result, not_negative};

/// Reduction of the learning rate when a metric has not improved for more than `patience` epochs: `ReduceLROnPlateau`, with its settings
/// and defaults.
///
/// The metric is compared after every epoch that ends after the warmup.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(default, deny_unknown_fields)]
pub struct Plateau {
    /// Metric. Default: the loss on the validation data, and without validation data the training loss. The test data choose nothing
    /// unless they are named here.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub monitor: Option<Monitor>,
    /// Factor of each reduction, in `[0, 1)`; 0.1 by default.
    pub factor: f64,
    /// Epochs without improvement that are allowed; 10 by default.
    pub patience: u64,
    /// Least improvement that counts; 1e-4 by default.
    pub threshold: f64,
    /// Meaning of `threshold`.
    pub threshold_mode: ThresholdMode,
    /// Epochs after a reduction that are not counted; 0 by default.
    pub cooldown: u64,
    /// Least learning rate; 0 by default.
    pub min_lr: f64,
    /// Changes of the rate up to this are not made; 1e-8 by default.
    pub eps: f64,
}

/// Meaning of [`Plateau::threshold`].
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(rename_all = "lowercase")]
pub enum ThresholdMode {
    /// Share of the best value.
    #[default]
    Rel,
    /// Difference from the best value.
    Abs,
}

impl Default for Plateau {
    fn default() -> Self {
        Self {
            monitor: None,
            factor: 0.1,
            patience: 10,
            threshold: 1e-4,
            threshold_mode: ThresholdMode::Rel,
            cooldown: 0,
            min_lr: 0.0,
            eps: 1e-8,
        }
    }
}

impl Plateau {
    /// Rate after so many reductions.
    pub(super) fn lr(&self, base_lr: f64, reductions: u64) -> f64 {
        let mut lr = base_lr;
        for _ in 0..reductions {
            let reduced = (lr * self.factor).max(self.min_lr);
            if lr - reduced <= self.eps {
                break;
            }
            lr = reduced;
        }
        lr
    }

    /// Number of reductions after these epochs.
    pub(super) fn reductions(&self, rows: &[EpochRow]) -> Result<u64> {
        let (mut reductions, mut waited, mut cooling) = (0, 0, 0u64);
        let mut best: Option<f64> = None;
        for row in rows {
            let value = self.value(row)?;
            // NaN is never an improvement.
            if best.map_or(!value.is_nan(), |best| self.improves(value, best)) {
                best = Some(value);
                waited = 0;
            } else {
                waited += 1;
            }
            if cooling > 0 {
                cooling -= 1;
                waited = 0;
            }
            if waited > self.patience {
                reductions += 1;
                cooling = self.cooldown;
                waited = 0;
            }
        }
        Ok(reductions)
    }

    fn value(&self, row: &EpochRow) -> Result<f64> {
        let Some(monitor) = self.monitor else {
            return Ok(row.get("validation_loss").unwrap_or(row.train_loss));
        };
        monitor.raw(row).ok_or_else(|| {
            let message = format!(
                "epoch {} has no {}: the run does not measure it",
                row.epoch + 1,
                monitor.name()
            );
            Error::config("schedule.monitor", message)
        })
    }

    fn improves(&self, value: f64, best: f64) -> bool {
        let higher = self.monitor.is_some_and(Monitor::higher_is_better);
        match (higher, self.threshold_mode) {
            (false, ThresholdMode::Rel) => value < best * (1.0 - self.threshold),
            (false, ThresholdMode::Abs) => value < best - self.threshold,
            (true, ThresholdMode::Rel) => value > best * (1.0 + self.threshold),
            (true, ThresholdMode::Abs) => value > best + self.threshold,
        }
    }

    pub(super) fn validate(&self) -> Result<()> {
        if !(0.0..1.0).contains(&self.factor) {
            let message = format!("{} is not in [0, 1)", self.factor);
            return Err(Error::config("schedule.factor", message));
        }
        not_negative("schedule.threshold", self.threshold)?;
        not_negative("schedule.min_lr", self.min_lr)?;
        not_negative("schedule.eps", self.eps)
    }
}
