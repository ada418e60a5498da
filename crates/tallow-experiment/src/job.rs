//! One run: one variant with one seed, built, trained and recorded.

mod trial;

use std::ops::ControlFlow;
use std::path::{Path, PathBuf};

use candle_core::Device;
use serde::{Deserialize, Serialize};
use tallow_datasets::{DataLoader, LoaderConfig};
use tallow_models::LoadWeights;
use tallow_record::{LayerRow, RunInfo, Tier, write_atomic};
use tallow_train::{
    BatchEnd, CONTINUE, Callback, EpochEnd, FitStart, Flow, GradientNorms, RunRecord, TensorBoard,
    capture_environment, check_last_batch, dataset_record,
};
use tallow_transforms::Compose;

use crate::analysis::{self, Analysis};
use crate::data::{Splits, image_shape, input_shape};
use crate::error::{Context, Error, Result};
use crate::experiment::{Experiment, Source, Variant};
use crate::interrupt::StopFlag;
use crate::model::{self, Model, ModelConfig, Registry};
use crate::progress::Progress;
use crate::recipe::Recipe;
use crate::{observe, pictures, weights};

/// Steps over which the norms of the gradients are averaged.
const NORM_STEPS: usize = 10;

/// Least batch size for testing: results do not depend on it, the time does.
const TEST_BATCH: usize = 64;

/// File of a run record with the shapes of the model's images: [`Shapes`].
pub(crate) const SHAPES_FILE: &str = "shapes.json";

/// TOML of the experiment in the run record of an experiment that is not built in.
pub(crate) const EXPERIMENT_FILE: &str = "experiment.toml";

/// Shapes `(C, H, W)` of a run's images.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub(crate) struct Shapes {
    /// First training image, before the transforms.
    pub image: (usize, usize, usize),
    /// Input of the model.
    pub input: (usize, usize, usize),
}

/// Everything that the runs of an experiment have in common.
pub(crate) struct Setting<'a> {
    /// The experiment.
    pub experiment: &'a Experiment,
    /// Its data.
    pub splits: &'a Splits,
    /// Device to compute on.
    pub device: &'a Device,
    /// Models by name.
    pub registry: &'a Registry,
    /// Teachers of distillation by their names in the recipes.
    pub teachers: &'a [(String, Model)],
}

/// End of a run.
pub(crate) enum Ended {
    /// The run is finished; its record is in this folder.
    Finished(PathBuf),
    /// The stop flag was set.
    Stopped,
    /// The loss was not finite; the unfinished record is in this folder.
    Diverged(PathBuf, Error),
}

/// Run that is ready to be trained.
pub(crate) struct Job<'a> {
    setting: &'a Setting<'a>,
    info: RunInfo,
    recipe: &'a Recipe,
    model: Model,
    config: ModelConfig,
    shapes: Shapes,
    notes: Vec<String>,
    train: DataLoader,
    test: DataLoader,
}

