//! Progress of experiments for the user: on the terminal, and as events.

use std::fmt::Display;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Instant;

use anyhow::{Result, ensure};
use tallow_datasets::ProgressFn;
use tallow_experiment::{Experiment, Outcome, PlannedRun, Progress};
use tallow_record::{RunInfo, Summary, Tier, percent};
use tallow_train::{BatchEnd, CONTINUE, Callback, EpochEnd, FitStart, Flow};

use super::bars::Bars;
use super::download::DownloadProgress;
use super::events::{Event, Events};
use super::screen::{self, Screen};
use super::state::{Losses, Now, Run, State};
use super::terminal::{REFRESH, plain};
use crate::args::RunnerArgs;
use crate::console::status;

/// Progress of experiments on the terminal and as events.
pub struct Watch {
    state: State,
    view: View,
    events: Option<Events>,
    began: Instant,
    shown: Instant,
    tier: Tier,
    /// Folder of the current run.
    run: PathBuf,
    /// Folder of a run that was interrupted and can be continued.
    interrupted: Option<PathBuf>,
    wanted: Wanted,
}

/// Display of the current run.
enum View {
    Lines,
    Bars(Bars),
    Screen(Screen),
}

/// Display that the user asked for.
#[derive(Clone, Copy, PartialEq)]
enum Wanted {
    Lines,
    Bars,
    Screen,
}

impl Wanted {
    /// The display of these arguments, or lines where the terminal does not allow it.
    fn of(args: &RunnerArgs) -> Self {
        if !args.tui {
            return if plain() { Self::Lines } else { Self::Bars };
        }
        let taken = (args.events_on_stdout()).then_some("standard output is for events");
        match screen::refusal().or(taken) {
            None => Self::Screen,
            Some(reason) => Self::no_screen(reason),
        }
    }

    /// Lines instead of a screen, with the reason.
    fn no_screen(reason: impl Display) -> Self {
        status!("--tui: {reason}, so there is a line for each epoch instead");
        Self::Lines
    }
}

impl Watch {
    /// Opens the file of events. `json` says that standard output is for the result.
    pub fn new(args: &RunnerArgs, json: bool) -> Result<Self> {
        ensure!(
            !(json && args.events_on_stdout()),
            "--events - and --json both write to standard output; name a file for the events"
        );
        let events = args.events.as_deref();
        let events = events.map(|path| Events::create(path, args.events_every));
        Ok(Self {
            state: State::default(),
            view: View::Lines,
            events: events.transpose()?,
            began: Instant::now(),
            shown: Instant::now(),
            tier: Tier::Full,
            run: PathBuf::new(),
            interrupted: None,
            wanted: Wanted::of(args),
        })
    }

    /// Folder of a run that was interrupted and can be continued.
    pub fn interrupted(&self) -> Option<&Path> {
        self.interrupted.as_deref()
    }

    /// Ends the current run in the state.
    fn next(&mut self) -> PathBuf {
        let time = self.time();
        let state = &mut self.state;
        if let Some(run) = state.runs.get_mut(state.current) {
            run.seconds = run.started.map(|started| time - started);
        }
        state.current += 1;
        state.now = Now::default();
        state.losses = Losses::default();
        match &self.view {
            View::Lines => {}
            View::Bars(_) => self.view = View::Lines,
            View::Screen(screen) => screen.show(&self.state),
        }
        std::mem::take(&mut self.run)
    }

    /// Opens the display for a run.
    fn open(&mut self) -> View {
        match self.wanted {
            Wanted::Lines => View::Lines,
            Wanted::Bars => View::Bars(Bars::new()),
            Wanted::Screen => match Screen::open(&self.state, self.began) {
                Ok(screen) => View::Screen(screen),
                Err(error) => {
                    self.wanted = Wanted::no_screen(error);
                    View::Lines
                }
            },
        }
    }

    fn put(&mut self, event: &Event) {
        if let Some(events) = &mut self.events {
            events.put(event);
        }
    }

    fn time(&self) -> f64 {
        self.began.elapsed().as_secs_f64()
    }

    /// Shows the state, unless it was shown a moment ago.
    fn show(&mut self) {
        if self.shown.elapsed() >= REFRESH {
            match &self.view {
                View::Lines => {}
                View::Bars(bars) => bars.show(&self.state),
                View::Screen(screen) => screen.show(&self.state),
            }
            self.shown = Instant::now();
        }
    }

    /// Prints a line that stays.
    fn line(&self, line: &str) {
        match &self.view {
            View::Lines => status(line),
            View::Bars(bars) => bars.line(line),
            View::Screen(screen) => {
                status(line);
                screen.show(&self.state);
            }
        }
    }
}

impl Progress for Watch {
    fn note(&mut self, text: &str) {
        self.line(text);
    }

    fn downloads(&self) -> Option<ProgressFn> {
        let progress = DownloadProgress::default();
        Some(Arc::new(move |p| progress.show(&p)))
    }

    fn begin(&mut self, experiment: &Experiment, runs: &[PlannedRun]) {
        let run = |planned: &PlannedRun| Run {
            variant: planned.variant.clone(),
            seed: planned.seed,
            work: planned.work,
            ..Run::default()
        };
        self.began = Instant::now();
        self.tier = experiment.tier;
        self.state = State {
            title: format!("{}, {} tier", experiment.name, experiment.tier),
            runs: runs.iter().map(run).collect(),
            ..State::default()
        };
    }

