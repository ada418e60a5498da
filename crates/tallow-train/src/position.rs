//! Position in the middle of an epoch.

use std::time::Instant;

use serde::{Deserialize, Serialize};

use crate::tally::TallyState;

/// Position of a run in the middle of an epoch, in a checkpoint.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub(crate) struct Position {
    /// Steps done of the epoch.
    pub step: usize,
    /// Training loss and accuracy of the epoch so far.
    pub tally: TallyState,
    /// Learning rate of the last step.
    pub lr: f64,
    /// Wall time of the epoch so far, in seconds.
    pub seconds: f64,
}

impl Position {
    /// Position before the first step, at which the learning rate is `lr`.
    pub fn start(lr: f64) -> Self {
        Self {
            lr,
            ..Self::default()
        }
    }
}

/// Wall time of an epoch, which may have begun in another process.
pub(crate) struct Clock {
    before: f64,
    started: Instant,
}

impl Clock {
    /// Clock that starts now, after `before` seconds.
    pub fn start(before: f64) -> Self {
        Self {
            before,
            started: Instant::now(),
        }
    }

    /// Seconds of the epoch so far.
    pub fn seconds(&self) -> f64 {
        self.before + self.started.elapsed().as_secs_f64()
    }
}