impl<'a> Job<'a> {
    /// Builds the model and the loaders. `file` has its weights; without it the seed does.
    pub fn new(
        setting: &'a Setting<'a>,
        variant: &'a Variant,
        file: Option<&Path>,
        seed: u64,
    ) -> Result<Self> {
        let recipe = &variant.recipe;
        let splits = setting.splits.select(&recipe.data)?;
        let (train_transforms, test_transforms) = (
            Compose::new([&recipe.train.augment[..], &recipe.data.transforms].concat())?,
            Compose::new(recipe.data.transforms.clone())?,
        );
        let shapes = Shapes {
            image: image_shape(&*splits.train)?,
            input: input_shape(&*splits.train, &test_transforms)?,
        };
        let classes = splits.train.info().classes.len();
        let config = model::config(&recipe.model, classes, shapes.input, seed, setting.device);
        let model = setting.registry.build(&recipe.model.name, &config)?;
        let mut notes = Vec::new();
        if let Some(path) = file {
            let mut options = LoadWeights {
                key: recipe.model.weights_key.clone(),
                ..LoadWeights::default()
            };
            if recipe.model.new_head {
                options.skip.push(model.head());
            }
            notes = weights::load(&model, path, &options)?;
        }
        // Patterns of frozen parameters and of rules that match nothing, and class weights of other classes, are errors now, not after
        // the runs before.
        recipe.train.config().optimizer(model.store())?;
        recipe.train.loss.build_for(&*splits.train)?;
        let loader = |dataset, transforms, training: bool| {
            let config = LoaderConfig {
                batch_size: if training {
                    recipe.train.batch_size
                } else {
                    recipe.train.batch_size.max(TEST_BATCH)
                },
                shuffle: training && recipe.train.shuffle,
                drop_last: training && recipe.train.drop_last,
                num_workers: recipe.train.workers,
                seed,
                ..LoaderConfig::default()
            };
            DataLoader::new(dataset, transforms, config)
        };
        let info = RunInfo {
            experiment: setting.experiment.name.clone(),
            variant: variant.name.clone(),
            seed,
            model: recipe.model.name.clone(),
            parameters: model.store().num_parameters(),
            dataset: dataset_record(splits.train.info()),
        };
        let job = Self {
            setting,
            train: loader(splits.train, train_transforms, true)?,
            test: loader(splits.test, test_transforms, false)?,
            info,
            recipe,
            model,
            config,
            shapes,
            notes,
        };
        if job.steps(recipe.train.epochs) >= job.train.num_batches() {
            check_last_batch(&job.model, job.model.store(), &job.train)?;
        }
        Ok(job)
    }

    /// Settings of the recipe that have no effect in this run, one sentence each.
    pub fn warnings(&self) -> Vec<String> {
        let config = self.recipe.train.config();
        config.warnings(self.train.num_batches())
    }

    /// Notes on the initial weights for the user.
    pub fn notes(&self) -> &[String] {
        &self.notes
    }

    /// Number of images in the first batches.
    pub fn images_in(&self, batches: usize) -> usize {
        self.train.first_batches(batches).num_samples()
    }

    /// Amount of work: multiply-adds of the forward passes.
    pub fn work(&self) -> Result<f64> {
        let images = self.steps(self.recipe.train.epochs) * self.recipe.train.batch_size;
        Ok(images as f64 * self.model.summary()?.multiply_adds as f64)
    }

    /// Number of steps in so many epochs.
    fn steps(&self, epochs: usize) -> usize {
        let steps = epochs * self.train.num_batches();
        self.recipe.train.max_steps.map_or(steps, |m| m.min(steps))
    }

