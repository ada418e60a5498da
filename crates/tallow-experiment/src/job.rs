//! One run: one variant with one seed, built, trained and recorded.

mod follow;
mod initial;
mod pause;
mod trace;
mod trial;

use std::cell::Cell;
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use candle_core::Device;
use serde::{Deserialize, Serialize};
use tallow_datasets::{DataLoader, LoaderConfig};
use tallow_record::{Environment, LayerRow, RunInfo, Tier, World, write_atomic};
use tallow_train::{
    Communicator, GradientNorms, GradientStatistics, KeepBest, RunRecord, TensorBoard, TrainConfig,
    capture_environment, check_chunks, check_last_batch, dataset_record,
};
use tallow_transforms::Compose;

use self::initial::{initial_weights, whiten};
use self::pause::Epochs;
use crate::analysis::{self, Analysis};
use crate::data::{Splits, check_classes, image_shape, input_shape};
use crate::error::{Context, Error, Result};
use crate::experiment::{Experiment, Source, Variant};
use crate::interrupt::StopFlag;
use crate::model::{self, Model, ModelConfig, Registry};
use crate::profile::{Activations, layer_times};
use crate::progress::Progress;
use crate::recipe::Recipe;
use crate::unfinished::{Checkpoint, Lock, Resume, Wanted, is_finished};
use crate::{observe, pictures, streamed};

/// Steps over which the norms of the gradients are averaged.
const NORM_STEPS: usize = 10;

/// Least batch size for testing: results do not depend on it, the time does.
const TEST_BATCH: usize = 64;

/// File of a run record with the weights of the best epoch.
const BEST_FILE: &str = "best.safetensors";

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
    /// Ranks that train the runs together.
    pub communicator: &'a Arc<dyn Communicator>,
}

/// End of a run.
pub(crate) enum Ended {
    /// The run is finished; its record is in this folder.
    Finished(PathBuf),
    /// The stop flag was set. The run in this folder can be continued; `None` if it has no checkpoints.
    Stopped(Option<PathBuf>),
    /// The run has the epochs of [`Session::pause`]; the unfinished record, with a checkpoint, is in this folder.
    Paused(PathBuf),
    /// The loss was not finite; the unfinished record is in this folder.
    Diverged(PathBuf, Error),
}

