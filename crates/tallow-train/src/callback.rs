//! Looking on while a model is trained.

use std::ops::ControlFlow;
use std::path::PathBuf;

use candle_core::backprop::GradStore;
use serde::{Deserialize, Serialize};
use tallow_ops::ParamStore;

use crate::{EpochRow, Evaluation, History, Result};

/// What a callback says to the trainer: go on, or stop for this reason.
pub type Flow = Result<ControlFlow<String>>;

/// Go on.
pub const CONTINUE: Flow = Ok(ControlFlow::Continue(()));

/// Is told what a [`Trainer`](crate::Trainer) does. Every method does nothing unless overridden.
///
/// Where one callback asks to stop, the others still hear of the same event. A stop at the end of
/// a batch drops the unfinished epoch; one at the end of an epoch keeps it.
pub trait Callback {
    /// Before the first epoch, or the first one after a resumption. What a callback remembers of
    /// earlier epochs it makes anew from the history here, so that a resumed run goes on as if it
    /// had never stopped.
    fn on_fit_start(&mut self, _fit: &FitStart) -> Flow {
        CONTINUE
    }

    /// Before an epoch's first batch.
    fn on_epoch_start(&mut self, _epoch: usize) -> Result<()> {
        Ok(())
    }

    /// Before a batch is trained on; `step` counts within the epoch, from 0.
    fn on_batch_start(&mut self, _epoch: usize, _step: usize) -> Result<()> {
        Ok(())
    }

    /// After the gradients are known and before the optimizer uses them.
    fn on_before_optimizer_step(&mut self, _step: &BeforeStep) -> Result<()> {
        Ok(())
    }

    /// After the optimizer's step.
    fn on_batch_end(&mut self, _batch: &BatchEnd) -> Flow {
        CONTINUE
    }

    /// After each batch of the evaluation that ends an epoch: `done` of `batches`.
    fn on_evaluation_batch(&mut self, _done: usize, _batches: usize) -> Result<()> {
        Ok(())
    }

    /// After the evaluation, before the checkpoint.
    fn on_epoch_end(&mut self, _epoch: &EpochEnd) -> Flow {
        CONTINUE
    }

    /// After the last epoch, or after a callback asked to stop; not after an error.
    fn on_fit_end(&mut self, _history: &History) -> Result<()> {
        Ok(())
    }
}

/// What is known before training.
pub struct FitStart<'a> {
    /// Epochs in all.
    pub epochs: usize,
    /// Batches an epoch.
    pub steps_per_epoch: usize,
    /// Samples an epoch.
    pub samples: usize,
    /// The epochs done before, if the run was resumed.
    pub history: &'a History,
    /// The model's parameters.
    pub store: &'a ParamStore,
}

/// One batch whose gradients are known.
pub struct BeforeStep<'a> {
    /// From 0.
    pub epoch: usize,
    /// Within the epoch, from 0.
    pub step: usize,
    /// Batches of this epoch.
    pub steps: usize,
    /// Of the loss by every parameter that is trained, and by some that are frozen.
    pub grads: &'a GradStore,
    /// The model's parameters.
    pub store: &'a ParamStore,
}

/// One batch that was trained on.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct BatchEnd {
    /// From 0.
    pub epoch: usize,
    /// Within the epoch, from 0.
    pub step: usize,
    /// Batches an epoch.
    pub steps: usize,
    /// Samples of this batch.
    pub samples: usize,
    /// Mean loss of the epoch so far. On the CPU it includes this batch; on other devices it is
    /// read every few steps, and is NaN before the first time.
    pub mean_loss: f64,
    /// The share of the epoch's samples so far that were predicted right, as up to date as `mean_loss`; 0 before the first time.
    pub accuracy: f64,
    /// The learning rate of the step.
    pub lr: f64,
}

/// One finished epoch.
pub struct EpochEnd<'a> {
    /// Its figures.
    pub row: &'a EpochRow,
    /// Epochs in all.
    pub epochs: usize,
    /// The whole evaluation, where there is test data.
    pub evaluation: Option<&'a Evaluation>,
    /// The model's parameters.
    pub store: &'a ParamStore,
}

impl<C: Callback + ?Sized> Callback for &mut C {
    fn on_fit_start(&mut self, fit: &FitStart) -> Flow {
        (**self).on_fit_start(fit)
    }
    fn on_epoch_start(&mut self, epoch: usize) -> Result<()> {
        (**self).on_epoch_start(epoch)
    }
    fn on_batch_start(&mut self, epoch: usize, step: usize) -> Result<()> {
        (**self).on_batch_start(epoch, step)
    }
    fn on_before_optimizer_step(&mut self, step: &BeforeStep) -> Result<()> {
        (**self).on_before_optimizer_step(step)
    }
    fn on_batch_end(&mut self, batch: &BatchEnd) -> Flow {
        (**self).on_batch_end(batch)
    }
    fn on_evaluation_batch(&mut self, done: usize, batches: usize) -> Result<()> {
        (**self).on_evaluation_batch(done, batches)
    }
    fn on_epoch_end(&mut self, epoch: &EpochEnd) -> Flow {
        (**self).on_epoch_end(epoch)
    }
    fn on_fit_end(&mut self, history: &History) -> Result<()> {
        (**self).on_fit_end(history)
    }
}

