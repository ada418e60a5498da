//! Evaluation of given weights on a test set.

use std::ffi::OsString;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Instant;

use candle_core::Device;
use serde::{Serialize, Serializer};
use tallow_datasets::{DataLoader, Dataset, DatasetInfo, LoaderConfig, Split};
use tallow_models::LoadWeights;
use tallow_ops::Precision;
use tallow_train::Trainer;
use tallow_transforms::{Compose, TransformConfig};

use crate::bare_recipe;
use crate::data::{self, input_shape, load_split};
use crate::error::{Context, Error, Result};
use crate::model::{self, Model, Registry};
use crate::predictor::trained;
use crate::preparation;
use crate::progress::Progress;
use crate::recipe::Recipe;
use crate::relabelled::with_classes;
use crate::weights;

/// Request to evaluate weights.
#[derive(Clone, Debug)]
pub struct Request {
    /// Name of the model.
    pub model: String,
    /// File of weights, as [`weights::find`] takes it.
    pub weights: OsString,
    /// Name of the dataset, whose test split is used.
    pub dataset: String,
    /// Folder to look for data and weights in before the usual places.
    pub data: Option<PathBuf>,
    /// Batch size.
    pub batch: usize,
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

/// Result of an evaluation, in the shape that `--json` prints.
#[derive(Debug, Serialize)]
pub struct Evaluation {
    /// Name of the model.
    pub model: String,
    /// Number of trainable parameters.
    pub parameters: usize,
    /// File of weights, in JSON as text; bytes that are no Unicode are replaced.
    #[serde(serialize_with = "lossy")]
    pub weights: PathBuf,
    /// SHA-256 of the file.
    pub weights_digest: String,
    /// Name of the dataset.
    pub dataset: String,
    /// Format of the data, and whether these are the published bytes.
    pub provenance: String,
    /// SHA-256 of the decoded test images and labels.
    pub test_digest: String,
    /// Transforms of the images.
    pub transforms: Vec<TransformConfig>,
    /// Source of the transforms.
    pub transforms_source: String,
    /// Number of correct predictions.
    pub correct: u64,
    /// Number of images.
    pub total: u64,
    /// Share of correct predictions.
    pub accuracy: f64,
    /// Share of images whose class is among the five most probable; `None` for five classes or fewer.
    pub top5: Option<f64>,
    /// Mean loss.
    pub loss: f64,
    /// Scores of the classes, in their order.
    pub per_class: Vec<Class>,
    /// Confusion matrix: rows are labels, columns predictions.
    pub confusion: Vec<Vec<u64>>,
    /// Wall time.
    pub seconds: f64,
}

/// Scores of one class.
#[derive(Debug, Serialize)]
pub struct Class {
    /// Name of the class.
    pub name: String,
    /// Number of its images.
    pub images: u64,
    /// Number of these with a correct prediction.
    pub correct: u64,
    /// Precision; `None` if the class has no images.
    pub precision: Option<f64>,
    /// Recall; `None` if the class has no images.
    pub recall: Option<f64>,
    /// F1 score; `None` if the class has no images.
    pub f1: Option<f64>,
}

/// Evaluates weights on a test split.
pub fn evaluate(request: &Request, progress: &mut dyn Progress) -> Result<Evaluation> {
    let started = Instant::now();
    request.registry.find(&request.model)?;
    let path = weights::find(&request.weights, request.data.as_deref())?;
    let weights_digest = preparation::digest(&path)?;
    let given = (request.given.as_ref()).map(|(mean, std)| (&mean[..], &std[..]));
    let preparation = bare_recipe::preparation(
        given,
        &request.sets,
        &path,
        &weights_digest,
        &request.dataset,
    )?;
    let transforms_source = preparation.source.clone();
    let recipe = bare_recipe::recipe(
        &request.dataset,
        &request.model,
        request.batch,
        preparation,
        &request.sets,
    )?;
    let options = data::options(request.data.clone(), progress.downloads());
    let options = recipe.data.with_options(options);
    let test = load_split(&recipe.data.dataset, Split::Test, &options)?;
    let transforms = Compose::new(recipe.test_transforms().to_vec())?;
    let shape = input_shape(&*test, &transforms)?;
    let classes = test.info().classes.len();
    let config = model::config(&recipe.model, classes, shape, 0, &request.device);
    let model = (request.registry).skip_init(&recipe.model.name, &config)?;
    for note in weights::load(&model, &path, &request.load)? {
        progress.note(&note);
    }

    score(
        Evaluated {
            model,
            weights: path,
            recipe,
            transforms,
            source: transforms_source,
        },
        test,
        weights_digest,
        started,
    )
}

/// Request to evaluate the network of a run record.
#[derive(Clone, Debug)]
pub struct RunRequest {
    /// Folder of the run record.
    pub run: PathBuf,
    /// Dataset whose test split is used; of one without a test split, all pictures. Default: the test data of the run.
    pub dataset: Option<String>,
    /// Folder to look for data in before the usual places.
    pub data: Option<PathBuf>,
    /// Batch size.
    pub batch: usize,
    /// Device to compute on.
    pub device: Device,
    /// Models by name.
    pub registry: Registry,
}

/// Evaluates the network of a finished run with the transforms, the decoding and the test-time augmentation of the run.
///
/// Classes of another dataset are those of the run with the same names. A device that lacks the precision of the run evaluates in `f32`, and a
/// note says so.
///
/// # Errors
/// [`Error::RunRecord`] when the folder is none of a finished run; those of the dataset; [`Error::Data`] for a class that the run
/// does not have.
pub fn evaluate_run(request: &RunRequest, progress: &mut dyn Progress) -> Result<Evaluation> {
    let started = Instant::now();
    let run = &request.run;
    let trained = trained::of_run(run, &request.device, &request.registry);
    let trained = trained.context(|| run.display().to_string())?;
    for note in &trained.notes {
        progress.note(note);
    }
    let mut recipe = trained.recipe;
    recipe.train.batch_size = request.batch;
    let (precision, store) = (recipe.train.precision, trained.model.store());
    let checked = (recipe.train.config()).check_precision(store.dtype(), store.device());
    if checked.is_err() {
        progress.note(&format!(
            "the run was trained in {precision}, which this device does not have: it is evaluated in f32"
        ));
        recipe.train.precision = Precision::F32;
    }
    let options = data::options(request.data.clone(), progress.downloads());
    let options = recipe.data.with_options(options);
    let test = match &request.dataset {
        None => data::test_of(&recipe.data, &options)?,
        Some(name) => data::test_or_all(name, &options)?,
    };
    let test = with_classes(test, &trained.classes)?;
    let weights_digest = preparation::digest(&trained.weights)?;
    score(
        Evaluated {
            model: trained.model,
            weights: trained.weights,
            recipe,
            transforms: trained.transforms,
            source: trained.source,
        },
        test,
        weights_digest,
        started,
    )
}

/// Network to evaluate, and the preparation of its images.
struct Evaluated {
    model: Model,
    weights: PathBuf,
    recipe: Recipe,
    transforms: Compose,
    /// Source of the transforms in words.
    source: String,
}

fn score(
    network: Evaluated,
    test: Arc<dyn Dataset>,
    weights_digest: String,
    started: Instant,
) -> Result<Evaluation> {
    let Evaluated {
        model,
        weights: path,
        recipe,
        transforms,
        source: transforms_source,
    } = network;
    let info = test.info().clone();
    let loader = LoaderConfig {
        batch_size: recipe.train.batch_size,
        shuffle: false,
        num_workers: recipe.train.workers,
        ..LoaderConfig::default()
    };
    let loader = DataLoader::new(test, transforms, loader)?;
    let trainer = Trainer::new(recipe.train.config());
    let evaluation = trainer.evaluate(&model, model.store(), &loader)?;

    // NaN is in no order with other numbers, and its class would be an accident.
    if !evaluation.loss.is_finite() {
        return Err(Error::Weights(format!(
            "{}: the outputs of `{}` are not finite (loss {}), so that there are no classes to count; the run that made the weights has diverged, or the images need other transforms",
            path.display(),
            recipe.model.name,
            evaluation.loss
        )));
    }
    let tested_with = recipe.test_transforms().to_vec();
    let per_class = per_class(&evaluation, &info);
    let matrix = evaluation.confusion.matrix();
    Ok(Evaluation {
        model: recipe.model.name,
        parameters: model.store().num_parameters(),
        weights: path,
        weights_digest,
        dataset: info.name,
        provenance: info.provenance,
        test_digest: info.digest,
        transforms: tested_with,
        transforms_source,
        correct: per_class.iter().map(|class| class.correct).sum(),
        total: evaluation.samples,
        accuracy: evaluation.accuracy,
        top5: evaluation.top5,
        loss: evaluation.loss,
        confusion: matrix
            .chunks(per_class.len().max(1))
            .map(<[u64]>::to_vec)
            .collect(),
        per_class,
        seconds: started.elapsed().as_secs_f64(),
    })
}

/// Serialises a path as text, with a replacement character for what is no Unicode.
fn lossy<S: Serializer>(path: &Path, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.collect_str(&path.display())
}

fn per_class(evaluation: &tallow_train::Evaluation, info: &DatasetInfo) -> Vec<Class> {
    let confusion = &evaluation.confusion;
    let scores = confusion.per_class().into_iter().zip(&info.classes);
    scores
        .map(|(score, name)| {
            let row = confusion.row(score.class).unwrap_or_default();
            Class {
                name: name.clone(),
                images: row.iter().sum(),
                correct: row.get(score.class).copied().unwrap_or(0),
                precision: score.precision,
                recall: score.recall,
                f1: score.f1,
            }
        })
        .collect()
}
