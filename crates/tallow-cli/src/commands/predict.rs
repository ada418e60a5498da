//! `tallow predict`: classes of images by a trained network.

use std::ffi::OsString;
use std::fmt::Write;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail};
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use clap::Args;
use tallow_datasets::picture_files;
use tallow_experiment::predictor::{Prepared, WeightsRequest};
use tallow_experiment::{Predictor, device, heat_map};
use tallow_record::{is_record, percent};

use crate::args::{Channels, load_options, parse_channels};
use crate::commands::run_folders::trained;
use crate::console::status;
use crate::ending::Ending;
use crate::output;
use crate::program::Program;
use crate::runner::set_threads;
use crate::table::{align_right, new_table};

mod csv;
mod explain;
mod line;

use line::Line;

/// Examples at the end of the help text.
pub const EXAMPLES: &str = "Examples:
  {tallow} predict --run runs/pictures photo.jpg
  {tallow} predict --run runs/mnist-pixel-order/<run> digit.png
  {tallow} predict --weights resnet20-12fca82f.th --model resnet20 --dataset cifar10 cat.jpg dog.webp
  {tallow} predict --run runs/quickstart/<run> shirt.png --explain shirt-heat.png
  {tallow} predict --run runs/quickstart/<run> *.png --json | jq .class
  {tallow} predict --run runs/pictures new-pictures --csv > classes.csv

{tallow} runs lists the run records.";

/// Images that are held in memory at once.
const BATCH: usize = 64;

/// Smallest size of the longer side of a heat map's picture, in pixels.
const SIDE: u32 = 448;

/// Arguments of `predict`.
#[derive(Args, Debug)]
#[command(arg_required_else_help = true)]
pub struct PredictArgs {
    /// Images: JPEG, PNG, WebP, BMP, GIF, TIFF or PNM of any size and colour; or folders, whose pictures are predicted, also in the
    /// folders below.
    #[arg(value_name = "IMAGE", required = true)]
    images: Vec<PathBuf>,
    /// Folder of a run record: its weights, model, dataset and transforms; or of an experiment, for its newest finished run.
    #[arg(long, value_name = "DIR", conflicts_with_all = ["weights", "model", "dataset", "mean", "std", "set"])]
    run: Option<PathBuf>,
    /// File of weights (see `evaluate`), instead of --run.
    #[arg(long, value_name = "FILE", requires = "model")]
    weights: Option<OsString>,
    /// Set of weights in a file with several: key of a state dict, such as state_dict_ema, or prefix of its names.
    #[arg(long, value_name = "KEY", requires = "weights")]
    weights_key: Option<String>,
    /// Load weights with NaN or infinite values, which are an error otherwise.
    #[arg(long, requires = "weights")]
    allow_non_finite: bool,
    /// Model of the weights.
    #[arg(long, value_name = "NAME", requires = "weights")]
    model: Option<String>,
    /// Dataset on which the weights were trained: it determines the shape of images and the names of classes.
    #[arg(long, value_name = "NAME", requires = "weights")]
    dataset: Option<String>,
    /// Mean of each channel, which is subtracted from images in [0, 1].
    #[arg(long, value_name = "M", value_parser = parse_channels, requires = "std")]
    mean: Option<Channels>,
    /// Standard deviation of each channel, by which the difference is divided.
    #[arg(long, value_name = "S", value_parser = parse_channels, requires = "mean")]
    std: Option<Channels>,
    /// Change a key of the recipe: model.width_divisor=2, data.transforms=[...].
    #[arg(long, value_name = "KEY=VALUE")]
    set: Vec<String>,
    /// Number of classes to print, the most probable first.
    #[arg(long, value_name = "K", default_value_t = 5, value_parser = clap::value_parser!(u32).range(1..))]
    top: u32,
    /// Also write a Grad-CAM heat map of the most probable class: a PNG file, or a folder with a file for each image.
    #[arg(long, value_name = "PATH")]
    explain: Option<PathBuf>,
    /// Layer of --explain; the last feature map by default.
    #[arg(long, value_name = "NAME", requires = "explain")]
    layer: Option<String>,
    /// Look for the data and the weights here before the usual places.
    #[arg(long, value_name = "DIR")]
    data: Option<PathBuf>,
    /// Device to compute on: cpu, cuda, cuda:N or metal.
    #[arg(long, value_name = "D", default_value = "cpu")]
    device: String,
    /// Threads to compute with; all cores by default.
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u16).range(1..))]
    threads: Option<u16>,
    /// Print one JSON object on standard output for each image, one per line, and nothing else there.
    #[arg(long)]
    json: bool,
    /// Print comma-separated values on standard output, a line for each image below a header, and nothing else there.
    #[arg(long, conflicts_with = "json")]
    csv: bool,
}

