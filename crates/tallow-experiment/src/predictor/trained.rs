//! Trained models: of a run record, or of a file of weights.

use std::ffi::OsString;
use std::path::{Path, PathBuf};

use candle_core::Device;
use serde_json::from_slice;
use tallow_datasets::{LoadOptions, PictureOptions, Split, entry, load};
use tallow_models::{LoadWeights, checkpoints};
use tallow_record::Run;
use tallow_train::{LossConfig, Tta};
use tallow_transforms::Compose;
use toml::Table;

use crate::bare_recipe;
use crate::data::{self, explain, image_shape, load_split};
use crate::error::{Context, Error, Result};
use crate::job::{SHAPES_FILE, Shapes};
use crate::keys::to_recipe;
use crate::model::{self, Model, Registry};
use crate::recipe::{Recipe, is_own};
use crate::{preparation, weights};

/// Shape `(C, H, W)`.
type Shape = (usize, usize, usize);

/// File of weights with the model and the dataset that it is for.
#[derive(Clone, Debug)]
pub struct WeightsRequest {
    /// File of weights, as [`weights::find`] takes it.
    pub weights: OsString,
    /// Name of the model.
    pub model: String,
    /// Name of the dataset that the model was trained on; default: that of the run record or published checkpoint that the file is of.
    pub dataset: Option<String>,
    /// Folder to look for data and weights in before the usual places.
    pub data: Option<PathBuf>,
    /// Mean and standard deviation per channel to normalise images in `[0, 1]` with, instead of the usual ones.
    pub given: Option<(Vec<f32>, Vec<f32>)>,
    /// Assignments `key=value` to the recipe.
    pub sets: Vec<String>,
    /// Device to compute on.
    pub device: Device,
    /// Models by name.
    pub registry: Registry,
    /// Options of loading the weights.
    pub load: LoadWeights,
}

/// Model with its weights, its images and its classes.
pub(crate) struct Trained {
    /// Model.
    pub model: Model,
    /// File of its weights.
    pub weights: PathBuf,
    /// Name of the dataset that it was trained on.
    pub dataset: String,
    /// Names of the classes.
    pub classes: Vec<String>,
    /// Shape of the dataset's images before the transforms; `None` if the transforms take images of any size.
    pub image_shape: Option<Shape>,
    /// Decoding of pictures.
    pub pictures: PictureOptions,
    /// Test-time augmentation.
    pub tta: Option<Tta>,
    /// Transforms of every image.
    pub transforms: Compose,
    /// Source of the transforms in words.
    pub source: String,
    /// Notes on the weights for the user.
    pub notes: Vec<String>,
    /// Recipe of the run, or of the file of weights as far as it is known.
    pub recipe: Recipe,
}

/// Model of a finished run record.
pub(crate) fn of_run(dir: &Path, device: &Device, registry: &Registry) -> Result<Trained> {
    let refuse = |message: &str| {
        Err(Error::RunRecord(format!(
            "{message} (`tallow runs` lists the run records)"
        )))
    };
    if dir.is_file() {
        return refuse("is a file; expected the folder of a run record");
    }
    if !dir.is_dir() {
        return refuse("there is no such folder");
    }
    let config = dir.join("config.toml");
    if !config.is_file() {
        return refuse("is not a run record: config.toml is missing");
    }
    let record = Run::read(dir)?;
    let weights = dir.join("model.safetensors");
    if !weights.is_file() {
        return refuse(
            "has no model.safetensors: the run has not finished; run it again, or take another",
        );
    }
    let recipe = recorded(&record.config).context(|| config.display().to_string())?;
    let mut source = format!("of the run record {}", config.display());
    let trained_with = match recipe.train.loss {
        LossConfig::SquaredError { .. } => Some("the squared error"),
        LossConfig::BinaryCrossEntropy { .. } => Some("the binary cross entropy of each class"),
        LossConfig::SigmoidFocal { .. } => Some("the focal loss of each class"),
        _ => None,
    };
    if let Some(loss) = trained_with {
        source += &format!(
            "; trained with {loss}: the softmax over its outputs gives values that are not calibrated probabilities"
        );
    }
    let classes = record.info.dataset.classes;
    build(
        &recipe,
        classes,
        shapes(dir)?,
        (weights, &LoadWeights::default()),
        source,
        device,
        registry,
    )
}

/// Model of a file of weights.
pub(super) fn of_weights(request: &WeightsRequest) -> Result<Trained> {
    request.registry.find(&request.model)?;
    let path = weights::find(&request.weights, request.data.as_deref())?;
    let digest = preparation::digest(&path)?;
    let dataset = match &request.dataset {
        Some(dataset) => dataset.clone(),
        None => trained_on(&path, &digest)?,
    };
    let classes = classes(&dataset, request.data.clone())?;
    let given = (request.given.as_ref()).map(|(mean, std)| (&mean[..], &std[..]));
    let preparation = bare_recipe::preparation(given, &request.sets, &path, &digest, &dataset)?;
    let source = preparation.source.clone();
    let recipe = bare_recipe::recipe(&dataset, &request.model, 1, preparation, &request.sets)?;
    build(
        &recipe,
        classes,
        None,
        (path, &request.load),
        source,
        &request.device,
        &request.registry,
    )
}

