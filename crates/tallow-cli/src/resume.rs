//! Arguments of an interrupted `tallow run`, with which it is continued.

use std::env::current_dir;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail};
use serde::{Deserialize, Serialize};
use tallow_experiment::Invocation;
use tallow_record::Tier;

use crate::args::{PlaceArgs, RunnerArgs, Seeds};
use crate::commands::run_args::RunArgs;
use crate::program::Program;

/// Arguments of `run` on which its results depend, and the folder in which it was started.
#[derive(Serialize, Deserialize)]
pub struct Started {
    experiment: String,
    tier: Tier,
    seeds: Option<Vec<u64>>,
    set: Vec<String>,
    only: Vec<String>,
    results: Option<PathBuf>,
    device: String,
    data: Option<PathBuf>,
    threads: Option<u16>,
    workers: Option<usize>,
    directory: PathBuf,
}

impl Started {
    /// The arguments, for the list of the runs.
    pub fn of(args: &RunArgs) -> Result<serde_json::Value> {
        let started = Self {
            experiment: args.experiment.clone().unwrap_or_default(),
            tier: args.tier,
            seeds: args.seeds.as_ref().map(|seeds| seeds.0.clone()),
            set: args.set.clone(),
            only: args.only.clone(),
            results: args.results.clone(),
            device: args.runner.place.device.clone(),
            data: args.runner.place.data.clone(),
            threads: args.runner.place.threads,
            workers: args.runner.workers,
            directory: directory()?,
        };
        Ok(serde_json::to_value(&started)?)
    }

    /// The arguments of `args`, with those of the run that the first process of a world continues.
    pub fn apply(self, args: &RunArgs) -> RunArgs {
        let runner = RunnerArgs {
            place: PlaceArgs {
                device: self.device,
                data: args.runner.place.data.clone().or(self.data),
                out: args.runner.place.out.clone(),
                threads: args.runner.place.threads.or(self.threads),
            },
            workers: args.runner.workers.or(self.workers),
            ..args.runner.clone()
        };
        RunArgs {
            experiment: Some(self.experiment),
            tier: self.tier,
            seeds: self.seeds.map(Seeds),
            set: self.set,
            only: self.only,
            results: self.results,
            profile: args.profile,
            ..RunArgs::new(runner, args.json)
        }
    }

    /// Arguments and folder of the run to continue: that of `run`, or the last one that was interrupted. `--workers`, `--threads`,
    /// `--data` and what does not change results may be given anew.
    pub fn find(
        args: &RunArgs,
        run: Option<&Path>,
        program: &Program,
    ) -> Result<(RunArgs, PathBuf)> {
        let out = &args.runner.place.out;
        let (invocation, folder) = match run {
            Some(run) => {
                if !run.join("environment.json").is_file() {
                    bail!("{} is not the folder of a run record", run.display());
                }
                let found = Invocation::of_run(run)?;
                (found, Some(run.to_path_buf()))
            }
            None => {
                let newest = Invocation::newest(out)?;
                let folder = newest.as_ref().and_then(Invocation::interrupted);
                let folder = folder.map(Path::to_path_buf);
                (newest, folder)
            }
        };
        let Some(invocation) = invocation else {
            match run {
                Some(run) => bail!(
                    "{}: there is nothing to continue: the run and all that were asked for with it have finished, or it was not \
                     started by `{} run`",
                    run.display(),
                    program.name
                ),
                None => bail!(
                    "there is no interrupted run under {}; --out names another folder of run records",
                    out.display()
                ),
            }
        };
        let folder = folder.unwrap_or_default();
        let started: Self = serde_json::from_value(invocation.arguments)
            .with_context(|| format!("the arguments of {} cannot be read", folder.display()))?;
        let here = directory()?;
        if started.directory != here {
            bail!(
                "the run was started in {}: continue it from there",
                started.directory.display()
            );
        }
        let out = match folder.ancestors().nth(2) {
            Some(out) if run.is_some() && !out.as_os_str().is_empty() => out.to_path_buf(),
            Some(_) if run.is_some() => PathBuf::from("."),
            _ => out.clone(),
        };
        let mut args = started.apply(args);
        args.runner.place.out = out;
        Ok((args, folder))
    }
}

fn directory() -> Result<PathBuf> {
    current_dir().context("the current folder has no name any more")
}
