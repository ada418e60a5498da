//! `cargo xtask run`: every variant with every seed, then the claims.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Instant;

use anyhow::{Context, Result};
use candle_core::Device;
use tallow_datasets::{DataLoader, LoaderConfig};
use tallow_models::{LoadWeights, Model, ModelConfig};
use tallow_report::{Run, by_variant};
use tallow_train::{Environment, RunInfo, RunRecord, Trainer};
use tallow_transforms::Compose;

use crate::cli::{RunArgs, Seeds};
use crate::data::{Splits, output_shape};
use crate::experiment::{self, Experiment, Recipe, Variant};
use crate::outcome::{self, Outcome};
use crate::progress::RunProgress;
use crate::{Ending, device, interrupt, output, table, weights};

/// Runs an experiment and prints what came of it.
pub fn run(args: &RunArgs) -> Result<Ending> {
    let started = Instant::now();
    let mut sets = args.set.clone();
    sets.extend(args.workers.map(|n| format!("train.workers={n}")));
    let mut experiment = experiment::load(&args.experiment, &sets)?;
    experiment.keep_only(&args.only)?;
    if let Some(Seeds(seeds)) = &args.seeds {
        experiment.seeds = seeds.clone();
    }
    let device = device::parse(&args.device)?;
    set_threads(args.threads)?;
    let mut weights = Vec::new();
    for variant in &experiment.variants {
        tallow_models::find(&variant.recipe.model.name)?;
        let file = variant.recipe.model.weights.as_deref();
        weights.push(
            file.map(|file| weights::find(file, args.data.as_deref()))
                .transpose()?,
        );
    }
    let dataset = &experiment.variants[0].recipe.data.dataset;
    let splits = Splits::load(dataset, args.data.clone())?;
    let job = |variant, weights: &Option<PathBuf>, seed| {
        Job::new(
            &experiment,
            variant,
            weights.as_deref(),
            seed,
            &splits,
            &device,
        )
    };
    // All of them before the first is trained: a mistake in the last variant shows now.
    for (variant, weights) in experiment.variants.iter().zip(&weights) {
        job(variant, weights, experiment.seeds[0])
            .with_context(|| format!("variant `{}`", variant.name))?;
        if let Some(path) = weights {
            eprintln!("{} begins with {}", variant.name, path.display());
        }
    }

    interrupt::listen()?;
    let commit = commit();
    let total = experiment.variants.len() * experiment.seeds.len();
    let mut folders = Vec::new();
    for (variant, weights) in experiment.variants.iter().zip(&weights) {
        for &seed in &experiment.seeds {
            let job = job(variant, weights, seed)?;
            let number = folders.len() + 1;
            let label = format!("[{number}/{total}] {} seed {seed}", variant.name);
            match job.train(label, &args.out, commit.clone())? {
                Some(folder) => folders.push(folder),
                None => return Ok(Ending::Interrupted),
            }
        }
    }

    let variants = results(&experiment, &folders)?;
    let mean = |name: &str, metric: &str| outcome::mean(&variants, name, metric);
    let outcome = Outcome {
        experiment: experiment.name.clone(),
        dataset: splits.outcome(),
        claims: experiment.claims.iter().map(|c| c.judge(mean)).collect(),
        variants,
        runs: folders,
        seconds: started.elapsed().as_secs_f64(),
    };
    eprintln!(
        "run records: {}",
        args.out.join(&outcome.experiment).display()
    );
    let text = table::render(&outcome);
    if args.json {
        eprint!("{text}");
        output::print(&format!("{}\n", serde_json::to_string(&outcome)?))?;
    } else {
        output::print(&text)?;
    }
    Ok(if outcome.failed() {
        Ending::ClaimFailed
    } else {
        Ending::Done
    })
}