fn build(
    recipe: &Recipe,
    classes: Vec<String>,
    recorded: Option<Shapes>,
    (weights, load): (PathBuf, &LoadWeights),
    source: String,
    device: &Device,
    registry: &Registry,
) -> Result<Trained> {
    let transforms = Compose::new(recipe.test_transforms().to_vec())?;
    let name = &recipe.model.name;
    let dataset = &recipe.data.dataset;
    let mut source = source;
    let size = one_size(&transforms);
    let image_shape = match (entry(dataset), size) {
        (Ok(entry), _) => Some(entry.shape),
        (Err(_), Some(_)) => None,
        (Err(_), None) => {
            let known = recorded.map(|shapes| shapes.image);
            Some(
                match known.or_else(|| first(dataset, recipe.data.pictures)) {
                    Some(shape) => shape,
                    None => {
                        // Images of a folder are RGB.
                        let (_, h, w) = model::default_input(registry, name)?;
                        source += &format!(
                            "; the image size of `{dataset}` is unknown; {w}x{h} is assumed"
                        );
                        (3, h, w)
                    }
                },
            )
        }
    };
    let input_shape = match (recorded, image_shape, size) {
        (Some(shapes), _, _) => shapes.input,
        (None, Some(shape), _) => transforms.output_shape(shape)?,
        (None, None, Some(shape)) => shape,
        (None, None, None) => model::default_input(registry, name)?,
    };
    let config = model::config(&recipe.model, classes.len(), input_shape, 0, device);
    let model = registry.skip_init(name, &config)?;
    let notes = crate::weights::load(&model, &weights, load).context(|| {
        format!(
            "the weights are not those of `{name}` for the {} classes of `{dataset}`; give the model and the dataset that they are for (`tallow summary {name}` shows its layers)",
            classes.len()
        )
    })?;
    Ok(Trained {
        model,
        weights,
        dataset: dataset.clone(),
        classes,
        image_shape,
        pictures: recipe.data.pictures,
        tta: recipe.train.tta,
        transforms,
        source,
        notes,
        recipe: recipe.clone(),
    })
}

/// Shapes in a run record; `None` in a record of an earlier version.
fn shapes(dir: &Path) -> Result<Option<Shapes>> {
    let path = dir.join(SHAPES_FILE);
    if !path.is_file() {
        return Ok(None);
    }
    let text = std::fs::read(&path).map_err(Error::io("read", &path))?;
    let shapes = from_slice(&text).context(|| path.display().to_string())?;
    Ok(Some(shapes))
}

/// Shape of the first training image, if the data is here.
fn first(dataset: &str, pictures: PictureOptions) -> Option<Shape> {
    let options = LoadOptions {
        pictures,
        ..LoadOptions::default()
    };
    let train = load(dataset, Split::Train, &options).ok()?;
    image_shape(&*train).ok()
}

/// Recipe of a record, whose `config.toml` has more keys.
pub(crate) fn recorded(config: &Table) -> Result<Recipe> {
    let parts = ["data", "model", "train"].map(|part| match config.get(part) {
        Some(value) => Ok((part.to_string(), value.clone())),
        None => Err(Error::RunRecord(format!("has no [{part}]"))),
    });
    let table = parts.into_iter().collect::<Result<Table>>()?;
    to_recipe(table).map_err(Error::RunRecord)
}

/// Dataset that weights were trained on: of their run record, or of the published checkpoint with this digest.
fn trained_on(path: &Path, digest: &str) -> Result<String> {
    let config = path.with_file_name("config.toml");
    if config.is_file()
        && let Ok(record) = Run::read(path.parent().unwrap_or(Path::new(".")))
        && let Ok(recipe) = recorded(&record.config)
    {
        return Ok(recipe.data.dataset);
    }
    let known = checkpoints().iter().find(|c| digest.starts_with(c.digest));
    match known.map(|known| known.trained_on) {
        Some("CIFAR-10") => Ok("cifar10".into()),
        _ => Err(Error::Weights(
            "the dataset of these weights is unknown: pass --dataset NAME, for image shape and class names"
                .to_string(),
        )),
    }
}

/// Names of a dataset's classes: of the catalogue, or of the dataset at a path.
fn classes(dataset: &str, data: Option<PathBuf>) -> Result<Vec<String>> {
    match entry(dataset) {
        Ok(entry) => Ok(entry.classes.iter().map(|c| c.to_string()).collect()),
        Err(_) if is_own(dataset) => {
            let train = load_split(dataset, Split::Train, &data::options(data, None))?;
            Ok(train.info().classes.clone())
        }
        Err(error) => Err(explain(error)),
    }
}

/// Shape after the transforms if it is the same for RGB images of any size.
pub(super) fn one_size(transforms: &Compose) -> Option<Shape> {
    let of = |h, w| transforms.output_shape((3, h, w)).ok();
    let shape = of(601, 1203)?;
    (of(1307, 511) == Some(shape)).then_some(shape)
}
