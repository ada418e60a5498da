//! Learning-rate schedules.

mod anneal;
mod config;
mod curve;
mod one_cycle;
mod planned;
mod plateau;
mod warmup;

use serde::{Deserialize, Serialize};
use tallow_record::EpochRow;

pub use anneal::Anneal;
pub use config::ScheduleConfig;
pub use curve::Curve;
pub use one_cycle::OneCycle;
pub use plateau::{Plateau, ThresholdMode};
pub use warmup::{Warmup, WarmupKind};

use crate::error::{Error, Result};

/// Learning-rate schedule: a function of the time and of the metrics of the epochs before it, so that a resumed run continues with the
/// same rates.
///
/// The built-in schedules are those of [`ScheduleConfig`]. A schedule of your own is passed to
/// [`Trainer::with_schedule`](crate::Trainer::with_schedule):
///
/// ```
/// use tallow_train::{Per, Schedule};
///
/// /// Linear decay from the learning rate of the optimizer to 0.
/// struct LinearDecay;
///
/// impl Schedule for LinearDecay {
///     fn lr(&self, base_lr: f64, time: u64, total: u64) -> f64 {
///         base_lr * (1.0 - time as f64 / total as f64)
///     }
///     fn per(&self) -> Per {
///         Per::Step
///     }
/// }
///
/// assert_eq!(LinearDecay.lr(0.5, 25, 100), 0.375);
/// ```
pub trait Schedule: Send + Sync {
    /// Learning rate at `time` (from 0) of `total`, both in the unit [`per`](Self::per). `base_lr` is the optimizer's learning rate.
    fn lr(&self, base_lr: f64, time: u64, total: u64) -> f64;

    /// Momentum at `time` of `total`, for [`Optimizer::set_momentum`](crate::Optimizer::set_momentum). `None`, the default, leaves the
    /// optimizer's own.
    fn momentum(&self, _time: u64, _total: u64) -> Option<f64> {
        None
    }

    /// Unit of time; [`Per::Epoch`] by default.
    fn per(&self) -> Per {
        Per::Epoch
    }

    /// Whether the rate depends on `total`; true by default. Then a checkpoint is resumed only with the same number of epochs.
    fn depends_on_total(&self) -> bool {
        true
    }

    /// Checks the settings before a run of length `total`; nothing by default.
    ///
    /// # Errors
    /// [`Error::Config`](crate::Error::Config) when a setting is out of range.
    fn validate(&self, _total: u64) -> Result<()> {
        Ok(())
    }

    /// Metrics of all finished epochs, in order; nothing by default. Called before the first step, where a resumed run already has rows,
    /// and after each epoch. What a schedule keeps of them must depend on `rows` alone and not on earlier calls: then it needs no place
    /// in a checkpoint.
    ///
    /// # Errors
    /// Any error ends the run.
    fn observe(&mut self, _rows: &[EpochRow]) -> Result<()> {
        Ok(())
    }
}

impl<S: Schedule + ?Sized> Schedule for Box<S> {
    fn lr(&self, base_lr: f64, time: u64, total: u64) -> f64 {
        (**self).lr(base_lr, time, total)
    }
    fn momentum(&self, time: u64, total: u64) -> Option<f64> {
        (**self).momentum(time, total)
    }
    fn per(&self) -> Per {
        (**self).per()
    }
    fn depends_on_total(&self) -> bool {
        (**self).depends_on_total()
    }
    fn validate(&self, total: u64) -> Result<()> {
        (**self).validate(total)
    }
    fn observe(&mut self, rows: &[EpochRow]) -> Result<()> {
        (**self).observe(rows)
    }
}

/// Unit of time of a [`Schedule`].
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(rename_all = "lowercase")]
pub enum Per {
    /// Epochs: the rate changes between epochs.
    #[default]
    Epoch,
    /// Optimizer steps: the rate changes with every batch.
    Step,
}

/// Checks that the optimizer has a momentum if the schedule changes it, as PyTorch's `OneCycleLR` does.
pub(crate) fn check_momentum(
    schedule: &dyn Schedule,
    momentum: Option<f64>,
    total: u64,
) -> Result<()> {
    let changes = |time| schedule.momentum(time, total).is_some();
    if momentum.is_none() && (0..total).any(changes) {
        let message = "the optimizer has no momentum to change: give it one, or set `cycle_momentum` to false";
        return Err(Error::config("schedule.cycle_momentum", message));
    }
    Ok(())
}
