//! The runner: lists and runs experiments, evaluates weights, fetches and checks data, describes models, measures speed.
//!
//! It is the only place that reads TOML, prints tables or ends the process.

/// As `eprintln`, for which a standard error that nobody reads any more is a panic; and with a screen up it waits for its end.
macro_rules! say {
    ($($text:tt)*) => {
        $crate::progress::console::say(&format!($($text)*))
    };
}

mod bench;
mod board;
mod claims;
mod clean_runs;
mod cli;
mod completions;
mod data;
mod device;
mod doctor;
mod evaluate;
mod experiment;
mod facts;
mod heat;
mod interrupt;
mod job;
mod list;
mod normalisation;
mod observe;
mod outcome;
mod output;
mod predict;
mod progress;
mod regress;
mod report;
mod reproduce;
mod results;
mod run;
mod runs;
mod suggest;
mod summary;
mod table;
mod weights;

use std::process::ExitCode;

use anyhow::Result;
use clap::Parser;
use tracing_subscriber::EnvFilter;

use cli::{Cli, Command};

/// Large activations are allocated and freed in every step; the system's allocator gives their pages back
/// each time and faults them in again.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

/// What a command comes to, when it is no error.
pub enum Ending {
    /// All is well.
    Done,
    /// A claim of an experiment does not hold, or a figure is worse than its baseline.
    ClaimFailed,
    /// Pages are not what the results make them.
    DocsDiffer,
    /// A baseline is of other data or of another recipe.
    Refused,
    /// The user interrupted it.
    Interrupted,
}

fn main() -> ExitCode {
    let cli = Cli::parse();
    tracing_subscriber::fmt()
        .with_env_filter(EnvFilter::from_default_env())
        .with_ansi(!progress::plain() && progress::colours() && !cli.command.has_screen())
        .with_writer(|| progress::console::Log)
        .init();
    match dispatch(cli.command) {
        Ok(Ending::Done) => ExitCode::SUCCESS,
        Ok(Ending::ClaimFailed | Ending::DocsDiffer) => ExitCode::from(1),
        Ok(Ending::Refused) => ExitCode::from(2),
        Ok(Ending::Interrupted) => ExitCode::from(interrupt::EXIT_CODE),
        Err(error) => {
            say!("error: {}", output::message(&error));
            ExitCode::from(2)
        }
    }
}

fn dispatch(command: Command) -> Result<Ending> {
    match command {
        Command::List => list::list(),
        Command::Run(args) => return run::run(&args),
        Command::Reproduce(args) => return reproduce::reproduce(&args),
        Command::Regress(args) => return regress::regress(&args),
        Command::Evaluate(args) => evaluate::evaluate(&args),
        Command::Predict(args) => predict::predict(&args),
        Command::Runs(args) => runs::runs(&args),
        Command::CleanRuns(args) => clean_runs::clean_runs(&args),
        Command::Doctor(args) => doctor::doctor(&args),
        Command::Completions(args) => completions::completions(&args),
        Command::Data { command } => data::data(&command),
        Command::Summary(args) => summary::summary(&args),
        Command::Report(args) => return report::report(&args),
        Command::Bench(args) => bench::bench(&args),
        Command::BenchWorker(args) => bench::work(&args),
    }?;
    Ok(Ending::Done)
}
