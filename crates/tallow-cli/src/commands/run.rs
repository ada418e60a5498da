//! `tallow run`: trains every variant of an experiment with every seed and judges its claims.

use std::path::PathBuf;

use anyhow::Result;
use clap::Args;
use tallow_experiment::report::shell_quoted;
use tallow_experiment::{Experiment, Resume};
use tallow_record::Tier;

use crate::args::{RunnerArgs, Seeds, parse_seeds, tier_parser};
use crate::commands::overfit::overfit;
use crate::console::status;
use crate::ending::Ending;
use crate::program::Program;
use crate::resume::Started;
use crate::runner::Runner;
use crate::{interrupt, output, results_table};

/// Examples at the end of the help text.
pub const EXAMPLES: &str = "Examples:
  {tallow} run quickstart
  {tallow} run my.toml
  {tallow} run mnist-pixel-order --seeds 0..3
  {tallow} run cifar10-vgg16 --set train.epochs=1 --json > result.json
  {tallow} run quickstart --only cnn --set 'train.optimizer={name=\"adam\",lr=0.002}'
  {tallow} run residual --tier standard --results results
  {tallow} run cifar10-cnn --tui
  {tallow} run cifar10-cnn --overfit-batches 1
  {tallow} run cifar10-cnn --events events.jsonl
  {tallow} run --resume

A run that was interrupted or killed continues from its last checkpoint, to the bit, when the same command is given again or with
--resume; docs/running.md has the details.

Exit codes: 0 all claims hold; 1 a claim failed, or a batch was not learnt; 2 bad input, missing data or another error; 130 interrupted.

Each line of --events is an object whose `event` is its kind: run_started, batch (every --events-every batches),
epoch_ended (the line of metrics.jsonl), run_ended, run_stopped, claims_judged. docs/running.md lists their fields.";

/// Arguments of `run`.
#[derive(Args, Debug)]
pub struct RunArgs {
    /// Name of an experiment (see `{tallow} list`), or path of a TOML file.
    #[arg(required_unless_present = "resume")]
    pub experiment: Option<String>,
    /// Amount of training: the experiment as published, or a shorter version of it.
    #[arg(long, value_name = "TIER", value_parser = tier_parser(), default_value = "full")]
    pub tier: Tier,
    /// Seeds, instead of the experiment's own: 0..3 is 0, 1, 2; 0,2,5 is a list.
    #[arg(long, value_name = "SEEDS", value_parser = parse_seeds)]
    pub seeds: Option<Seeds>,
    /// Change a key of the recipe in every variant: train.epochs=1, data.dataset=kmnist.
    /// The value is TOML; anything that is not TOML is taken as text.
    #[arg(long, value_name = "KEY=VALUE")]
    pub set: Vec<String>,
    /// Run only this variant (may be given several times).
    #[arg(long, value_name = "VARIANT")]
    pub only: Vec<String>,
    /// Also write the results with the curves of all runs into this folder, as `EXPERIMENT.json`.
    #[arg(long, value_name = "DIR")]
    pub results: Option<PathBuf>,
    /// Instead of the run, train each variant on its first N batches alone, without augmentation and schedule, until their loss is 1 % of
    /// its first value. Exits with 1 when that takes more than 500 steps: then the network, the loss or the data have a fault.
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u16).range(1..), conflicts_with = "results")]
    pub overfit_batches: Option<u16>,
    /// Continue the run in this folder, or the last one under --out that was interrupted, and the runs after it, with the arguments with
    /// which it was started.
    #[arg(
        long,
        value_name = "RUN",
        num_args = 0..=1,
        conflicts_with_all = ["experiment", "tier", "seeds", "set", "only", "results", "fresh"]
    )]
    pub resume: Option<Option<PathBuf>>,
    /// Start all runs again. Without it, an unfinished run of the same recipe, seed and data under --out is continued.
    #[arg(long)]
    pub fresh: bool,
    /// Print what the time of each run was spent on, also by layer (profile.json), and record the statistics of gradients and activations
    /// of each epoch (statistics.json).
    #[arg(long)]
    pub profile: bool,
    /// Place and manner of training.
    #[command(flatten)]
    pub runner: RunnerArgs,
    /// Print one JSON object on standard output, and nothing else there.
    #[arg(long)]
    pub json: bool,
}

impl RunArgs {
    /// The command that repeats the run, without arguments that do not change its results.
    fn command(&self, experiment: &str, program: &Program) -> String {
        let mut command = format!(
            "{} run {} --tier {}",
            program.name,
            shell_quoted(experiment),
            self.tier
        );
        if let Some(Seeds(seeds)) = &self.seeds {
            let seeds: Vec<String> = seeds.iter().map(u64::to_string).collect();
            command += &format!(" --seeds {}", seeds.join(","));
        }
        for set in &self.set {
            command += &format!(" --set {}", shell_quoted(set));
        }
        for only in &self.only {
            command += &format!(" --only {}", shell_quoted(only));
        }
        command + &self.runner.on_device()
    }
}

/// Runs an experiment and prints its results, or continues one.
pub fn run(args: &RunArgs, program: &Program) -> Result<Ending> {
    if let Some(run) = &args.resume {
        let (args, folder) = Started::find(args, run.as_deref(), program)?;
        return train(&args, Resume::Run(folder), program);
    }
    let resume = if args.fresh {
        Resume::Fresh
    } else {
        Resume::Auto
    };
    train(args, resume, program)
}

fn train(args: &RunArgs, resume: Resume, program: &Program) -> Result<Ending> {
    let name = args.experiment.as_deref().unwrap_or_default();
    let mut runner = Runner::new(&args.runner, args.json, program)?;
    let options = runner.engine.options_mut();
    options.results.clone_from(&args.results);
    options.profile = args.profile;
    options.resume = resume;
    options.arguments = Started::of(args)?;
    let sets = runner.sets(&args.set);
    let mut experiment = Experiment::load(name, args.tier, &sets)?;
    experiment.keep_only(&args.only)?;
    if let Some(Seeds(seeds)) = &args.seeds {
        experiment.seeds.clone_from(seeds);
    }
    interrupt::listen()?;
    if let Some(batches) = args.overfit_batches {
        return overfit(&mut runner, &experiment, batches.into(), args.json);
    }
    let Some(outcome) = runner.run(&experiment, &args.command(name, program))? else {
        if let Some(folder) = runner.progress.interrupted() {
            let folder = folder.display().to_string();
            status!(
                "to continue: {} run --resume {}",
                program.name,
                shell_quoted(&folder)
            );
        }
        return Ok(Ending::Interrupted);
    };
    let records = args.runner.out.join(&outcome.experiment);
    status!("run records: {}", records.display());
    let text = results_table::render(&outcome);
    let events = args.runner.events_on_stdout();
    output::result(&text, args.json.then_some(&outcome), events)?;
    Ok(if outcome.failed() {
        Ending::ClaimFailed
    } else {
        Ending::Done
    })
}
