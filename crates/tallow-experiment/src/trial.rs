//! Trials before a run: learning-rate range test, and learning a few batches by heart.

use std::path::PathBuf;

use serde::Serialize;
use tallow_record::write_atomic;
use tallow_report::charts::lr_range;
use tallow_train::{LossConfig, LrFinder, LrRange};

use crate::error::{Context, Error, Result};
use crate::experiment::{Experiment, Variant};
use crate::job::{Job, Setting};
use crate::progress::Progress;
use crate::recipe::Recipe;
use crate::runner::{Runner, RunnerOptions};
use crate::teacher;

/// Steps within which a few batches must be learnt by heart.
const OVERFIT_STEPS: usize = 500;

/// Share of its first value to which the loss must fall.
const OVERFIT_SHARE: f64 = 0.01;

/// Learning-rate range test of one variant.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct FoundLr {
    /// Name of the experiment.
    pub experiment: String,
    /// Name of the variant.
    pub variant: String,
    /// Seed.
    pub seed: u64,
    /// Learning rate of the recipe.
    pub lr: f64,
    /// Losses and suggestion.
    #[serde(flatten)]
    pub range: LrRange,
    /// Folder of `lr-find.svg` and `lr-find.json`.
    #[serde(skip)]
    pub folder: PathBuf,
}

/// Trial to learn a few batches by heart.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Overfit {
    /// Name of the variant.
    pub variant: String,
    /// Seed.
    pub seed: u64,
    /// Batches.
    pub batches: usize,
    /// Images in them.
    pub images: usize,
    /// Steps done.
    pub steps: usize,
    /// Loss in the first pass.
    pub first_loss: f64,
    /// Loss in the last pass, in training or in evaluation, whichever is lower.
    pub last_loss: f64,
    /// Whether the loss fell to 1 % of its first value.
    pub learnt: bool,
}

impl Runner {
    /// Learning-rate range test of every variant with its first seed. Writes the losses and a plot into
    /// `<out>/<experiment>/lr-find/<variant>-s<seed>/`. `None` if the [`StopFlag`](crate::StopFlag) was set.
    pub fn find_lr(
        &mut self,
        experiment: &Experiment,
        finder: &LrFinder,
        progress: &mut dyn Progress,
    ) -> Result<Option<Vec<FoundLr>>> {
        let out = self.options().out.join(&experiment.name).join("lr-find");
        self.try_out(
            experiment,
            |recipe| recipe,
            progress,
            |runner, job, variant, seed| {
                let range = job.find_lr(finder, &runner.options().stop)?;
                let found = FoundLr {
                    experiment: experiment.name.clone(),
                    variant: variant.name.clone(),
                    seed,
                    lr: variant.recipe.train.optimizer.lr(),
                    range,
                    folder: out.join(format!("{}-s{seed}", variant.name)),
                };
                if !runner.options().stop.requested() {
                    found.write()?;
                }
                Ok(found)
            },
        )
    }

    /// Trains every variant with its first seed on its first `batches` batches alone, without augmentation, mixup and CutMix, label
    /// smoothing and learning-rate schedule. A network and a loss without a fault learn them by heart. `None` if the [`StopFlag`](crate::StopFlag) was set.
    pub fn overfit(
        &mut self,
        experiment: &Experiment,
        batches: usize,
        progress: &mut dyn Progress,
    ) -> Result<Option<Vec<Overfit>>> {
        self.try_out(
            experiment,
            by_heart,
            progress,
            |runner, job, variant, seed| {
                let stop = &runner.options().stop;
                let (first_loss, last_loss, steps) =
                    job.overfit(batches, OVERFIT_SHARE, OVERFIT_STEPS, stop)?;
                Ok(Overfit {
                    variant: variant.name.clone(),
                    seed,
                    batches,
                    images: job.images_in(batches),
                    steps,
                    first_loss,
                    last_loss,
                    learnt: last_loss <= OVERFIT_SHARE * first_loss,
                })
            },
        )
    }

    /// Calls `trial` with a new job of every variant, whose recipe `change` may change.
    pub(crate) fn try_out<T>(
        &mut self,
        experiment: &Experiment,
        change: impl Fn(Recipe) -> Recipe,
        progress: &mut dyn Progress,
        trial: impl Fn(&Self, &Job<'_>, &Variant, u64) -> Result<T>,
    ) -> Result<Option<Vec<T>>> {
        let weights = self.weights(experiment, progress)?;
        let splits = self.load(experiment, progress)?;
        let RunnerOptions {
            device,
            registry,
            communicator,
            ..
        } = self.options();
        let setting = Setting {
            experiment,
            splits: &splits,
            device,
            registry,
            teachers: &teacher::load(experiment, &splits, device, registry)?,
            communicator,
        };
        let mut results = Vec::new();
        for (variant, file) in experiment.variants.iter().zip(&weights) {
            let Some(&seed) = experiment.seeds.first() else {
                continue;
            };
            let variant = Variant {
                recipe: change(variant.recipe.clone()),
                ..variant.clone()
            };
            let result = Job::new(&setting, &variant, file.as_deref(), seed)
                .and_then(|job| trial(self, &job, &variant, seed))
                .context(|| format!("variant `{}`", variant.name))?;
            if self.options().stop.requested() {
                return Ok(None);
            }
            results.push(result);
        }
        Ok(Some(results))
    }
}

/// Recipe without what keeps a network from learning its images by heart.
fn by_heart(mut recipe: Recipe) -> Recipe {
    recipe.train.augment.clear();
    recipe.train.mix = None;
    if recipe.has_own_transforms() {
        recipe.data.train_transforms = recipe.test_transforms().to_vec();
        recipe.data.test_transforms = recipe.data.train_transforms.clone();
        recipe.data.transforms.clear();
    }
    if let LossConfig::CrossEntropy {
        label_smoothing, ..
    }
    | LossConfig::SoftmaxCrossEntropy { label_smoothing }
    | LossConfig::Distillation {
        label_smoothing, ..
    } = &mut recipe.train.loss
    {
        *label_smoothing = 0.0;
    }
    recipe
}

impl FoundLr {
    fn write(&self) -> Result<()> {
        let folder = &self.folder;
        std::fs::create_dir_all(folder).map_err(Error::io("create", folder))?;
        let points: Vec<(f64, f64, f64)> = (self.range.points.iter())
            .map(|point| (point.lr, point.loss, point.smoothed))
            .collect();
        let title = format!("{}: {}", self.experiment, self.variant);
        let plot = lr_range(&title, &points, self.range.suggestion)?;
        write_atomic(folder.join("lr-find.svg"), &plot)?;
        let json = serde_json::to_string_pretty(self)?;
        Ok(write_atomic(folder.join("lr-find.json"), &json)?)
    }
}
