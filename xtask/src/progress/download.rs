//! What a person sees while a run goes on: bars on a terminal, a line an epoch elsewhere. All on standard error.

use std::io::{IsTerminal, stderr};
use std::ops::ControlFlow;
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use indicatif::{HumanBytes, ProgressBar, ProgressStyle};
use tallow_datasets::Progress;
use tallow_train::{BatchEnd, CONTINUE, Callback, EpochEnd, FitStart, Flow, Result};

use crate::interrupt;
use crate::table::percent;

/// Shows one training run, and stops it when the user asks to.
pub struct RunProgress {
    label: String,
    bar: ProgressBar,
    terminal: bool,
    epochs: usize,
    steps: usize,
    shown: Instant,
}

/// Between two changes of a bar's text; formatting it for every batch would slow small networks down.
const REFRESH: Duration = Duration::from_millis(100);

impl RunProgress {
    /// `label` says which run it is.
    pub fn new(label: String) -> Self {
        Self {
            label,
            bar: ProgressBar::hidden(),
            terminal: stderr().is_terminal(),
            epochs: 0,
            steps: 0,
            shown: Instant::now(),
        }
    }

    /// A line that stays, above the bar if there is one.
    fn line(&self, text: &str) {
        self.bar.suspend(|| eprintln!("{text}"));
    }
}

impl Callback for RunProgress {
    fn on_fit_start(&mut self, fit: &FitStart) -> Flow {
        self.epochs = fit.epochs;
        self.steps = fit.steps_per_epoch;
        if self.terminal {
            self.bar = ProgressBar::new(self.steps as u64)
                .with_style(style("{prefix} [{bar:30}] {pos}/{len} {msg}"));
        }
        go_on()
    }

    fn on_epoch_start(&mut self, epoch: usize) -> Result<()> {
        self.bar.set_length(self.steps as u64);
        self.bar.set_position(0);
        self.bar.set_message("");
        self.bar.set_prefix(format!(
            "{} epoch {}/{}",
            self.label,
            epoch + 1,
            self.epochs
        ));
        Ok(())
    }

    fn on_batch_end(&mut self, batch: &BatchEnd) -> Flow {
        if self.terminal && self.shown.elapsed() >= REFRESH {
            self.shown = Instant::now();
            self.bar.set_position(batch.step as u64 + 1);
            self.bar.set_message(format!("loss {:.4}", batch.mean_loss));
        }
        go_on()
    }

    fn on_evaluation_batch(&mut self, done: usize, batches: usize) -> Result<()> {
        if self.terminal && self.shown.elapsed() >= REFRESH {
            self.shown = Instant::now();
            self.bar.set_message("testing");
            self.bar.set_position(done as u64);
            self.bar.set_length(batches as u64);
        }
        Ok(())
    }

    fn on_epoch_end(&mut self, end: &EpochEnd) -> Flow {
        let row = end.row;
        let test = row
            .test_accuracy
            .map(|a| format!("  test accuracy {}", percent(a)))
            .unwrap_or_default();
        self.line(&format!(
            "{}  epoch {}/{}  train loss {:.4}{test}  {:.1} s",
            self.label,
            row.epoch + 1,
            end.epochs,
            row.train_loss,
            row.seconds
        ));
        go_on()
    }

    fn on_fit_end(&mut self, _history: &tallow_train::History) -> Result<()> {
        self.bar.finish_and_clear();
        Ok(())
    }
}

/// Unless the user asked to stop.
fn go_on() -> Flow {
    if interrupt::requested() {
        return Ok(ControlFlow::Break("interrupted".to_string()));
    }
    CONTINUE
}

/// Shows downloads.
#[derive(Default)]
pub struct DownloadProgress(Mutex<Option<(String, ProgressBar)>>);

impl DownloadProgress {
    /// A bar on a terminal, a line a file elsewhere.
    pub fn show(&self, progress: &Progress) {
        let mut current = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let same = current
            .as_ref()
            .is_some_and(|(file, _)| *file == progress.file);
        if !same {
            if let Some((_, bar)) = current.take() {
                bar.finish();
            }
            let bar = if stderr().is_terminal() {
                ProgressBar::no_length().with_style(style(
                    "downloading {prefix} [{bar:30}] {bytes}/{total_bytes} {bytes_per_sec}",
                ))
            } else {
                let size = progress.total.map(|n| format!(" ({})", HumanBytes(n)));
                eprintln!("downloading {}{}", progress.file, size.unwrap_or_default());
                ProgressBar::hidden()
            };
            bar.set_prefix(progress.file.clone());
            *current = Some((progress.file.clone(), bar));
        }
        if let Some((_, bar)) = current.as_ref() {
            if let Some(total) = progress.total {
                bar.set_length(total);
            }
            bar.set_position(progress.done);
            if progress.total == Some(progress.done) {
                bar.finish();
            }
        }
    }
}

fn style(template: &str) -> ProgressStyle {
    // The templates are fixed, so the fallback is for the type system alone.
    ProgressStyle::with_template(template).unwrap_or_else(|_| ProgressStyle::default_bar())
}