/// The variants' results, as their records tell them.
fn results(experiment: &Experiment, folders: &[PathBuf]) -> Result<Vec<outcome::Variant>> {
    let runs = folders
        .iter()
        .map(Run::read)
        .collect::<Result<Vec<_>, _>>()?;
    let variants = by_variant(&runs).into_iter().map(|ran| {
        let variant = experiment.variants.iter().find(|v| v.name == ran.name);
        outcome::Variant {
            published: variant.map(|v| v.published.clone()).unwrap_or_default(),
            name: ran.name,
            model: ran.model,
            parameters: ran.parameters,
            metrics: ran.metrics,
        }
    });
    Ok(variants.collect())
}

/// One variant with one seed, ready to be trained.
struct Job {
    info: RunInfo,
    recipe: Recipe,
    device: Device,
    model: Model,
    train: DataLoader,
    test: DataLoader,
}

impl Job {
    fn new(
        experiment: &Experiment,
        variant: &Variant,
        weights: Option<&Path>,
        seed: u64,
        splits: &Splits,
        device: &Device,
    ) -> Result<Self> {
        let recipe = variant.recipe.clone();
        let (train_transforms, test_transforms) = (
            Compose::new([&recipe.train.augment[..], &recipe.data.transforms].concat())?,
            Compose::new(recipe.data.transforms.clone())?,
        );
        let input_shape = output_shape(&*splits.train, &test_transforms)?;
        let model = Model::build(
            &recipe.model.name,
            &ModelConfig {
                hidden: recipe.model.hidden.clone(),
                width_divisor: recipe.model.width_divisor,
                seed,
                device: device.clone(),
                ..ModelConfig::new(splits.train.info().classes.len(), input_shape)
            },
        )?;
        if let Some(path) = weights {
            let mut options = LoadWeights::default();
            if recipe.model.new_head {
                options.skip.push(model.head());
            }
            model.load_weights(path, &options)?;
        }
        // What is frozen and what has rules of its own shows now whether it is there.
        recipe.train.config().optimizer(model.store())?;
        let loader = |dataset, transforms, training: bool| {
            let config = LoaderConfig {
                batch_size: recipe.train.batch_size,
                shuffle: training && recipe.train.shuffle,
                drop_last: training && recipe.train.drop_last,
                num_workers: recipe.train.workers,
                seed,
                ..LoaderConfig::default()
            };
            DataLoader::new(dataset, transforms, config)
        };
        let info = RunInfo {
            experiment: experiment.name.clone(),
            variant: variant.name.clone(),
            seed,
            model: recipe.model.name.clone(),
            parameters: model.store().num_parameters(),
            dataset: splits.train.info().clone(),
        };
        Ok(Self {
            train: loader(splits.train.clone(), train_transforms, true)?,
            test: loader(splits.test.clone(), test_transforms, false)?,
            info,
            recipe,
            device: device.clone(),
            model,
        })
    }

    /// Trains it and writes its record under `out`: the record's folder, or `None` when the user interrupted it.
    fn train(self, label: String, out: &Path, commit: Option<String>) -> Result<Option<PathBuf>> {
        let environment = Environment::capture(&self.device, commit);
        let config = self.config()?;
        let mut record = RunRecord::create(out, self.info, environment, &config)?;
        let history = Trainer::new(self.recipe.train.config())
            .with_callback(&mut record)
            .with_callback(RunProgress::new(label.clone()))
            .fit(
                &self.model,
                self.model.store(),
                &self.train,
                Some(&self.test),
            )
            .context(label)?;
        if interrupt::requested() {
            return Ok(None);
        }
        record.finish(self.model.store(), &history)?;
        Ok(Some(record.dir().to_path_buf()))
    }

    /// The recipe in full, headed by what it was run as.
    fn config(&self) -> Result<String> {
        #[derive(serde::Serialize)]
        struct Config<'a> {
            experiment: &'a str,
            variant: &'a str,
            seed: u64,
            #[serde(flatten)]
            recipe: &'a Recipe,
        }
        let config = Config {
            experiment: &self.info.experiment,
            variant: &self.info.variant,
            seed: self.info.seed,
            recipe: &self.recipe,
        };
        Ok(toml::to_string(&config)?)
    }
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
fn commit() -> Option<String> {
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
