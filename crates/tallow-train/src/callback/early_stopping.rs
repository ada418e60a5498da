use std::ops::ControlFlow;

use super::{CONTINUE, Callback, EpochEnd, FitStart, Flow, Monitor};
use tallow_record::EpochRow;

/// Early stopping: ends training when a metric has not improved by more than `min_delta` for `patience` epochs in a
/// row, as Lightning's callback of this name.
pub struct EarlyStopping {
    monitor: Monitor,
    patience: usize,
    min_delta: f64,
    best: Option<f64>,
    waited: usize,
}

impl EarlyStopping {
    /// Compares `monitor` after every epoch; `patience` is at least 1.
    pub fn new(monitor: Monitor, patience: usize) -> Self {
        Self {
            monitor,
            patience,
            min_delta: 0.0,
            best: None,
            waited: 0,
        }
    }

    /// Sets the largest change that does not count as an improvement; 0 by default.
    pub fn min_delta(mut self, min_delta: f64) -> Self {
        self.min_delta = min_delta;
        self
    }

    fn see(&mut self, row: &EpochRow) {
        // The epoch was not evaluated.
        if self.monitor.raw(row).is_none() {
            return;
        }
        match self.monitor.gain(row, self.best) {
            Some(gain) if gain > self.min_delta => {
                self.best = self.monitor.value(row);
                self.waited = 0;
            }
            _ => self.waited += 1,
        }
    }

    fn flow(&self) -> Flow {
        if self.waited < self.patience.max(1) {
            return CONTINUE;
        }
        Ok(ControlFlow::Break(format!(
            "{} has not improved for {} epochs",
            self.monitor.name(),
            self.waited
        )))
    }
}

impl Callback for EarlyStopping {
    fn on_fit_start(&mut self, fit: &FitStart) -> Flow {
        (self.best, self.waited) = (None, 0);
        if self.patience >= fit.epochs {
            tracing::warn!(
                "early stopping waits for {} epochs, but the run has {}: it cannot end the run",
                self.patience,
                fit.epochs
            );
        }
        fit.history.rows.iter().for_each(|row| self.see(row));
        self.flow()
    }

    fn on_epoch_end(&mut self, end: &EpochEnd) -> Flow {
        self.see(end.row);
        self.flow()
    }
}
