//! `cargo xtask run`: every variant with every seed, then the claims.

use std::path::PathBuf;
use std::process::Command;
use std::time::Instant;

use anyhow::{Context, Result};
use candle_core::Device;
use tallow_report::{Run, by_variant};

use crate::cli::{RunArgs, RunnerArgs, Seeds};
use crate::data::Splits;
use crate::experiment::{self, Experiment};
use crate::job::Job;
use crate::outcome::{self, Outcome};
use crate::progress::{self, Watch};
use crate::{Ending, device, facts, interrupt, output, report, results, table, weights};

/// Runs an experiment and prints what came of it.
pub fn run(args: &RunArgs) -> Result<Ending> {
    let mut runner = Runner::new(&args.runner, args.json)?;
    let mut experiment = experiment::load(&args.experiment, args.tier, &runner.sets(&args.set))?;
    experiment.keep_only(&args.only)?;
    if let Some(Seeds(seeds)) = &args.seeds {
        experiment.seeds = seeds.clone();
    }
    interrupt::listen()?;
    let Some(outcome) = runner.run(&experiment, args.command())? else {
        return Ok(Ending::Interrupted);
    };
    let records = args.runner.out.join(&outcome.experiment);
    say!("run records: {}", records.display());
    let text = table::render(&outcome);
    let events = args.runner.events_on_stdout();
    output::result(&text, args.json.then_some(&outcome), events)?;
    Ok(if outcome.failed() {
        Ending::ClaimFailed
    } else {
        Ending::Done
    })
}

/// Runs experiments one after the other, reading each dataset once.
pub struct Runner {
    args: RunnerArgs,
    device: Device,
    commit: Option<String>,
    loaded: Vec<(String, Splits)>,
    watch: Watch,
    /// Whether a run whose loss is not finite is left behind, unfinished, and the next one trained.
    pub goes_on: bool,
}

impl Runner {
    /// Sets the number of threads for the whole process. `json` says that the result is to be the one thing on standard output.
    pub fn new(args: &RunnerArgs, json: bool) -> Result<Self> {
        let watch = Watch::new(args, json)?;
        let device = device::parse(&args.device)?;
        set_threads(args.threads)?;
        Ok(Self {
            args: args.clone(),
            device,
            commit: commit(),
            loaded: Vec::new(),
            watch,
            goes_on: false,
        })
    }

    /// `sets`, and what `--workers` says.
    pub fn sets(&self, sets: &[String]) -> Vec<String> {
        let workers = self.args.workers.map(|n| format!("train.workers={n}"));
        sets.iter().cloned().chain(workers).collect()
    }

    /// Where it computes.
    pub fn device(&self) -> &Device {
        &self.device
    }

    /// The data that an experiment is run on.
    pub fn dataset(&mut self, experiment: &Experiment) -> Result<outcome::Dataset> {
        let splits = self.load(&experiment.variants[0].recipe.data.dataset)?;
        Ok(splits.outcome())
    }

