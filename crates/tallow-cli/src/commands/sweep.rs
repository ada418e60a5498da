//! `tallow sweep`: trains trials of one recipe with other settings, and makes the table of their results.

mod jobs;
mod table;

use std::path::{Path, PathBuf};

use anyhow::{Result, bail, ensure};
use clap::Args;
use serde::Serialize;
use tallow_experiment::report::shell_quoted;
use tallow_experiment::sweep::{self, Method, Shard, Sweep, SweepOptions, Trial};
use tallow_record::{SweepResults, Tier, write_atomic};

use crate::args::{RunnerArgs, Seeds, parse_seeds, tier_parser};
use crate::console::status;
use crate::ending::Ending;
use crate::program::Program;
use crate::runner::Runner;
use crate::{interrupt, output};

/// Examples at the end of the help text.
pub const EXAMPLES: &str = "Examples:
  {tallow} sweep my.toml --list
  {tallow} sweep my.toml
  {tallow} sweep my.toml --shard 2/4
  {tallow} sweep my.toml --collect runs-1 runs-2
  {tallow} sweep my.toml --slurm=job.sh --shards 10 --at-once 4 --threads 4
  {tallow} sweep my.toml --github-matrix --shards 4

The table in my.toml:
  [sweep]
  method = \"random\"
  trials = 20
  parameters = [
    { key = \"train.optimizer.lr\", log_uniform = [0.001, 0.3] },
    { key = \"train.batch_size\", values = [32, 64] },
  ]

A sweep that was interrupted or killed goes on when the same command is given again. docs/sweeps.md has the details.

Exit codes: 0 success; 2 bad input, missing data or another error, or --collect found trials without a result; 130 interrupted.";

/// Most jobs of a matrix of GitHub Actions.
const MOST_JOBS: usize = 256;

/// Greatest index of a Slurm array where the cluster does not say otherwise: its `MaxArraySize`, 1001, less one.
const USUAL_ARRAY: usize = 1000;

/// Arguments of `sweep`.
#[derive(Args, Debug)]
pub struct SweepArgs {
    /// Path of a TOML file with a table `[sweep]`.
    #[arg(value_name = "FILE")]
    pub experiment: String,
    /// Amount of training: the experiment's own, or a shorter version of it.
    #[arg(long, value_name = "TIER", value_parser = tier_parser(), default_value = "full")]
    pub tier: Tier,
    /// Seeds with which each trial is trained, instead of the experiment's own: 0..3 is 0, 1, 2; 0,2,5 is a list.
    #[arg(long, value_name = "SEEDS", value_parser = parse_seeds)]
    pub seeds: Option<Seeds>,
    /// Change a key of the recipe in every trial: train.epochs=1. It must not be a parameter of the sweep.
    #[arg(long, value_name = "KEY=VALUE")]
    pub set: Vec<String>,
    /// Print the trials, and train nothing.
    #[arg(long, conflicts_with_all = ["collect", "slurm", "github_matrix", "fresh"])]
    pub list: bool,
    /// Train one share of the trials: 1/4 is the first of four. The trials are dealt out in turn.
    #[arg(long, value_name = "I/N")]
    pub shard: Option<Shard>,
    /// Train nothing, and make the table from the run records below these folders, such as the --out of each shard.
    #[arg(long, value_name = "DIR", num_args = 1.., conflicts_with_all = ["shard", "fresh", "slurm", "github_matrix"])]
    pub collect: Vec<PathBuf>,
    /// Train all trials again. Without it, those under --out that have finished are kept, and those that were interrupted go on.
    #[arg(long)]
    pub fresh: bool,
    /// Print the script of a Slurm array job, or write it to this file, and train nothing.
    #[arg(
        long,
        value_name = "FILE",
        num_args = 0..=1,
        require_equals = true,
        conflicts_with_all = ["shard", "fresh", "github_matrix"]
    )]
    pub slurm: Option<Option<PathBuf>>,
    /// Print the matrix of a job of GitHub Actions as JSON, or write it to this file, and train nothing.
    #[arg(
        long,
        value_name = "FILE",
        num_args = 0..=1,
        require_equals = true,
        conflicts_with_all = ["shard", "fresh"]
    )]
    pub github_matrix: Option<Option<PathBuf>>,
    /// Number of jobs of --slurm and --github-matrix; by default, and at most, one for each trial.
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..))]
    pub shards: Option<u32>,
    /// Most jobs of --slurm that run at the same time; by default as many as the cluster starts.
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..), requires = "slurm")]
    pub at_once: Option<u32>,
    /// Place and manner of training.
    #[command(flatten)]
    pub runner: RunnerArgs,
    /// Print one JSON value on standard output, and nothing else there.
    #[arg(long)]
    pub json: bool,
}

