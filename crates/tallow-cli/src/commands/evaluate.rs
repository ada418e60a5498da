//! `tallow evaluate`: metrics of given weights on a test set.

use std::ffi::OsString;
use std::fmt::Write;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail};
use clap::Args;
use tallow_experiment::evaluate::{self, Evaluation, Request, RunRequest};
use tallow_experiment::{device, preparation};
use tallow_record::{percent, thousands};

use crate::args::{Channels, find_dataset, load_options, parse_channels};
use crate::commands::run_folders::trained;
use crate::ending::Ending;
use crate::output;
use crate::program::Program;
use crate::progress::Notes;
use crate::runner::set_threads;
use crate::table::{align_right, new_table};

/// Examples at the end of the help text.
pub const EXAMPLES: &str = "Examples:
  {tallow} evaluate --run runs/pictures
  {tallow} evaluate --run runs/pictures/<run> --data new-pictures
  {tallow} evaluate --model resnet20 --weights resnet20-12fca82f.th --dataset cifar10
  {tallow} evaluate --model cnn --weights runs/quickstart/<run>/model.safetensors --dataset fashion-mnist-sample
  {tallow} evaluate --model resnet18 --weights w.pth --dataset folder:photos --set 'data.transforms=[{name=\"to-tensor\"}]'

A name without a folder is searched in the current folder, in the folder that TALLOW_WEIGHTS names, and in a folder weights beside the data.
hf:owner/name/file is a file of a model on the Hugging Face hub.";

/// Arguments of `evaluate`.
#[derive(Args, Debug)]
pub struct EvaluateArgs {
    /// Folder of a run record: its weights, model and transforms, and its test data unless --dataset or --data names others; or of an
    /// experiment, for its newest finished run.
    #[arg(long, value_name = "DIR", conflicts_with_all = ["model", "weights", "weights_key", "allow_non_finite", "mean", "std", "set"])]
    pub run: Option<PathBuf>,
    /// Name of the model (see `{tallow} list`).
    #[arg(long, value_name = "NAME")]
    pub model: Option<String>,
    /// File of weights.
    #[arg(long, value_name = "FILE")]
    pub weights: Option<OsString>,
    /// Set of weights in a file with several: key of a state dict, such as state_dict_ema, or prefix of its names.
    #[arg(long, value_name = "KEY")]
    pub weights_key: Option<String>,
    /// Load weights with NaN or infinite values, which are an error otherwise.
    #[arg(long)]
    pub allow_non_finite: bool,
    /// Name of the dataset (see `{tallow} data list`), whose test split is used.
    #[arg(long, value_name = "NAME")]
    pub dataset: Option<String>,
    /// Look for the data in this folder before the usual places. With --run of pictures of your own: folder of other pictures, with a
    /// folder for each class in its folder `test` or right below it.
    #[arg(long, value_name = "DIR")]
    pub data: Option<PathBuf>,
    /// Images in a batch.
    #[arg(long, value_name = "N", default_value_t = 200, value_parser = clap::value_parser!(u32).range(1..))]
    pub batch: u32,
    /// Mean of each channel, which is subtracted from images in [0, 1]: 0.485,0.456,0.406, or one number for all.
    #[arg(long, value_name = "M", value_parser = parse_channels)]
    pub mean: Option<Channels>,
    /// Standard deviation of each channel, by which the difference is divided.
    #[arg(long, value_name = "S", value_parser = parse_channels)]
    pub std: Option<Channels>,
    /// Change a key of the recipe: data.transforms=[...], model.width_divisor=2, train.loss.name=squared-error.
    #[arg(long, value_name = "KEY=VALUE")]
    pub set: Vec<String>,
    /// Device to compute on: cpu, cuda, cuda:N or metal.
    #[arg(long, value_name = "D", default_value = "cpu")]
    pub device: String,
    /// Threads to compute with; all cores by default.
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u16).range(1..))]
    pub threads: Option<u16>,
    /// Print one JSON object on standard output, and nothing else there.
    #[arg(long)]
    pub json: bool,
}

/// Evaluates weights and prints the metrics.
pub fn evaluate(args: &EvaluateArgs, program: &Program) -> Result<Ending> {
    let given = match (&args.mean, &args.std) {
        (Some(mean), Some(std)) => Some((mean.0.clone(), std.0.clone())),
        (None, None) => None,
        _ => bail!("--mean and --std must be given together"),
    };
    let device = device::parse(&args.device)?;
    set_threads(args.threads)?;
    let batch = args.batch as usize;
    let registry = program.models.clone();
    let outcome = match (&args.run, &args.model, &args.weights, &args.dataset) {
        (Some(run), ..) => {
            let run = &trained(run)?;
            let (dataset, data) = other_data(args, run)?;
            let request = RunRequest {
                run: run.clone(),
                dataset,
                data,
                batch,
                device,
                registry,
            };
            evaluate::evaluate_run(&request, &mut Notes)
                .with_context(|| format!("--run {}", run.display()))?
        }
        (None, Some(model), Some(weights), Some(dataset)) => {
            let request = Request {
                model: model.clone(),
                weights: weights.clone(),
                dataset: dataset.clone(),
                data: args.data.clone(),
                batch,
                given,
                sets: args.set.clone(),
                device,
                registry,
                load: load_options(args.weights_key.as_deref(), args.allow_non_finite),
            };
            evaluate::evaluate(&request, &mut Notes)?
        }
        _ => bail!("pass --run DIR, or --model NAME, --weights FILE and --dataset NAME"),
    };
    let text = render(&outcome);
    output::result(&text, args.json.then_some(&outcome), false)?;
    Ok(Ending::Done)
}

/// Dataset and place of data of `--dataset` and `--data` beside `--run`: of a run on pictures of the user's own, `--data` is a folder of
/// others.
fn other_data(args: &EvaluateArgs, run: &Path) -> Result<(Option<String>, Option<PathBuf>)> {
    let Some(data) = args.data.clone() else {
        return Ok((args.dataset.clone(), None));
    };
    if args.dataset.is_some() {
        return Ok((args.dataset.clone(), Some(data)));
    }
    let config = tallow_record::Run::read(run).map(|run| run.config);
    let trained_on = config.ok().and_then(|config| {
        let dataset = config.get("data")?.get("dataset")?;
        dataset.as_str().map(str::to_string)
    });
    if trained_on.is_some_and(|name| !name.contains(':')) {
        return Ok((None, Some(data)));
    }
    let Some(path) = data.to_str() else {
        bail!("--data {}: expected a path in UTF-8", data.display());
    };
    Ok((Some(find_dataset(path)?), None))
}

fn render(outcome: &Evaluation) -> String {
    let score = |score: Option<f64>| score.map_or("—".to_string(), percent);
    let mut table = new_table(&["class", "images", "correct", "recall", "precision", "F1"]);
    for class in &outcome.per_class {
        table.add_row([
            class.name.clone(),
            thousands(class.images),
            thousands(class.correct),
            score(class.recall),
            score(class.precision),
            score(class.f1),
        ]);
    }
    for column in 1..6 {
        align_right(&mut table, column);
    }
    let figures = preparation::describe(&outcome.transforms);
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
        "{} of {} correct: {}{}, loss {:.4}",
        thousands(outcome.correct),
        thousands(outcome.total),
        percent(outcome.accuracy),
        top5.unwrap_or_default(),
        outcome.loss,
    );
    text
}
