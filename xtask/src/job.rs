//! One variant with one seed: built, trained, recorded.

use std::path::{Path, PathBuf};

use anyhow::{Context, Result};
use candle_core::Device;
use tallow_datasets::{DataLoader, LoaderConfig};
use tallow_models::{LayerSummary, LoadWeights, Model, ModelConfig, Summary};
use tallow_train::{Environment, GradientNorms, RunInfo, RunRecord, TensorBoard, Trainer};
use tallow_transforms::Compose;

use crate::data::{Splits, output_shape};
use crate::experiment::{Experiment, Recipe, Tier, Variant};
use crate::facts::{self, Fact};
use crate::progress::Watch;
use crate::report::gallery;
use crate::{board, interrupt, observe};

/// Steps over which the gradients' norms are averaged.
const NORM_STEPS: usize = 10;

/// Test images at a time, unless training takes more: the figures do not depend on it, the time does.
const TEST_BATCH: usize = 64;

/// The rows of `layers.json`.
fn layers(summary: &Summary) -> Vec<impl serde::Serialize> {
    #[derive(serde::Serialize)]
    struct Layer {
        name: String,
        kind: &'static str,
        output_shape: Vec<usize>,
        parameters: usize,
        multiply_adds: u64,
    }
    let row = |layer: &LayerSummary| Layer {
        name: layer.name.clone(),
        kind: layer.kind,
        output_shape: layer.output_shape.clone(),
        parameters: layer.parameters,
        multiply_adds: layer.multiply_adds,
    };
    summary.layers.iter().map(row).collect()
}

/// One variant with one seed, ready to be trained.
pub struct Job {
    info: RunInfo,
    tier: Tier,
    recipe: Recipe,
    device: Device,
    model: Model,
    config: ModelConfig,
    train: DataLoader,
    test: DataLoader,
    other_sizes: bool,
}

impl Job {
    /// Builds the model and the loaders.
    pub fn new(
        experiment: &Experiment,
        variant: &Variant,
        weights: Option<&Path>,
        seed: u64,
        splits: &Splits,
        device: &Device,
    ) -> Result<Self> {
        let recipe = variant.recipe.clone();
        let splits = splits.select(&recipe.data)?;
        let (train_transforms, test_transforms) = (
            Compose::new([&recipe.train.augment[..], &recipe.data.transforms].concat())?,
            Compose::new(recipe.data.transforms.clone())?,
        );
        let input_shape = output_shape(&*splits.train, &test_transforms)?;
        let config = ModelConfig {
            hidden: recipe.model.hidden.clone(),
            dropout: recipe.model.dropout,
            width_divisor: recipe.model.width_divisor,
            seed,
            device: device.clone(),
            ..ModelConfig::new(splits.train.info().classes.len(), input_shape)
        };
        let model = Model::build(&recipe.model.name, &config)?;
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
            experiment: experiment.name.clone(),
            variant: variant.name.clone(),
            seed,
            model: recipe.model.name.clone(),
            parameters: model.store().num_parameters(),
            dataset: splits.train.info().clone(),
        };
        Ok(Self {
            train: loader(splits.train, train_transforms, true)?,
            test: loader(splits.test, test_transforms, false)?,
            info,
            tier: experiment.tier,
            recipe,
            device: device.clone(),
            model,
            config,
            other_sizes: experiment.facts.contains(&Fact::OtherSizes),
        })
    }

    /// How much there is to do: multiplications, each with its addition, of the forward passes.
    pub fn work(&self) -> Result<f64> {
        let train = &self.recipe.train;
        let steps = train.epochs * self.train.num_batches();
        let images = train.max_steps.map_or(steps, |m| m.min(steps)) * train.batch_size;
        Ok(images as f64 * self.model.summary()?.multiply_adds as f64)
    }

    /// Trains it and writes its record under `out`: the record's folder, or `None` when the user interrupted it.
    pub fn train(
        self,
        watch: &mut Watch,
        out: &Path,
        commit: Option<String>,
    ) -> Result<Option<PathBuf>> {
        let environment = Environment::capture(&self.device, commit);
        let config = self.config()?;
        let mut record = RunRecord::create(out, self.info.clone(), environment, &config)?;
        let mut events = TensorBoard::create(record.dir())?;
        let samples = board::samples(&self.train, &self.recipe.data.transforms)?;
        events.writer().image("samples", 0, &samples)?;
        let inputs = observe::inputs(&self.train)?;
        let mut gradients = GradientNorms::over(NORM_STEPS);
        let (label, dir) = (watch.label(), record.dir().to_path_buf());
        let history = Trainer::new(self.recipe.train.config())
            .with_callback(&mut record)
            .with_callback(&mut gradients)
            .with_callback(&mut events)
            .with_callback(watch.run(self.info, &dir))
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
        let data = (&self.train, &self.test);
        gallery::write(&record, &self.model, data, &outputs)?;
        let summary = self.model.summary()?;
        record.add("layers.json", &layers(&summary))?;
        record.put("parameters", self.model.store().num_parameters() as f64);
        record.put("multiply_adds", summary.multiply_adds as f64);
        let steps = history.rows.len() * self.train.num_batches();
        let steps = self.recipe.train.max_steps.map_or(steps, |m| m.min(steps));
        record.put("steps", steps as f64);
        if self.other_sizes {
            let name = &self.recipe.model.name;
            let accepts = facts::accepts_other_size(name, &self.config, &self.model);
            record.put("accepts_other_size", f64::from(u8::from(accepts)));
        }
        watch.ended(&record.finish(self.model.store(), &history)?);
        Ok(Some(dir))
    }

    /// The recipe in full, headed by what it was run as.
    fn config(&self) -> Result<String> {
        #[derive(serde::Serialize)]
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
            tier: self.tier,
            seed: self.info.seed,
            recipe: &self.recipe,
        };
        Ok(toml::to_string(&config)?)
    }
}