impl SweepArgs {
    /// The command that repeats or continues the sweep, without a shard.
    fn command(&self, program: &Program) -> String {
        self.command_of("sweep", &self.set, program)
    }

    /// The command that trains a trial by itself.
    fn single(&self, sweep: &Sweep, trial: &Trial, program: &Program) -> String {
        let settings = trial.settings.iter();
        let settings = settings.map(|(key, value)| format!("{key}={value}"));
        let mut sets: Vec<String> = settings.chain(self.set.iter().cloned()).collect();
        // A table with another name replaces the whole table, with what was set in it before.
        sets.sort_by_key(|set| {
            !set.split('=')
                .next()
                .is_some_and(|key| key.ends_with(".name"))
        });
        let mut command = self.command_of("run", &sets, program);
        if let Some(variant) = sweep.variant() {
            command += &format!(" --only {}", shell_quoted(variant));
        }
        command
    }

    /// A command for the sweep's file with these assignments, at the same place and in the same manner.
    fn command_of(&self, name: &str, sets: &[String], program: &Program) -> String {
        let place = &self.runner.place;
        let file = shell_quoted(&self.experiment);
        let mut command = format!("{} {name} {file}", program.name);
        let mut add = |option: &str, value: &str| {
            command += &format!(" {option} {}", shell_quoted(value));
        };
        if self.tier != Tier::Full {
            add("--tier", self.tier.as_str());
        }
        if let Some(Seeds(seeds)) = &self.seeds {
            let seeds: Vec<String> = seeds.iter().map(u64::to_string).collect();
            add("--seeds", &seeds.join(","));
        }
        for set in sets {
            add("--set", set);
        }
        let path = |path: &Path| path.display().to_string();
        if let Some(data) = &place.data {
            add("--data", &path(data));
        }
        if place.out != Path::new("runs") {
            add("--out", &path(&place.out));
        }
        if let Some(threads) = place.threads {
            add("--threads", &threads.to_string());
        }
        if let Some(workers) = self.runner.workers {
            add("--workers", &workers.to_string());
        }
        command + &self.runner.on_device()
    }

    /// Number of jobs for so many trials, which is no larger.
    fn jobs(&self, trials: usize) -> usize {
        let asked = self.shards.map_or(trials, |shards| shards as usize);
        if asked > trials {
            status!("{trials} trials: {trials} jobs, not {asked}");
        }
        asked.min(trials)
    }
}

/// Trains the trials, or prints what is asked for instead.
pub fn sweep(args: &SweepArgs, program: &Program) -> Result<Ending> {
    let for_jobs = args.slurm.is_some() || args.github_matrix.is_some();
    ensure!(
        args.shards.is_none() || for_jobs,
        "--shards is the number of jobs of --slurm and --github-matrix; --shard I/N trains one share of the trials"
    );
    let mut sweep = Sweep::load(&args.experiment, args.tier, &args.runner.sets(&args.set))?;
    if let Some(Seeds(seeds)) = &args.seeds {
        sweep.experiment.seeds.clone_from(seeds);
    }
    if args.list {
        return list(args, &sweep);
    }
    if let Some(file) = &args.slurm {
        let jobs = args.jobs(sweep.trials.len());
        if jobs > USUAL_ARRAY {
            status!(
                "warning: --slurm: an array of {jobs} jobs, and most clusters allow {USUAL_ARRAY} (one less than the MaxArraySize of `scontrol show config`): \
                 --shards {USUAL_ARRAY}, or fewer, puts several trials into a job"
            );
        }
        let script = jobs::slurm(&jobs::Array {
            experiment: &sweep.experiment.name,
            command: &args.command(program),
            out: &args.runner.place.out.display().to_string(),
            jobs,
            at_once: args.at_once,
            rungs: sweep.rungs.len(),
            threads: args.runner.place.threads,
        });
        return put(&script, file.as_deref());
    }
    if let Some(file) = &args.github_matrix {
        let jobs = args.jobs(sweep.trials.len());
        if sweep.method() == Method::Halving {
            bail!(
                "--github-matrix: method `halving` compares all trials after each rung, and the jobs of a matrix share no folder; run the sweep in one \
                 job, or use method `grid` or `random`"
            );
        }
        ensure!(
            jobs <= MOST_JOBS,
            "--github-matrix: {jobs} jobs, and GitHub Actions allows {MOST_JOBS} in a matrix: give --shards {MOST_JOBS}, or fewer"
        );
        return put(&format!("{}\n", jobs::matrix(jobs)), file.as_deref());
    }
    if !args.collect.is_empty() {
        return collect(args, &sweep, program);
    }
    train(args, &sweep, program)
}

