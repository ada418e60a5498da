//! `cargo xtask evaluate`: how good given weights are on a test set.

use std::fmt::Write;
use std::path::{Path, PathBuf};
use std::time::Instant;

use anyhow::{Result, bail};
use serde::Serialize;
use tallow_datasets::{DataLoader, DatasetInfo, LoaderConfig, Split};
use tallow_models::{LoadWeights, Model, ModelConfig};
use tallow_train::{Evaluation, Trainer};
use tallow_transforms::{Compose, TransformConfig};
use toml::{Table, Value};

use crate::cli::EvaluateArgs;
use crate::data::{load_split, output_shape};
use crate::experiment::{self, Recipe};
use crate::normalisation::Preparation;
use crate::table::{align_right, new_table, percent, thousands};
use crate::{device, normalisation, output, run, weights};

/// What `--json` prints.
#[derive(Serialize)]
struct Outcome {
    model: String,
    parameters: usize,
    weights: PathBuf,
    /// SHA-256 of the file.
    weights_digest: String,
    dataset: String,
    provenance: String,
    /// SHA-256 of the decoded test images and labels.
    test_digest: String,
    transforms: Vec<TransformConfig>,
    /// Where the transforms come from.
    transforms_source: String,
    correct: u64,
    total: u64,
    accuracy: f64,
    top5: Option<f64>,
    loss: f64,
    /// In the order of the classes.
    per_class: Vec<Class>,
    /// Rows are labels, columns predictions.
    confusion: Vec<Vec<u64>>,
    seconds: f64,
}

#[derive(Serialize)]
struct Class {
    name: String,
    images: u64,
    correct: u64,
    precision: f64,
    recall: f64,
    f1: f64,
}

/// Evaluates weights and prints the result.
pub fn evaluate(args: &EvaluateArgs) -> Result<()> {
    let started = Instant::now();
    let device = device::parse(&args.device)?;
    run::set_threads(args.threads)?;
    tallow_models::find(&args.model)?;
    let path = weights::find(&args.weights, args.data.as_deref())?;
    let weights_digest = normalisation::digest(&path)?;
    let (recipe, transforms_source) = recipe(args, &path, &weights_digest)?;
    let test = load_split(&recipe.data.dataset, Split::Test, args.data.clone())?;
    let transforms = Compose::new(recipe.data.transforms.clone())?;
    let config = ModelConfig {
        hidden: recipe.model.hidden.clone(),
        width_divisor: recipe.model.width_divisor,
        device,
        ..ModelConfig::new(
            test.info().classes.len(),
            output_shape(&*test, &transforms)?,
        )
    };
    let model = Model::build(&recipe.model.name, &config)?;
    model.load_weights(&path, &LoadWeights::default())?;

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

    let per_class = classes(&evaluation, &info);
    let matrix = evaluation.confusion.matrix();
    let outcome = Outcome {
        model: recipe.model.name,
        parameters: model.store().num_parameters(),
        weights: path,
        weights_digest,
        dataset: info.name,
        provenance: info.provenance,
        test_digest: info.digest,
        transforms: recipe.data.transforms,
        transforms_source,
        correct: per_class.iter().map(|class| class.correct).sum(),
        total: evaluation.samples,
        accuracy: evaluation.accuracy,
        top5: evaluation.top5,
        loss: evaluation.loss,
        confusion: matrix
            .chunks(per_class.len())
            .map(<[u64]>::to_vec)
            .collect(),
        per_class,
        seconds: started.elapsed().as_secs_f64(),
    };
    let text = render(&outcome);
    output::result(&text, args.json.then_some(&outcome), false)
}

/// Data and model as a recipe, so that `--set` means here what it means to `run`; and where the transforms come from.
fn recipe(args: &EvaluateArgs, weights: &Path, digest: &str) -> Result<(Recipe, String)> {
    let given = match (&args.mean, &args.std) {
        (Some(mean), Some(std)) => Some((&mean.0[..], &std.0[..])),
        (None, None) => None,
        _ => bail!("--mean and --std go together"),
    };
    let preparation = preparation(given, &args.set, weights, digest, &args.dataset)?;
    let source = preparation.source.clone();
    let recipe = recipe_of(
        &args.dataset,
        &args.model,
        args.batch,
        preparation,
        &args.set,
    )?;
    Ok((recipe, source))
}

/// How images are prepared, as [`normalisation::choose`] decides unless `sets` say it.
pub fn preparation(
    given: Option<(&[f32], &[f32])>,
    sets: &[String],
    weights: &Path,
    digest: &str,
    dataset: &str,
) -> Result<Preparation> {
    let set = sets
        .iter()
        .any(|set| set.trim_start().starts_with("data.transforms"));
    if set && given.is_some() {
        bail!("--mean and --std, and --set data.transforms: give one of them");
    }
    if set {
        // Replaced by what is set; that there may be no usual one does not matter.
        return Ok(Preparation {
            transforms: vec![TransformConfig::to_tensor()],
            source: "given by --set data.transforms".into(),
        });
    }
    normalisation::choose(given, weights, digest, dataset)
}

/// A recipe that trains nothing: data and model, changed by `sets`.
pub fn recipe_of(
    dataset: &str,
    model: &str,
    batch: u32,
    preparation: Preparation,
    sets: &[String],
) -> Result<Recipe> {
    let table = |entries: Vec<(&str, Value)>| {
        let entries = entries
            .into_iter()
            .map(|(key, value)| (key.to_string(), value));
        Value::Table(Table::from_iter(entries))
    };
    let optimizer = table(vec![("name", "sgd".into()), ("lr", Value::Float(0.0))]);
    let data = table(vec![
        ("dataset", dataset.into()),
        ("transforms", Value::try_from(&preparation.transforms)?),
    ]);
    let train = table(vec![
        ("epochs", Value::Integer(1)),
        ("batch_size", Value::Integer(batch.into())),
        ("optimizer", optimizer),
    ]);
    let base = Table::from_iter([
        ("data".to_string(), data),
        ("model".to_string(), table(vec![("name", model.into())])),
        ("train".to_string(), train),
    ]);
    experiment::recipe(base, sets)
}

fn classes(evaluation: &Evaluation, info: &DatasetInfo) -> Vec<Class> {
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

fn render(outcome: &Outcome) -> String {
    let mut table = new_table(&["class", "images", "right", "recall", "precision", "F1"]);
    for class in &outcome.per_class {
        table.add_row([
            class.name.clone(),
            thousands(class.images),
            thousands(class.correct),
            percent(class.recall),
            percent(class.precision),
            percent(class.f1),
        ]);
    }
    for column in 1..6 {
        align_right(&mut table, column);
    }
    let figures = normalisation::describe(&outcome.transforms);
    let prepared = match figures.as_str() {
        "" => "images prepared by the transforms".to_string(),
        figures => format!("images normalised with {figures}"),
    };
    let mut text = format!(
        "{} with {}\non {}\n{prepared}, {}\n{table}\n",
        outcome.model,
        outcome.weights.display(),
        outcome.provenance,
        outcome.transforms_source,
    );
    let top5 = outcome
        .top5
        .map(|share| format!(", {} within five", percent(share)));
    let _ = writeln!(
        text,
        "{} of {} right: {}{}, loss {:.4}",
        thousands(outcome.correct),
        thousands(outcome.total),
        percent(outcome.accuracy),
        top5.unwrap_or_default(),
        outcome.loss,
    );
    text
}
