//! Pause of a run after an epoch.

use std::cell::Cell;

use tallow_train::{CONTINUE, Callback, EpochEnd, FitStart, Flow};

/// Callback that counts the finished epochs of a run.
pub(super) struct Epochs<'a>(pub &'a Cell<usize>);

impl Callback for Epochs<'_> {
    fn on_fit_start(&mut self, fit: &FitStart) -> Flow {
        self.0.set(fit.history.rows.len());
        CONTINUE
    }

    fn on_epoch_end(&mut self, end: &EpochEnd) -> Flow {
        self.0.set(end.row.epoch + 1);
        CONTINUE
    }
}