fn train(args: &SweepArgs, sweep: &Sweep, program: &Program) -> Result<Ending> {
    let mut runner = Runner::new(&args.runner, args.json, program)?;
    interrupt::listen()?;
    let options = SweepOptions {
        shard: args.shard,
        fresh: args.fresh,
    };
    let trained = runner.engine.sweep(sweep, &options, &mut runner.progress)?;
    let Some(results) = trained else {
        let shard = args.shard.map(|shard| format!(" --shard {shard}"));
        status!(
            "to continue: {}{}",
            args.command(program),
            shard.unwrap_or_default()
        );
        return Ok(Ending::Interrupted);
    };
    tell(args, sweep, &results, program)?;
    Ok(Ending::Done)
}

/// Makes the table from records that are there.
fn collect(args: &SweepArgs, sweep: &Sweep, program: &Program) -> Result<Ending> {
    let (results, damaged) = sweep::collect(sweep, &args.collect)?;
    for message in damaged {
        status!("warning: skipped: {message}");
    }
    tell(args, sweep, &results, program)?;
    if results.missing.is_empty() {
        return Ok(Ending::Done);
    }
    Ok(Ending::Refused)
}

/// Writes the files of the results and prints their table.
fn tell(args: &SweepArgs, sweep: &Sweep, results: &SweepResults, program: &Program) -> Result<()> {
    let (table, page) = sweep::write(sweep, results, &args.runner.place.out)?;
    status!("table: {}", table.display());
    if let Some(page) = page {
        status!("report: {}", page.display());
    }
    let best = results.best().map(|best| best.trial);
    let best = sweep.trials.iter().find(|trial| Some(trial.number) == best);
    if let Some(best) = best.filter(|_| results.missing.is_empty()) {
        status!("the best by itself: {}", args.single(sweep, best, program));
    }
    let json = args.json.then_some(results);
    output::result(
        &table::results(results),
        json,
        args.runner.events_on_stdout(),
    )
}

/// Prints the trials.
fn list(args: &SweepArgs, sweep: &Sweep) -> Result<Ending> {
    #[derive(Serialize)]
    struct Row {
        trial: usize,
        name: String,
        settings: serde_json::Map<String, serde_json::Value>,
    }
    let of_shard = |trial: &&Trial| args.shard.is_none_or(|shard| shard.has(trial.number));
    let trials: Vec<&Trial> = sweep.trials.iter().filter(of_shard).collect();
    if args.json {
        let mut rows = Vec::new();
        for trial in trials {
            let settings = trial.settings.iter();
            let settings =
                settings.map(|(key, value)| Ok((key.clone(), serde_json::to_value(value)?)));
            rows.push(Row {
                trial: trial.number,
                name: trial.name(),
                settings: settings.collect::<Result<_>>()?,
            });
        }
        output::json(&rows)?;
    } else {
        output::print(&table::trials(&trials, sweep))?;
    }
    Ok(Ending::Done)
}

/// Writes a text to a file, or to standard output without one.
fn put(text: &str, file: Option<&Path>) -> Result<Ending> {
    match file {
        Some(file) => {
            write_atomic(file, text)?;
            status!("written: {}", file.display());
        }
        None => output::print(text)?,
    }
    Ok(Ending::Done)
}
