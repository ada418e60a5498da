//! `tallow resume`: continues a run that was interrupted.

use std::path::PathBuf;

use anyhow::Result;
use clap::Args;

use crate::args::RunnerArgs;
use crate::commands::run;
use crate::commands::run_args::RunArgs;
use crate::ending::Ending;
use crate::program::Program;
use crate::world::WorldArgs;

/// Examples at the end of the help text.
pub const EXAMPLES: &str = "Examples:
  {tallow} resume
  {tallow} resume runs/pictures/<run>

It is the same as `{tallow} run --resume`.";

/// Arguments of `resume`.
#[derive(Args, Debug)]
pub struct ResumeArgs {
    /// Folder of the run; by default the last one under --out that was interrupted.
    #[arg(value_name = "RUN")]
    pub run: Option<PathBuf>,
    /// Place and manner of training; what results depend on is as in the interrupted run.
    #[command(flatten)]
    pub runner: RunnerArgs,
    /// Print one JSON object on standard output, and nothing else there.
    #[arg(long)]
    pub json: bool,
    /// Processes that train together; their number may be another one than before.
    #[command(flatten)]
    pub world: WorldArgs,
}

/// Continues the run, and the runs after it that were asked for with it.
pub fn resume(args: &ResumeArgs, program: &Program) -> Result<Ending> {
    let args = RunArgs {
        resume: Some(args.run.clone()),
        world: args.world.clone(),
        ..RunArgs::new(args.runner.clone(), args.json)
    };
    run::run(&args, program)
}
