use std::time::Instant;

use serde::{Deserialize, Serialize};

use crate::error::{Error, Result};

/// Times at which checkpoints are written, and their number. With none of the three `every_*` set, only a run that is stopped writes one.
///
/// Each checkpoint is exact to the step, so a resumed run ends with the same bits wherever its checkpoint was.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct CheckpointConfig {
    /// Epochs from one checkpoint to the next, each at the end of an epoch.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub every_epochs: Option<usize>,
    /// Optimizer steps from one checkpoint to the next, counted over the whole run.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub every_steps: Option<usize>,
    /// Minutes from one checkpoint to the next; a fraction is allowed. The checkpoint follows the step during which they have passed.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub every_minutes: Option<f64>,
    /// Number of checkpoints that are kept, the last ones; default: 1.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub keep_last: Option<usize>,
}

impl CheckpointConfig {
    /// A checkpoint at the end of every epoch.
    pub fn every_epoch() -> Self {
        Self {
            every_epochs: Some(1),
            ..Self::default()
        }
    }

    /// Checks the settings.
    ///
    /// # Errors
    /// [`Error::Config`] when a number is 0, or the minutes are negative or not finite.
    pub fn validate(&self) -> Result<()> {
        let zero = |value: Option<usize>| value == Some(0);
        let message = "is 0: expected at least 1; leave the key out for none";
        if zero(self.every_epochs) {
            return Err(Error::config("checkpoint.every_epochs", message));
        }
        if zero(self.every_steps) {
            return Err(Error::config("checkpoint.every_steps", message));
        }
        if zero(self.keep_last) {
            let message = "is 0: expected at least 1, since a run resumes from its last checkpoint";
            return Err(Error::config("checkpoint.keep_last", message));
        }
        match self.every_minutes {
            Some(minutes) if !(minutes.is_finite() && minutes >= 0.0) => Err(Error::config(
                "checkpoint.every_minutes",
                format!("{minutes} is not a finite number of at least 0"),
            )),
            _ => Ok(()),
        }
    }

    /// Number of checkpoints that are kept.
    pub(super) fn kept(&self) -> usize {
        self.keep_last.unwrap_or(1).max(1)
    }

    /// Whether a checkpoint is due after an epoch, the `epochs`-th of the run.
    pub(super) fn due_after_epoch(&self, epochs: usize, last: Instant) -> bool {
        let every = self.every_epochs.filter(|&every| every > 0);
        every.is_some_and(|every| epochs.is_multiple_of(every)) || self.overdue(last)
    }

    /// Whether a checkpoint is due after a step, the `steps`-th of the run.
    pub(super) fn due_after_step(&self, steps: usize, last: Instant) -> bool {
        let every = self.every_steps.filter(|&every| every > 0);
        every.is_some_and(|every| steps.is_multiple_of(every)) || self.overdue(last)
    }

    fn overdue(&self, last: Instant) -> bool {
        let minutes = self.every_minutes.filter(|minutes| minutes.is_finite());
        minutes.is_some_and(|minutes| last.elapsed().as_secs_f64() >= minutes * 60.0)
    }
}