    fn run<'a>(&'a mut self, info: &RunInfo, folder: &Path) -> Box<dyn Callback + 'a> {
        self.run = folder.to_path_buf();
        if matches!(self.view, View::Lines) {
            self.view = self.open();
        }
        Box::new(RunWatch {
            watch: self,
            info: info.clone(),
        })
    }

    fn run_ended(&mut self, summary: &Summary) {
        let run = self.next();
        self.put(&Event::RunEnded {
            run: &run,
            summary: summary.into(),
        });
    }

    fn run_failed(&mut self, _folder: &Path, reason: &str) {
        if let Some(run) = self.state.runs.get_mut(self.state.current) {
            run.failed = true;
        }
        let run = self.next();
        self.put(&Event::RunStopped { run: &run, reason });
    }

    fn run_paused(&mut self, _folder: &Path) {
        let run = self.next();
        self.put(&Event::RunPaused { run: &run });
    }

    fn stopped(&mut self, reason: &str) {
        self.close();
        let run = self.run.clone();
        self.put(&Event::RunStopped { run: &run, reason });
    }

    fn interrupted(&mut self, folder: &Path) {
        self.interrupted = Some(folder.to_path_buf());
    }

    fn close(&mut self) {
        self.view = View::Lines;
    }

    fn judged(&mut self, outcome: &Outcome) {
        self.put(&Event::ClaimsJudged {
            experiment: &outcome.experiment,
            tier: outcome.tier,
            failed: outcome.failed(),
            claims: &outcome.claims,
            statements: &outcome.statements,
        });
    }
}

/// Callback of one run.
struct RunWatch<'a> {
    watch: &'a mut Watch,
    info: RunInfo,
}

impl RunWatch<'_> {
    /// Changes the state.
    fn update(&mut self, change: impl FnOnce(&mut State, f64)) {
        let time = self.watch.time();
        self.watch.state.time = time;
        change(&mut self.watch.state, time);
    }
}

impl Callback for RunWatch<'_> {
    fn on_fit_start(&mut self, fit: &FitStart) -> Flow {
        self.update(|state, time| {
            let current = state.current;
            if let Some(run) = state.runs.get_mut(current) {
                run.started = Some(time);
                run.rows.clone_from(&fit.history.rows);
            }
            state.now = Now {
                epoch: fit.history.rows.len(),
                epochs: fit.epochs,
                step: fit.step,
                steps: fit.steps_per_epoch,
                loss: f64::NAN,
                epoch_started: time,
                step_ended: time,
                ..Now::default()
            };
        });
        let state = &self.watch.state;
        let (number, of) = (state.current + 1, state.runs.len());
        let (tier, run, info) = (self.watch.tier, self.watch.run.clone(), &self.info);
        self.watch.put(&Event::RunStarted {
            run: &run,
            experiment: &info.experiment,
            tier,
            variant: &info.variant,
            seed: info.seed,
            model: &info.model,
            parameters: info.parameters,
            epochs: fit.epochs,
            steps_per_epoch: fit.steps_per_epoch,
            number,
            of,
        });
        CONTINUE
    }

    fn on_epoch_start(&mut self, epoch: usize) -> tallow_train::Result<()> {
        self.update(|state, time| {
            state.now = Now {
                epoch,
                epochs: state.now.epochs,
                steps: state.now.steps,
                loss: f64::NAN,
                lr: state.now.lr,
                epoch_started: time,
                step_ended: time,
                ..Now::default()
            };
        });
        self.watch.show();
        Ok(())
    }

    fn on_batch_end(&mut self, batch: &BatchEnd) -> Flow {
        let mut rate = 0.0;
        self.update(|state, time| {
            let now = &mut state.now;
            now.step = batch.step + 1;
            now.steps = batch.steps;
            now.loss = batch.mean_loss;
            now.accuracy = batch.accuracy;
            now.lr = batch.lr;
            now.images += batch.samples;
            now.step_ended = time;
            rate = now.images_per_second();
            let step = now.epoch * now.steps + now.step;
            state.losses.push(step, now.loss);
        });
        if let Some(events) = &mut self.watch.events
            && (batch.step + 1).is_multiple_of(events.every)
        {
            events.put(&Event::Batch {
                run: &self.watch.run,
                epoch: batch.epoch,
                step: batch.step,
                steps: batch.steps,
                loss: batch.mean_loss,
                accuracy: batch.accuracy,
                lr: batch.lr,
                images_per_second: rate,
            });
        }
        self.watch.show();
        CONTINUE
    }

    fn on_evaluation_batch(&mut self, done: usize, batches: usize) -> tallow_train::Result<()> {
        self.update(|state, _| state.now.testing = Some((done, batches)));
        self.watch.show();
        Ok(())
    }

    fn on_epoch_end(&mut self, end: &EpochEnd) -> Flow {
        self.update(|state, time| {
            let (current, step_ended) = (state.current, state.now.step_ended);
            if let Some(run) = state.runs.get_mut(current) {
                run.test_seconds = time - step_ended;
                run.rows.push(end.row.clone());
            }
        });
        let row = end.row;
        let (data, accuracy) = match row.validation_accuracy {
            Some(accuracy) => ("validation", Some(accuracy)),
            None => ("test", row.test_accuracy),
        };
        let test = accuracy
            .map(|a| format!("  {data} accuracy {}", percent(a)))
            .unwrap_or_default();
        let line = format!(
            "{}  epoch {}/{}  train loss {:.4}{test}  {:.1} s",
            self.watch.state.label(),
            row.epoch + 1,
            end.epochs,
            row.train_loss,
            row.seconds
        );
        self.watch.line(&line);
        if let Some(events) = &mut self.watch.events {
            let run = &self.watch.run;
            events.put(&Event::EpochEnded { run, row });
        }
        CONTINUE
    }
}
