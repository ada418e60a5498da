use std::path::PathBuf;

use super::{CONTINUE, Callback, EpochEnd, FitStart, Flow, Monitor};
use tallow_record::EpochRow;

/// File of the weights of the best epoch so far, as Lightning's `ModelCheckpoint(save_top_k=1)`.
///
/// [`Monitor::best`] finds the epoch of the weights in the history.
pub struct KeepBest {
    monitor: Monitor,
    path: PathBuf,
    best: Option<f64>,
}

impl KeepBest {
    /// Writes `path` (safetensors) whenever `monitor` is better than in all epochs before.
    pub fn new(monitor: Monitor, path: impl Into<PathBuf>) -> Self {
        Self {
            monitor,
            path: path.into(),
            best: None,
        }
    }

    fn see(&mut self, row: &EpochRow) -> bool {
        let better = self
            .monitor
            .gain(row, self.best)
            .is_some_and(|gain| gain > 0.0);
        if better {
            self.best = self.monitor.value(row);
        }
        better
    }
}

impl Callback for KeepBest {
    fn on_fit_start(&mut self, fit: &FitStart) -> Flow {
        self.best = None;
        for row in &fit.history.rows {
            self.see(row);
        }
        CONTINUE
    }

    fn on_epoch_end(&mut self, end: &EpochEnd) -> Flow {
        if self.see(end.row) {
            end.store.save(&self.path)?;
        }
        CONTINUE
    }
}