/// Writes a `tracing` line an epoch at level info, and one every `every` batches at level debug.
pub struct LogProgress {
    /// Batches between two debug lines.
    pub every: usize,
}

impl Callback for LogProgress {
    fn on_batch_end(&mut self, batch: &BatchEnd) -> Flow {
        if (batch.step + 1).is_multiple_of(self.every.max(1)) {
            let BatchEnd {
                epoch,
                step,
                steps,
                mean_loss,
                lr,
                ..
            } = *batch;
            tracing::debug!(epoch, step, steps, mean_loss, lr, "batch");
        }
        CONTINUE
    }

    fn on_epoch_end(&mut self, end: &EpochEnd) -> Flow {
        let row = end.row;
        tracing::info!(
            epoch = row.epoch,
            train_loss = row.train_loss,
            train_accuracy = row.train_accuracy,
            test_loss = row.test_loss,
            test_accuracy = row.test_accuracy,
            lr = row.lr,
            seconds = row.seconds,
            "epoch"
        );
        CONTINUE
    }
}

/// A figure of an epoch that says which epoch is better.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Monitor {
    /// Lower is better.
    TrainLoss,
    /// Lower is better.
    TestLoss,
    /// Higher is better.
    TestAccuracy,
}

impl Monitor {
    /// The figure's name in the run record.
    pub fn name(self) -> &'static str {
        match self {
            Monitor::TrainLoss => "train_loss",
            Monitor::TestLoss => "test_loss",
            Monitor::TestAccuracy => "test_accuracy",
        }
    }

    /// How much better `row` is than `best`; `None` where the figure is missing or no number.
    fn gain(self, row: &EpochRow, best: Option<f64>) -> Option<f64> {
        let value = self.value(row)?;
        let Some(best) = best else {
            return Some(f64::INFINITY);
        };
        match self {
            Monitor::TestAccuracy => Some(value - best),
            Monitor::TrainLoss | Monitor::TestLoss => Some(best - value),
        }
    }

    fn value(self, row: &EpochRow) -> Option<f64> {
        let value = match self {
            Monitor::TrainLoss => Some(row.train_loss),
            Monitor::TestLoss => row.test_loss,
            Monitor::TestAccuracy => row.test_accuracy,
        };
        value.filter(|value| !value.is_nan())
    }
}

/// Stops when a figure has not become better by more than `min_delta` for `patience` epochs in a
/// row, as Lightning's callback of this name.
pub struct EarlyStopping {
    monitor: Monitor,
    patience: usize,
    min_delta: f64,
    best: Option<f64>,
    waited: usize,
}

impl EarlyStopping {
    /// Looks at `monitor` after every epoch.
    pub fn new(monitor: Monitor, patience: usize) -> Self {
        Self {
            monitor,
            patience,
            min_delta: 0.0,
            best: None,
            waited: 0,
        }
    }

    /// Changes of up to `min_delta` do not count; 0 unless set.
    pub fn min_delta(mut self, min_delta: f64) -> Self {
        self.min_delta = min_delta;
        self
    }

    fn see(&mut self, row: &EpochRow) {
        match self.monitor.gain(row, self.best) {
            Some(gain) if gain > self.min_delta => {
                self.best = self.monitor.value(row);
                self.waited = 0;
            }
            _ => self.waited += 1,
        }
    }

    fn verdict(&self) -> Flow {
        if self.waited < self.patience.max(1) {
            return CONTINUE;
        }
        Ok(ControlFlow::Break(format!(
            "{} has not become better for {} epochs",
            self.monitor.name(),
            self.waited
        )))
    }
}

impl Callback for EarlyStopping {
    fn on_fit_start(&mut self, fit: &FitStart) -> Flow {
        (self.best, self.waited) = (None, 0);
        fit.history.rows.iter().for_each(|row| self.see(row));
        self.verdict()
    }

    fn on_epoch_end(&mut self, end: &EpochEnd) -> Flow {
        self.see(end.row);
        self.verdict()
    }
}

/// Keeps the weights of the best epoch so far in a file.
pub struct KeepBest {
    monitor: Monitor,
    path: PathBuf,
    best: Option<f64>,
}

impl KeepBest {
    /// Writes `path` whenever `monitor` is better than ever before.
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
