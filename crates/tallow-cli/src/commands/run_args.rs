//! Arguments of `tallow run`.

use std::path::PathBuf;

use clap::Args;
use tallow_experiment::report::shell_quoted;
use tallow_record::Tier;

use crate::args::{RunnerArgs, Seeds, parse_seeds, tier_parser};
use crate::program::Program;
use crate::world::WorldArgs;

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
    /// Instead of the run, train each variant on its first N batches alone, without augmentation, mixup and CutMix, label smoothing and
    /// schedule, until their loss is 1 % of its first value. Exits with 1 when that takes more than 500 steps: then the network, the loss or the data have a fault.
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
    /// Keep the finished runs under --out that these would repeat (of the same recipe, seed and data, by the same build of the program, on the
    /// same kind of machine), and train the others. More seeds can be added this way.
    #[arg(long, conflicts_with = "fresh")]
    pub reuse: bool,
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
    /// Processes that train together.
    #[command(flatten)]
    pub world: WorldArgs,
}

impl RunArgs {
    /// Arguments that name no experiment yet, with everything but these at its default, in one process.
    pub fn new(runner: RunnerArgs, json: bool) -> Self {
        Self {
            experiment: None,
            tier: Tier::Full,
            seeds: None,
            set: Vec::new(),
            only: Vec::new(),
            results: None,
            overfit_batches: None,
            resume: None,
            fresh: false,
            reuse: false,
            profile: false,
            runner,
            json,
            world: WorldArgs::alone(),
        }
    }

    /// The command that repeats the run, without arguments that do not change its results.
    pub(super) fn command(&self, experiment: &str, program: &Program) -> String {
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