/// Settings that the runs of a runner have in common.
pub(crate) struct Session<'s> {
    /// Folder of the run records.
    pub out: &'s Path,
    /// Commit of the program's source.
    pub commit: Option<String>,
    /// Flag that stops the run.
    pub stop: &'s StopFlag,
    /// Treatment of unfinished runs.
    pub resume: &'s Resume,
    /// Whether times and statistics by layer are measured.
    pub profile: bool,
    /// Epochs after which a run pauses, if it does not end before.
    pub pause: Option<usize>,
    /// Processes that train together, for the environment of the run.
    pub world: Option<World>,
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
    validation: Option<DataLoader>,
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
        check_classes(&*splits.train)?;
        recipe.check_monitors(Some(splits.validation.is_some()))?;
        let (train_transforms, test_transforms) = (
            Compose::new(recipe.train_transforms())?,
            Compose::new(recipe.test_transforms().to_vec())?,
        );
        let shapes = Shapes {
            image: image_shape(&*splits.train)?,
            input: input_shape(&*splits.train, &test_transforms)?,
        };
        if recipe.has_own_transforms() {
            let (trained, shape) = (
                input_shape(&*splits.train, &train_transforms)?,
                shapes.input,
            );
            if trained != shape {
                return Err(Error::Recipe(format!(
                    "the transforms of training give images of {trained:?} (channels, height, width) and those of testing {shape:?}: expected the same shape"
                )));
            }
        }
        let classes = splits.train.info().classes.len();
        let config = model::config(&recipe.model, classes, shapes.input, seed, setting.device);
        let (registry, name) = (setting.registry, &recipe.model.name);
        let model = match file {
            Some(_) => registry.skip_init(name, &config)?,
            None => registry.build(name, &config)?,
        };
        let notes = initial_weights(&model, recipe, file)?;
        if file.is_none() {
            whiten(&model, &recipe.model, &splits.train, &test_transforms)?;
        }
        // Patterns of frozen parameters and of rules that match nothing, class weights of other classes, and a precision that the device does
        // not have, are errors now, not after the runs before.
        let train = train_config(recipe, &model);
        train.optimizer(model.store())?;
        train.check_precision(model.store().dtype(), setting.device)?;
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
            train: loader(splits.train, train_transforms, true)?.for_chunks(recipe.train.chunks)?,
            validation: (splits.validation)
                .map(|set| loader(set, test_transforms.clone(), false))
                .transpose()?,
            test: loader(splits.test, test_transforms, false)?,
            info,
            recipe,
            model,
            config,
            shapes,
            notes,
        };
        if job.steps(recipe.train.epochs) >= job.train.num_batches() {
            let store = job.model.store();
            check_last_batch(&job.model, store, &job.train)?;
            let chunks = job.train_config().normalized_chunks();
            check_chunks(&job.model, store, &job.train, chunks)?;
        }
        Ok(job)
    }

    /// Loader of the images that `inputs.json` describes: the training images, after the transforms of testing where the recipe has such.
    fn inputs(&self) -> Result<DataLoader> {
        if !self.recipe.has_own_transforms() {
            return Ok(self.train.clone());
        }
        let (set, config) = (self.train.dataset().clone(), self.train.config().clone());
        Ok(DataLoader::new(set, self.test.transform().clone(), config)?)
    }

    /// Settings of the recipe that have no effect in this run, and other things that are hardly meant, one sentence each.
    pub fn warnings(&self) -> Vec<String> {
        let mut warnings = self.train_config().warnings(self.train.num_batches());
        warnings.extend(self.recipe.chosen_on_test(self.validation.is_some()));
        warnings.extend(self.setting.splits.unused_validation(&self.recipe.data));
        warnings.extend(streamed::warnings(&self.train));
        warnings
    }

    /// Configuration of the trainer.
    fn train_config(&self) -> TrainConfig {
        train_config(self.recipe, &self.model)
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

    /// Folder of an unfinished run that this one continues, with its lock, or of none.
    fn unfinished(
        &self,
        progress: &mut dyn Progress,
        session: &Session,
        listed: Option<&Path>,
        config: &str,
        environment: &Environment,
    ) -> Result<Option<(PathBuf, Lock)>> {
        if !session.resume.continues() {
            return Ok(None);
        }
        let wanted = Wanted {
            info: &self.info,
            config,
            environment,
        };
        let asked = match session.resume {
            Resume::Run(folder) if wanted.is_in(folder) => Some(folder.as_path()),
            _ => None,
        };
        if let Some(folder) = asked.or(listed).filter(|folder| folder.is_dir()) {
            let mut reason = wanted.obstacle(folder, Checkpoint::Optional)?;
            if reason.is_none() {
                match Lock::take(folder)? {
                    Some(lock) => return Ok(Some((folder.to_path_buf(), lock))),
                    None => reason = Some("another process is training it".to_string()),
                }
            }
            if let Some(reason) = reason {
                let message = format!("{} cannot be continued: {reason}", folder.display());
                if asked.is_some() {
                    return Err(Error::RunRecord(message));
                }
                if !is_finished(folder) {
                    progress.note(&message);
                }
            }
        }
        wanted.find(session.out)
    }

    /// Opens the record of an unfinished run that is continued, or creates one.
    fn open_record(
        &self,
        session: &Session,
        unfinished: Option<&Path>,
        config: &str,
        environment: Environment,
    ) -> Result<RunRecord> {
        if let Some(folder) = unfinished {
            return Ok(RunRecord::open(folder)?);
        }
        let record = RunRecord::create(session.out, self.info.clone(), environment, config)?;
        record.add(SHAPES_FILE, &self.shapes)?;
        if self.setting.experiment.source != Source::BuiltIn {
            let path = record.dir().join(EXPERIMENT_FILE);
            write_atomic(path, &self.setting.experiment.text)?;
        }
        Ok(record)
    }

    /// Trains the model and writes the run record. `label` names the run in errors. `listed` is the folder that the run has in the list of
    /// its invocation; `opened` receives the folder that it has now.
    pub fn train(
        self,
        progress: &mut dyn Progress,
        session: &Session,
        label: String,
        listed: Option<&Path>,
        opened: &mut dyn FnMut(&Path) -> Result<()>,
    ) -> Result<Ended> {
        let environment = Environment {
            world: session.world.clone(),
            ..capture_environment(self.setting.device, session.commit.clone())
        };
        let config = config_text(
            self.setting.experiment,
            (&self.info.variant, self.info.seed),
            self.recipe,
        )?;
        let unfinished = self
            .unfinished(progress, session, listed, &config, &environment)
            .context(|| label.clone())?;
        let folder = unfinished.as_ref().map(|(folder, _)| folder.as_path());
        let mut record = self.open_record(session, folder, &config, environment)?;
        let dir = record.dir().to_path_buf();
        // Until the end of this run.
        let _lock = match unfinished {
            Some((_, lock)) => {
                progress.note(&format!(
                    "{label} continues in {} (--fresh starts it again)",
                    dir.display()
                ));
                Some(lock)
            }
            None if session.resume.is_on() => Lock::take(&dir)?,
            None => None,
        };
        opened(&dir)?;
        let mut events = TensorBoard::create(record.dir())?;
        let samples = pictures::samples(&self.train, &self.recipe.train_transforms())?;
        events
            .writer()
            .image("samples", 0, &samples)
            .map_err(tallow_train::Error::from)?;
        let inputs = observe::inputs(&self.inputs()?)?;
        let mut gradients = GradientNorms::over(NORM_STEPS);
        let mut statistics = GradientStatistics::default();
        let mut activations = (session.profile)
            .then(|| Activations::new(&self.model, &self.train))
            .transpose()?;
        let train = &self.recipe.train;
        let monitor = self.recipe.monitor(self.validation.is_some());
        let checkpoint = train.checkpoint.clone().unwrap_or_default();
        let saves = session.resume.is_on() || train.checkpoint.is_some();
        let done = Cell::new(0);
        let at_pause = || session.pause.is_some_and(|epochs| done.get() >= epochs);
        let (fitted, mut profile) = {
            let mut observer = progress.run(&self.info, &dir);
            let mut trainer = self
                .monitored_trainer(session.stop)
                .with_callback(&mut record)
                .with_callback(&mut gradients)
                .with_callback(&mut events)
                .with_callback(&mut *observer)
                .with_callback(Epochs(&done))
                .with_interrupt(|| session.stop.requested() || at_pause());
            if let Some(stopping) = &train.early_stopping {
                trainer = trainer.with_callback(stopping.callback(monitor));
            }
            if let Some(activations) = &mut activations {
                trainer = trainer
                    .with_callback(activations)
                    .with_callback(&mut statistics);
            }
            if checkpoint.best {
                trainer = trainer.with_callback(KeepBest::new(monitor, dir.join(BEST_FILE)));
            }
            if saves {
                trainer = trainer.with_checkpoints_at(dir.join("checkpoint"), checkpoint.config());
            }
            let fitted = trainer
                .fit(
                    &self.model,
                    self.model.store(),
                    &self.train,
                    Some(&self.test),
                )
                .context(|| label);
            (fitted, trainer.profile().clone())
        };
        let history = match fitted {
            Err(error) if error.is_non_finite_loss() => return Ok(Ended::Diverged(dir, error)),
            fitted => fitted?,
        };
        if history.interrupted && at_pause() && !session.stop.requested() {
            progress.run_paused(&dir);
            return Ok(Ended::Paused(dir));
        }
        if history.interrupted {
            return Ok(Ended::Stopped(saves.then_some(dir)));
        }
        // First of all: whatever fails from here on, what was trained is on the disk.
        record.save_weights(self.model.store())?;
        let outputs = observe::outputs(&self.model, &self.test, self.recipe.train.tta)?;
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
        if session.profile {
            profile.layers = layer_times(&self.model, &self.train)?;
            progress.note(&profile.to_string());
        }
        record.add("profile.json", &profile)?;
        if let Some(activations) = activations {
            let rows = activations.with_gradients(statistics.rows());
            record.add("statistics.json", &rows)?;
        }
        record.put("parameters", self.model.store().num_parameters() as f64);
        record.put("multiply_adds", self.model.summary()?.multiply_adds as f64);
        record.put("steps", self.steps(history.rows.len()) as f64);
        if (self.setting.experiment.analyses).contains(&Analysis::OtherSizes) {
            let (registry, name) = (self.setting.registry, &self.recipe.model.name);
            let accepts = analysis::accepts_other_size(registry, name, &self.config, &self.model);
            record.put("accepts_other_size", f64::from(u8::from(accepts)));
        }
        let summary = record.write_summary(&history)?;
        if saves && checkpoint.keep_last.is_none() {
            let folder = record.checkpoints();
            if folder.exists() {
                fs::remove_dir_all(&folder).map_err(Error::io("remove", &folder))?;
            }
        }
        // The run has finished. Pictures that cannot be drawn or written are missing in the report, no more.
        let loaders = (&self.train, &self.test);
        if let Err(error) = pictures::write(&record, &self.model, loaders, &outputs) {
            progress.note(&format!(
                "warning: {}: some pictures are missing: {}",
                dir.display(),
                error.message()
            ));
        }
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
}

/// Configuration of the trainer of a model.
fn train_config(recipe: &Recipe, model: &Model) -> TrainConfig {
    let mut config = recipe.train.config();
    if let Some(decay) = recipe.train.layer_decay {
        let depths = model.depths();
        let most = depths.iter().map(|(_, depth)| *depth).max().unwrap_or(0);
        let scales = depths
            .into_iter()
            .map(|(name, depth)| (name, decay.powi((most - depth) as i32)));
        config.lr_scales = scales.collect();
    }
    config
}

/// Content of `config.toml`: the complete recipe below the names of experiment, variant, tier and seed.
pub(crate) fn config_text(
    experiment: &Experiment,
    (variant, seed): (&str, u64),
    recipe: &Recipe,
) -> Result<String> {
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
        experiment: &experiment.name,
        variant,
        tier: experiment.tier,
        seed,
        recipe,
    };
    Ok(toml::to_string(&config)?)
}