    /// Trains the model and writes the run record below `out`. `label` names the run in errors.
    pub fn train(
        self,
        progress: &mut dyn Progress,
        out: &Path,
        commit: Option<String>,
        stop: &StopFlag,
        label: String,
    ) -> Result<Ended> {
        let environment = capture_environment(self.setting.device, commit);
        let config = self.config()?;
        let mut record = RunRecord::create(out, self.info.clone(), environment, &config)?;
        record.add(SHAPES_FILE, &self.shapes)?;
        if self.setting.experiment.source != Source::BuiltIn {
            let path = record.dir().join(EXPERIMENT_FILE);
            write_atomic(path, &self.setting.experiment.text)?;
        }
        let mut events = TensorBoard::create(record.dir())?;
        let samples = pictures::samples(&self.train, &self.recipe.data.transforms)?;
        events
            .writer()
            .image("samples", 0, &samples)
            .map_err(tallow_train::Error::from)?;
        let inputs = observe::inputs(&self.train)?;
        let mut gradients = GradientNorms::over(NORM_STEPS);
        let dir = record.dir().to_path_buf();
        let fitted = {
            let mut observer = progress.run(&self.info, &dir);
            self.trainer(self.recipe.train.config())
                .with_callback(&mut record)
                .with_callback(&mut gradients)
                .with_callback(&mut events)
                .with_callback(&mut *observer)
                .with_callback(Stop(stop))
                .fit(
                    &self.model,
                    self.model.store(),
                    &self.train,
                    Some(&self.test),
                )
                .context(|| label)
        };
        let history = match fitted {
            Err(error) if error.is_non_finite_loss() => return Ok(Ended::Diverged(dir, error)),
            fitted => fitted?,
        };
        if stop.requested() {
            return Ok(Ended::Stopped);
        }
        let outputs = observe::outputs(&self.model, &self.test)?;
        record.put("calibration_error", outputs.calibration.error);
        record.add("predictions.json", &outputs.predictions)?;
        record.add("mistakes.json", &outputs.mistakes)?;
        record.add("calibration.json", &outputs.calibration)?;
        record.add("gradients.json", &gradients.rows())?;
        events.gradients(gradients.rows())?;
        if let (Some(first), Some(last)) = (gradients.rows().first(), gradients.rows().last()) {
            record.put("gradient_norm_first", first.total);
            record.put("gradient_norm_last", last.total);
            if let Some((_, norm)) = first.norms.first() {
                record.put("first_layer_gradient", *norm);
            }
        }
        let mean = |values: &[f64]| values.iter().sum::<f64>() / values.len() as f64;
        record.put("input_mean", mean(&inputs.mean));
        record.put("input_std", mean(&inputs.std));
        record.add("inputs.json", &inputs)?;
        record.add("layers.json", &self.layers()?)?;
        record.put("parameters", self.model.store().num_parameters() as f64);
        record.put("multiply_adds", self.model.summary()?.multiply_adds as f64);
        record.put("steps", self.steps(history.rows.len()) as f64);
        if (self.setting.experiment.analyses).contains(&Analysis::OtherSizes) {
            let (registry, name) = (self.setting.registry, &self.recipe.model.name);
            let accepts = analysis::accepts_other_size(registry, name, &self.config, &self.model);
            record.put("accepts_other_size", f64::from(u8::from(accepts)));
        }
        // The weights and the summary before the pictures: a disk that is full loses pictures, not training.
        let summary = record.finish(self.model.store(), &history)?;
        pictures::write(&record, &self.model, (&self.train, &self.test), &outputs)?;
        progress.run_ended(&summary);
        Ok(Ended::Finished(dir))
    }

    /// Content of `layers.json`.
    fn layers(&self) -> Result<Vec<LayerRow>> {
        let summary = self.model.summary()?;
        let rows = summary.layers.iter().map(|layer| LayerRow {
            name: layer.name.clone(),
            kind: layer.kind.to_string(),
            output_shape: layer.output_shape.clone(),
            parameters: layer.parameters,
            multiply_adds: layer.multiply_adds,
        });
        Ok(rows.collect())
    }

    /// Content of `config.toml`: the complete recipe below the names of experiment, variant, tier and seed.
    fn config(&self) -> Result<String> {
        #[derive(Serialize)]
        struct Config<'a> {
            experiment: &'a str,
            variant: &'a str,
            tier: Tier,
            seed: u64,
            #[serde(flatten)]
            recipe: &'a Recipe,
        }
        let config = Config {
            experiment: &self.info.experiment,
            variant: &self.info.variant,
            tier: self.setting.experiment.tier,
            seed: self.info.seed,
            recipe: self.recipe,
        };
        Ok(toml::to_string(&config)?)
    }
}

/// Callback that stops training when the flag is set.
struct Stop<'a>(&'a StopFlag);

impl Stop<'_> {
    fn flow(&self) -> Flow {
        if self.0.requested() {
            return Ok(ControlFlow::Break("interrupted".to_string()));
        }
        CONTINUE
    }
}

impl Callback for Stop<'_> {
    fn on_fit_start(&mut self, _fit: &FitStart) -> Flow {
        self.flow()
    }

    fn on_batch_end(&mut self, _batch: &BatchEnd) -> Flow {
        self.flow()
    }

    fn on_epoch_end(&mut self, _end: &EpochEnd) -> Flow {
        self.flow()
    }
}
