//! The trained network: of a run record, or of a file of weights.

use std::path::{Path, PathBuf};

use anyhow::{Context, Result, anyhow, bail};
use candle_core::Device;
use tallow_datasets::{Split, entry};
use tallow_models::{LoadWeights, Model, ModelConfig, checkpoints, find};
use tallow_train::LossConfig;
use tallow_transforms::Compose;
use toml::{Table, Value};

use super::PredictArgs;
use crate::data::load_split;
use crate::evaluate;
use crate::experiment::Recipe;
use crate::{normalisation, suggest, weights};

/// A model with its weights, and what its images and classes are.
pub struct Trained {
    /// The model.
    pub model: Model,
    /// The file that its weights are from.
    pub weights: PathBuf,
    /// What it was trained on.
    pub dataset: String,
    /// The names of the classes.
    pub classes: Vec<String>,
    /// The shape `(C, H, W)` of the dataset's images, which the transforms start from; `None` where they take any.
    pub shape: Option<(usize, usize, usize)>,
    /// What is done to every image.
    pub transforms: Compose,
    /// Who says so.
    pub transforms_source: String,
}

impl Trained {
    /// Reads the record or the weights that the arguments name.
    pub fn load(args: &PredictArgs, device: &Device) -> Result<Self> {
        match (&args.run, &args.weights, &args.model) {
            (Some(dir), _, _) => Self::of_run(dir, device),
            (None, Some(weights), Some(model)) => Self::of_weights(args, weights, model, device),
            // Clap sees to it.
            _ => bail!("give --run, or --weights and --model"),
        }
    }

    fn of_run(dir: &Path, device: &Device) -> Result<Self> {
        let listed = "cargo xtask runs lists the run records";
        if !dir.is_dir() {
            bail!("--run {}: there is no such folder; {listed}", dir.display());
        }
        let config = dir.join("config.toml");
        if !config.is_file() {
            bail!(
                "--run {}: is no run record, having no config.toml; {listed}",
                dir.display()
            );
        }
        let record =
            tallow_report::Run::read(dir).with_context(|| format!("--run {}", dir.display()))?;
        let weights = dir.join("model.safetensors");
        if !weights.is_file() {
            bail!(
                "--run {}: has no model.safetensors: the run has not finished; run it again, or take another ({listed})",
                dir.display()
            );
        }
        let recipe = recorded(&record.config).with_context(|| config.display().to_string())?;
        let source = format!("of the run record {}", config.display());
        let mut trained = Self::build(
            &recipe,
            record.info.dataset.classes,
            weights,
            source,
            device,
        )?;
        if let Some(note) = outputs(&recipe) {
            trained.transforms_source += &note;
        }
        Ok(trained)
    }

    fn of_weights(args: &PredictArgs, name: &str, model: &str, device: &Device) -> Result<Self> {
        find(model)?;
        let path = weights::find(name, args.data.as_deref())?;
        let digest = normalisation::digest(&path)?;
        let dataset = match &args.dataset {
            Some(dataset) => dataset.clone(),
            None => trained_on(&path, &digest)?,
        };
        let classes = classes(&dataset, args.data.clone())?;
        let given = match (&args.mean, &args.std) {
            (Some(mean), Some(std)) => Some((&mean.0[..], &std.0[..])),
            _ => None,
        };
        let preparation = evaluate::preparation(given, &args.set, &path, &digest, &dataset)?;
        let source = preparation.source.clone();
        let recipe = evaluate::recipe_of(&dataset, model, 1, preparation, &args.set)?;
        Self::build(&recipe, classes, path, source, device)
    }

    fn build(
        recipe: &Recipe,
        classes: Vec<String>,
        weights: PathBuf,
        transforms_source: String,
        device: &Device,
    ) -> Result<Self> {
        let transforms = Compose::new(recipe.data.transforms.clone())?;
        let name = &recipe.model.name;
        let dataset = &recipe.data.dataset;
        let of_model = find(name)?.default_input;
        let shape = match entry(dataset) {
            Ok(entry) => Some(entry.shape),
            // A folder of images of any size: its transforms bring them to one, or they are as the model has them.
            Err(_) => one_size(&transforms).is_none().then_some(of_model),
        };
        let input_shape = match shape {
            Some(shape) => transforms.output_shape(shape)?,
            None => one_size(&transforms).unwrap_or(of_model),
        };
        let config = ModelConfig {
            hidden: recipe.model.hidden.clone(),
            width_divisor: recipe.model.width_divisor,
            device: device.clone(),
            ..ModelConfig::new(classes.len(), input_shape)
        };
        let model = Model::build(name, &config)?;
        model.load_weights(&weights, &LoadWeights::default()).with_context(|| {
            format!(
                "the weights are not those of `{name}` for the {} classes of `{dataset}`; give the model and the dataset that they are for (cargo xtask summary {name} shows its layers)",
                classes.len()
            )
        })?;
        Ok(Self {
            model,
            weights,
            dataset: dataset.clone(),
            classes,
            shape,
            transforms,
            transforms_source,
        })
    }
}

/// The recipe of a record, whose `config.toml` holds more than that.
fn recorded(config: &Table) -> Result<Recipe> {
    let parts = ["data", "model", "train"].map(|part| {
        let value = config.get(part).cloned();
        value
            .map(|value| (part.to_string(), value))
            .with_context(|| format!("has no [{part}]"))
    });
    let table = parts.into_iter().collect::<Result<Table>>()?;
    Ok(Value::Table(table).try_into()?)
}

/// What to say of outputs that are no logits.
fn outputs(recipe: &Recipe) -> Option<String> {
    match recipe.train.loss {
        LossConfig::SquaredError { .. } => Some(
            "; trained with the squared error, so that probabilities are a softmax over outputs that were never meant as such".into(),
        ),
        _ => None,
    }
}

/// The dataset that weights are of, where something says so.
fn trained_on(path: &Path, digest: &str) -> Result<String> {
    let config = path.with_file_name("config.toml");
    if config.is_file()
        && let Ok(record) = tallow_report::Run::read(path.parent().unwrap_or(Path::new(".")))
        && let Ok(recipe) = recorded(&record.config)
    {
        // The record's own word is that of the part it was trained on.
        return Ok(recipe.data.dataset);
    }
    let known = checkpoints().iter().find(|c| digest.starts_with(c.digest));
    match known.map(|known| known.trained_on) {
        Some("CIFAR-10") => Ok("cifar10".into()),
        _ => bail!(
            "what were these weights trained on? give --dataset NAME (cargo xtask data list), which says what its images look like and what its classes are called"
        ),
    }
}

/// The names of a dataset's classes: of the catalogue, or of the folder's subfolders.
fn classes(dataset: &str, data: Option<PathBuf>) -> Result<Vec<String>> {
    match entry(dataset) {
        Ok(entry) => Ok(entry.classes.iter().map(|c| c.to_string()).collect()),
        Err(_) if dataset.starts_with("folder:") => Ok(load_split(dataset, Split::Train, data)?
            .info()
            .classes
            .clone()),
        Err(tallow_datasets::Error::UnknownDataset { name, known }) => {
            Err(anyhow!(suggest::unknown("dataset", &name, &known)))
        }
        Err(error) => Err(error.into()),
    }
}

/// The shape that comes out whatever the size of the image, if there is one.
fn one_size(transforms: &Compose) -> Option<(usize, usize, usize)> {
    let of = |h, w| transforms.output_shape((3, h, w)).ok();
    let shape = of(601, 1203)?;
    (of(1307, 511) == Some(shape)).then_some(shape)
}
