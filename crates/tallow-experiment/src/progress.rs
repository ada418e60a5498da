//! Progress of a runner, as a caller sees it.

use std::path::Path;

use tallow_datasets::ProgressFn;
use tallow_record::{RunInfo, Summary};
use tallow_train::Callback;

use crate::data::Splits;
use crate::experiment::Experiment;
use crate::outcome::Outcome;

/// Run that a runner is going to train.
#[derive(Clone, Debug, PartialEq)]
pub struct PlannedRun {
    /// Name of the variant.
    pub variant: String,
    /// Seed.
    pub seed: u64,
    /// Amount of work: multiply-adds of the forward passes.
    pub work: f64,
}

/// Observer of a runner. Every method has a default that does nothing.
pub trait Progress {
    /// Receives a message for the user, of one line or more.
    fn note(&mut self, _text: &str) {}

    /// Function that downloads report to, if any.
    fn downloads(&self) -> Option<ProgressFn> {
        None
    }

    /// Called when data was loaded.
    fn loaded(&mut self, _splits: &Splits) {}

    /// Called before the first of `runs`, which follow in this order.
    fn begin(&mut self, _experiment: &Experiment, _runs: &[PlannedRun]) {}

    /// Callback for the next run, whose record is in `folder`. To stop a run, use the runner's
    /// [`StopFlag`](crate::interrupt::StopFlag).
    fn run<'a>(&'a mut self, _info: &RunInfo, _folder: &Path) -> Box<dyn Callback + 'a> {
        Box::new(NoCallback)
    }

    /// Called when the run has ended.
    fn run_ended(&mut self, _summary: &Summary) {}

    /// Called when the run has diverged and the next one follows.
    fn run_failed(&mut self, _folder: &Path, _reason: &str) {}

    /// Called when the run has been trained for as many epochs as it was asked to for now, and the next one follows.
    fn run_paused(&mut self, _folder: &Path) {}

    /// Called when no more runs follow, because of an error or because the user asked to stop.
    fn stopped(&mut self, _reason: &str) {}

    /// Called after [`stopped`](Self::stopped) when the user asked to stop: the run in `folder` can be continued.
    fn interrupted(&mut self, _folder: &Path) {}

    /// Called after the last run.
    fn close(&mut self) {}

    /// Called when the claims were judged.
    fn judged(&mut self, _outcome: &Outcome) {}
}

/// Observer that does nothing.
#[derive(Clone, Copy, Debug, Default)]
pub struct NoProgress;

impl Progress for NoProgress {}

/// Callback that does nothing.
struct NoCallback;

impl Callback for NoCallback {}
