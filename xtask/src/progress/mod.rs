//! What can be seen while experiments run: bars or a whole screen on a terminal, a line an epoch elsewhere, events in a file.
//!
//! All of it shows one [`State`], which [`Watch`] keeps up to date from what the trainer tells. For people it goes to standard
//! error; standard output is for results.

mod bars;
pub mod console;
mod download;
mod draw;
mod events;
mod screen;
mod state;
mod text;

use std::fmt::Display;
use std::io::{IsTerminal, stderr};
use std::ops::ControlFlow;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use anyhow::{Result, ensure};
use tallow_train::{BatchEnd, CONTINUE, Callback, EpochEnd, FitStart, Flow, RunInfo, Summary};

use crate::cli::RunnerArgs;
use crate::experiment::{Experiment, Tier};
use crate::interrupt;
use crate::outcome::Outcome;
use crate::table::percent;

pub use download::DownloadProgress;
pub use state::Run;

use bars::Bars;
use events::{Event, Events};
use screen::Screen;
use state::{Losses, Now, State};

/// Between two changes of what a person sees; drawing for every batch would slow small networks down.
const REFRESH: Duration = Duration::from_millis(100);

/// Whether progress is plain lines: where standard error is no terminal, or a CI system's.
pub fn plain() -> bool {
    !stderr().is_terminal() || set("CI")
}

/// Whether a person wants colours (<https://no-color.org>).
pub fn colours() -> bool {
    !set("NO_COLOR")
}

/// Whether a variable is set to something.
fn set(variable: &str) -> bool {
    std::env::var_os(variable).is_some_and(|value| !value.is_empty())
}

/// Looks on while the runs of an experiment are trained.
pub struct Watch {
    state: State,
    view: View,
    events: Option<Events>,
    began: Instant,
    shown: Instant,
    tier: Tier,
    /// The folder of the run that goes on.
    run: PathBuf,
    wanted: Wanted,
}

/// What a person sees beside the lines.
enum View {
    Lines,
    Bars(Bars),
    Screen(Screen),
}

/// What is to be seen while runs go on.
#[derive(Clone, Copy, PartialEq)]
enum Wanted {
    Lines,
    Bars,
    Screen,
}

impl Wanted {
    /// What is wanted and can be had.
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

    /// Says why there is none, and what there is.
    fn no_screen(reason: impl Display) -> Self {
        say!("--tui: {reason}, so there is a line for each epoch instead");
        Self::Lines
    }
}

impl Watch {
    /// Opens what events go to, and says where there can be no screen. `json` says that standard output is taken.
    pub fn new(args: &RunnerArgs, json: bool) -> Result<Self> {
        ensure!(
            !(json && args.events_on_stdout()),
            "--events - and --json both want standard output; name a file for the events"
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
            wanted: Wanted::of(args),
        })
    }

    /// These are the runs to come.
    pub fn begin(&mut self, experiment: &Experiment, runs: Vec<Run>) {
        self.began = Instant::now();
        self.tier = experiment.tier;
        self.state = State {
            title: format!("{}, {} tier", experiment.name, experiment.tier),
            runs,
            ..State::default()
        };
    }

    /// The run that goes on, or is the next: `[3/12] cnn seed 1`.
    pub fn label(&self) -> String {
        self.state.label()
    }

    /// Looks on while the next run, whose record is in `folder`, is trained.
    pub fn run(&mut self, info: RunInfo, folder: &Path) -> RunWatch<'_> {
        self.run = folder.to_path_buf();
        if matches!(self.view, View::Lines) {
            self.view = self.open();
        }
        RunWatch { watch: self, info }
    }

    /// The run is over.
    pub fn ended(&mut self, summary: &Summary) {
        let run = self.next();
        self.put(&Event::RunEnded {
            run: &run,
            summary: summary.into(),
        });
    }

    /// The run has failed, and the next one follows: its folder.
    pub fn failed(&mut self, reason: &str) -> PathBuf {
        if let Some(run) = self.state.runs.get_mut(self.state.current) {
            run.failed = true;
        }
        let run = self.next();
        self.put(&Event::RunStopped { run: &run, reason });
        run
    }

    /// The run that was current is no more: its folder.
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

    /// The run was given up.
    pub fn stopped(&mut self, reason: &str) {
        self.close();
        let run = self.run.clone();
        self.put(&Event::RunStopped { run: &run, reason });
    }

    /// All runs are over: the terminal is as it was.
    pub fn close(&mut self) {
        self.view = View::Lines;
    }

    /// The claims were judged.
    pub fn judged(&mut self, outcome: &Outcome) {
        self.put(&Event::ClaimsJudged {
            experiment: &outcome.experiment,
            tier: outcome.tier,
            failed: outcome.failed(),
            claims: &outcome.claims,
            statements: &outcome.statements,
        });
    }

    /// The view that is wanted.
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

    /// Shows the state, now and then.
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

    /// Says a line that stays.
    fn line(&self, line: &str) {
        match &self.view {
            View::Lines => console::say(line),
            View::Bars(bars) => bars.line(line),
            View::Screen(screen) => {
                console::say(line);
                screen.show(&self.state);
            }
        }
    }
}

/// Looks on while one run is trained, and stops it when the user asks to.
pub struct RunWatch<'a> {
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
                run.rows = fit.history.rows.clone();
            }
            state.now = Now {
                epoch: fit.history.rows.len(),
                epochs: fit.epochs,
                steps: fit.steps_per_epoch,
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
        go_on()
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
        go_on()
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
        let test = row
            .test_accuracy
            .map(|a| format!("  test accuracy {}", percent(a)))
            .unwrap_or_default();
        let line = format!(
            "{}  epoch {}/{}  train loss {:.4}{test}  {:.1} s",
            self.watch.label(),
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
        go_on()
    }
}

/// Unless the user asked to stop.
fn go_on() -> Flow {
    if interrupt::requested() {
        return Ok(ControlFlow::Break("interrupted".to_string()));
    }
    CONTINUE
}
