//! The runner of experiments with the options of the command line.

use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::available_parallelism;

use anyhow::{Context, Result};
use tallow_experiment::{Experiment, Outcome, RunnerOptions, device, runner};

use crate::args::{PlaceArgs, RunnerArgs, check_out};
use crate::console::status;
use crate::interrupt;
use crate::program::Program;
use crate::progress::Watch;

/// Runner of experiments that shows its progress to the user.
pub struct Runner {
    /// Trains and judges.
    pub engine: runner::Runner,
    /// Progress on the terminal and as events.
    pub progress: Watch,
    args: RunnerArgs,
}

impl Runner {
    /// Sets the number of threads of the process. `json` says that standard output is for the result.
    pub fn new(args: &RunnerArgs, json: bool, program: &Program) -> Result<Self> {
        let progress = Watch::new(args, json)?;
        Ok(Self {
            engine: engine(args, program)?,
            progress,
            args: args.clone(),
        })
    }

    /// `sets` with the setting of `--workers`.
    pub fn sets(&self, sets: &[String]) -> Vec<String> {
        self.args.sets(sets)
    }

    /// Trains every variant with every seed and judges the claims; `None` when the user interrupted it. `command` repeats the run.
    pub fn run(&mut self, experiment: &Experiment, command: &str) -> Result<Option<Outcome>> {
        Ok(self.engine.run(experiment, command, &mut self.progress)?)
    }
}

/// Options of a runner at this place. Sets the number of threads of the process.
pub fn options(place: &PlaceArgs, program: &Program) -> Result<RunnerOptions> {
    let device = device::parse(&place.device)?;
    check_out(&place.out)?;
    set_threads(place.threads)?;
    Ok(RunnerOptions {
        device,
        data: place.data.clone(),
        out: place.out.clone(),
        stop: interrupt::flag(),
        registry: program.models.clone(),
        ..RunnerOptions::default()
    })
}

/// Runner of experiments without progress. Sets the number of threads of the process.
pub fn engine(args: &RunnerArgs, program: &Program) -> Result<runner::Runner> {
    Ok(runner::Runner::new(RunnerOptions {
        commit: (program.commit)(),
        ..options(&args.place, program)?
    }))
}

/// Sets the number of threads that compute, for the whole process. Further calls do nothing: a command has one number.
pub fn set_threads(threads: Option<u16>) -> Result<()> {
    static SET: AtomicBool = AtomicBool::new(false);
    let Some(threads) = threads else {
        return Ok(());
    };
    if SET.swap(true, Ordering::Relaxed) {
        return Ok(());
    }
    let there = available_parallelism().map_or(usize::MAX, usize::from);
    if usize::from(threads) > there {
        status!(
            "--threads {threads}: more threads than the processors of this process ({there}) wait for each other and are slower"
        );
    }
    rayon::ThreadPoolBuilder::new()
        .num_threads(threads.into())
        .build_global()
        .context("cannot set the number of threads")
}