    /// Trains every variant with every seed and judges the claims; `None` when the user interrupted it. `command` is what
    /// repeats it.
    pub fn run(&mut self, experiment: &Experiment, command: String) -> Result<Option<Outcome>> {
        let started = Instant::now();
        let mut weights = Vec::new();
        for variant in &experiment.variants {
            tallow_models::find(&variant.recipe.model.name)?;
            let file = variant.recipe.model.weights.as_deref();
            let data = self.args.data.as_deref();
            weights.push(file.map(|file| weights::find(file, data)).transpose()?);
        }
        let splits = self.load(&experiment.variants[0].recipe.data.dataset)?;
        let job = |variant, weights: &Option<PathBuf>, seed| {
            Job::new(
                experiment,
                variant,
                weights.as_deref(),
                seed,
                &splits,
                &self.device,
            )
        };
        // All of them before the first is trained: a mistake in the last variant shows now.
        let mut plan = Vec::new();
        for (variant, weights) in experiment.variants.iter().zip(&weights) {
            let work = job(variant, weights, experiment.seeds[0])
                .and_then(|job| job.work())
                .with_context(|| format!("variant `{}`", variant.name))?;
            plan.extend(experiment.seeds.iter().map(|&seed| progress::Run {
                variant: variant.name.clone(),
                seed,
                work,
                ..progress::Run::default()
            }));
            if let Some(path) = weights {
                say!("{} begins with {}", variant.name, path.display());
            }
        }

        let (mut folders, mut diverged) = (Vec::new(), Vec::new());
        self.watch.begin(experiment, plan);
        for (variant, weights) in experiment.variants.iter().zip(&weights) {
            for &seed in &experiment.seeds {
                let job = job(variant, weights, seed)?;
                let trained = job.train(&mut self.watch, &self.args.out, self.commit.clone());
                match trained {
                    Ok(Some(folder)) => folders.push(folder),
                    Ok(None) => {
                        self.watch.stopped("interrupted");
                        return Ok(None);
                    }
                    Err(error) if self.goes_on && of_the_loss(&error) => {
                        let reason = output::message(&error);
                        folders.push(self.watch.failed(&reason));
                        say!("{reason}");
                        diverged.push(reason);
                    }
                    Err(error) => {
                        self.watch.stopped(&output::message(&error));
                        return Err(error);
                    }
                }
            }
        }
        self.watch.close();

        let runs = folders
            .iter()
            .map(Run::read)
            .collect::<Result<Vec<_>, _>>()?;
        let variants = of_variants(experiment, &runs);
        let facts = facts::work_out(&experiment.facts)?;
        let mean = |name: &str, metric: &str| outcome::mean(&variants, &facts, name, metric);
        let outcome = Outcome {
            experiment: experiment.name.clone(),
            tier: experiment.tier,
            dataset: splits.outcome(),
            claims: experiment.claims.iter().map(|c| c.judge(mean)).collect(),
            statements: (experiment.statements.iter())
                .map(|s| s.judge(mean))
                .collect(),
            variants,
            facts,
            runs: folders,
            diverged,
            seconds: started.elapsed().as_secs_f64(),
        };
        let page = report::runs::of_experiment(experiment, &runs)?;
        say!("report: {}", page.display());
        self.watch.judged(&outcome);
        if let Some(folder) = &self.args.results {
            results::write(folder, experiment, &outcome, &runs, command)?;
        }
        Ok(Some(outcome))
    }

    fn load(&mut self, dataset: &str) -> Result<Splits> {
        if let Some((_, splits)) = self.loaded.iter().find(|(name, _)| name == dataset) {
            return Ok(splits.clone());
        }
        let splits = Splits::load(dataset, self.args.data.clone())?;
        self.loaded.push((dataset.to_string(), splits.clone()));
        Ok(splits)
    }
}

/// The variants' results, as their records tell them.
fn of_variants(experiment: &Experiment, runs: &[Run]) -> Vec<outcome::Variant> {
    let variants = by_variant(runs).into_iter().map(|ran| {
        let variant = experiment.variant(&ran.name);
        outcome::Variant {
            published: variant.map(|v| v.published.clone()).unwrap_or_default(),
            name: ran.name,
            model: ran.model,
            parameters: ran.parameters,
            seeds: ran.seeds,
            metrics: ran.metrics,
        }
    });
    variants.collect()
}

/// Whether training came to a loss that is not finite.
fn of_the_loss(error: &anyhow::Error) -> bool {
    error.chain().any(|cause| {
        matches!(
            cause.downcast_ref::<tallow_train::Error>(),
            Some(tallow_train::Error::NonFiniteLoss { .. })
        )
    })
}

/// Computes with this many threads from here on.
pub fn set_threads(threads: Option<u16>) -> Result<()> {
    let Some(threads) = threads else {
        return Ok(());
    };
    rayon::ThreadPoolBuilder::new()
        .num_threads(threads.into())
        .build_global()
        .context("cannot set the number of threads")
}

/// The commit of Tallow's source, with `-dirty` after it where files were changed.
pub fn commit() -> Option<String> {
    let output = Command::new("git")
        .args(["-C", env!("CARGO_MANIFEST_DIR")])
        .args([
            "describe",
            "--always",
            "--dirty",
            "--abbrev=40",
            "--exclude=*",
        ])
        .output()
        .ok()?;
    let commit = String::from_utf8(output.stdout).ok()?.trim().to_string();
    (output.status.success() && !commit.is_empty()).then_some(commit)
}