/// Predicts the classes of the images and prints them.
pub fn predict(args: &PredictArgs, program: &Program) -> Result<Ending> {
    let device = device::parse(&args.device)?;
    set_threads(args.threads)?;
    let predictor = match (&args.run, &args.weights, &args.model) {
        (Some(dir), _, _) => {
            let dir = trained(dir)?;
            Predictor::from_run(&dir, &device, &program.models)
                .with_context(|| format!("--run {}", dir.display()))?
        }
        (None, Some(weights), Some(model)) => Predictor::from_weights(&WeightsRequest {
            weights: weights.clone(),
            model: model.clone(),
            dataset: args.dataset.clone(),
            data: args.data.clone(),
            given: (args.mean.clone().zip(args.std.clone())).map(|(mean, std)| (mean.0, std.0)),
            sets: args.set.clone(),
            device,
            registry: program.models.clone(),
            load: load_options(args.weights_key.as_deref(), args.allow_non_finite),
        })?,
        _ => bail!(
            "no network given: pass --run DIR (`tallow runs` lists the runs), or --weights FILE --model NAME"
        ),
    };
    for note in predictor.notes() {
        status!("{note}");
    }
    let layer = match (&args.explain, &args.layer) {
        (None, _) => None,
        (Some(_), Some(layer)) => Some(layer.clone()),
        (Some(_), None) => Some(
            predictor
                .last_feature_map()
                .context("--explain needs a model with convolutions")?,
        ),
    };
    let Images {
        files: images,
        folders,
        mut failed,
    } = Images::of(&args.images);
    let count = images.len() + failed;
    let pictures = explain::files(args.explain.as_deref(), &images)?;
    if args.csv {
        output::print(&csv::header(args.top as usize)?)?;
    }
    for (number, paths) in images.chunks(BATCH).enumerate() {
        let mut ready: Vec<(usize, Prepared)> = Vec::new();
        for (i, path) in paths.iter().enumerate() {
            match predictor.prepare_file(path) {
                Ok(prepared) => ready.push((number * BATCH + i, prepared)),
                // One bad image does not lose the others.
                Err(error) => {
                    failed += 1;
                    status!("error: {}", program.message(&error.message()));
                }
            }
        }
        let (indices, prepared): (Vec<_>, Vec<_>) = ready.into_iter().unzip();
        let predictions = predictor.predict(&prepared, args.top as usize)?;
        let mut text = String::new();
        for ((index, prepared), top) in indices.into_iter().zip(prepared).zip(predictions) {
            let path = &images[index];
            let Some(first) = top.first() else {
                bail!("the model has no classes");
            };
            let explanation = pictures.get(index);
            if let (Some(file), Some(layer)) = (explanation, &layer) {
                let picture = predictor.heat_map(&prepared, first.index, layer, SIDE)?;
                heat_map::write_png(file, &picture)?;
            }
            let line = Line {
                image: path.display().to_string(),
                image_base64: base64_of(path),
                class: first.class.clone(),
                probability: first.probability,
                preparation: prepared.steps,
                explanation: explanation.map(|path| path.display().to_string()),
                model: predictor.model_name().to_string(),
                weights: (predictor.weights())
                    .map_or_else(String::new, |w| w.display().to_string()),
                dataset: predictor.dataset().to_string(),
                top,
            };
            if args.json {
                text += &format!("{}\n", serde_json::to_string(&line)?);
            } else if args.csv {
                text += &csv::row(&line, args.top as usize)?;
            } else if folders {
                text += &format!(
                    "{}: {} {}\n",
                    line.image,
                    line.class,
                    percent(line.probability)
                );
            } else {
                status!("{}:", path.display());
                for step in &line.preparation {
                    status!("  {step}");
                }
                text += &render(&line, layer.as_deref());
            }
        }
        output::print(&text)?;
    }
    Ok(match failed {
        0 => Ending::Done,
        _ => {
            if count > 1 {
                status!("{failed} of {count} images could not be predicted");
            }
            Ending::Refused
        }
    })
}

/// Images of the command line.
struct Images {
    files: Vec<PathBuf>,
    /// Whether folders were named.
    folders: bool,
    /// Folders without pictures, and those that are run records.
    failed: usize,
}

impl Images {
    /// The files, and the pictures of the folders.
    fn of(paths: &[PathBuf]) -> Self {
        let mut images = Self {
            files: Vec::new(),
            folders: false,
            failed: 0,
        };
        for path in paths {
            if !path.is_dir() {
                images.files.push(path.clone());
                continue;
            }
            if is_record(path) {
                // A pattern after --run may have matched several.
                images.failed += 1;
                status!(
                    "error: {}: is a run record and no folder of pictures; --run takes one folder",
                    path.display()
                );
                continue;
            }
            images.folders = true;
            match picture_files(path) {
                Ok((files, left_out)) => {
                    if let Some(first) = left_out.first() {
                        status!(
                            "{}: {} files that are no pictures by their names are left out: {} ...",
                            path.display(),
                            left_out.len(),
                            first.display()
                        );
                    }
                    if files.is_empty() {
                        images.failed += 1;
                        status!(
                            "error: {}: there are no pictures in the folder",
                            path.display()
                        );
                    }
                    images.files.extend(files);
                }
                Err(error) => {
                    images.failed += 1;
                    status!("error: {error}");
                }
            }
        }
        images
    }
}

/// Bytes of a path in base64 if it is no Unicode. On Windows, these are the bytes of WTF-8.
fn base64_of(path: &Path) -> Option<String> {
    let name = path.as_os_str();
    (name.to_str().is_none()).then(|| STANDARD.encode(name.as_encoded_bytes()))
}

fn render(prediction: &Line, layer: Option<&str>) -> String {
    let mut table = new_table(&["class", "probability"]);
    for class in &prediction.top {
        table.add_row([class.class.clone(), percent(class.probability)]);
    }
    align_right(&mut table, 1);
    let mut text = format!("{}: {}\n{table}\n", prediction.image, prediction.class);
    if let (Some(file), Some(layer)) = (&prediction.explanation, layer) {
        let _ = writeln!(text, "Grad-CAM heat map of the layer {layer}: {file}");
    }
    text
}
