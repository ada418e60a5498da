//! `cargo xtask predict`: what a trained network sees in images that people have.

mod drawing;
mod explain;
mod fit;
mod picture;
mod trained;

use std::fmt::Write;
use std::path::PathBuf;

use anyhow::{Context, Result, bail};
use candle_core::Tensor;
use clap::Args;
use serde::Serialize;
use tallow_ops::no_grad;
use tallow_transforms::{ImageRef, SampleRng};

use crate::cli::Channels;
use crate::table::{align_right, new_table, percent};
use crate::{device, normalisation, output, run};

use fit::Fitted;
use picture::Picture;
use trained::Trained;

/// What `--help` ends with.
pub const EXAMPLES: &str = "Examples:
  cargo xtask predict --run runs/mnist-pixel-order/<run> digit.png
  cargo xtask predict --weights resnet20-12fca82f.th --model resnet20 --dataset cifar10 cat.jpg dog.webp
  cargo xtask predict --run runs/quickstart/<run> shirt.png --explain shirt-why.png
  cargo xtask predict --run runs/quickstart/<run> *.png --json | jq .class

cargo xtask runs lists the run records.";

/// Arguments of `predict`.
#[derive(Args, Debug)]
pub struct PredictArgs {
    /// Images: PNG, JPEG, WebP or BMP of any size and colour.
    #[arg(value_name = "IMAGE", required = true)]
    images: Vec<PathBuf>,
    /// The folder of a run record: its weights, model, dataset and transforms.
    #[arg(long, value_name = "DIR", required_unless_present = "weights", conflicts_with_all = ["weights", "model", "dataset", "mean", "std", "set"])]
    run: Option<PathBuf>,
    /// A file of weights (see `evaluate`).
    #[arg(long, value_name = "FILE", requires = "model")]
    weights: Option<String>,
    /// The model that the weights are for.
    #[arg(long, value_name = "NAME", requires = "weights")]
    model: Option<String>,
    /// What the weights were trained on: it says what images look like and what the classes are called.
    #[arg(long, value_name = "NAME", requires = "weights")]
    dataset: Option<String>,
    /// Subtract this from each channel, of images in [0, 1].
    #[arg(long, value_name = "M", value_parser = crate::cli::parse_channels, requires = "std")]
    mean: Option<Channels>,
    /// Then divide each channel by this.
    #[arg(long, value_name = "S", value_parser = crate::cli::parse_channels, requires = "mean")]
    std: Option<Channels>,
    /// Change the recipe: model.width_divisor=2, data.transforms=[...].
    #[arg(long, value_name = "KEY=VALUE")]
    set: Vec<String>,
    /// How many classes to show, the likeliest first.
    #[arg(long, value_name = "K", default_value_t = 5, value_parser = clap::value_parser!(u32).range(1..))]
    top: u32,
    /// Also write where the network sees the likeliest class (Grad-CAM): a PNG file, or a folder for a picture of each image.
    #[arg(long, value_name = "PATH")]
    explain: Option<PathBuf>,
    /// The layer that --explain looks at; the last feature map by default.
    #[arg(long, value_name = "NAME", requires = "explain")]
    layer: Option<String>,
    /// Look for the data and the weights here before the usual places.
    #[arg(long, value_name = "DIR")]
    data: Option<PathBuf>,
    /// Where to compute: cpu, cuda, cuda:N or metal.
    #[arg(long, value_name = "D", default_value = "cpu")]
    device: String,
    /// Threads to compute with; all cores by default.
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u16).range(1..))]
    threads: Option<u16>,
    /// Print one JSON object a line on standard output, one an image, and nothing else there.
    #[arg(long)]
    json: bool,
}

/// What is said of an image; with `--json`, a line.
#[derive(Serialize)]
struct Prediction {
    image: PathBuf,
    /// The likeliest class.
    class: String,
    /// How likely it is to the network.
    probability: f64,
    /// The likeliest first.
    top: Vec<Class>,
    /// What was done to the image, in order.
    preparation: Vec<String>,
    /// Where the picture of `--explain` is.
    explanation: Option<PathBuf>,
    model: String,
    weights: PathBuf,
    dataset: String,
}

#[derive(Serialize)]
struct Class {
    index: usize,
    class: String,
    probability: f64,
}

/// Predicts and prints.
pub fn predict(args: &PredictArgs) -> Result<()> {
    let device = device::parse(&args.device)?;
    run::set_threads(args.threads)?;
    let trained = Trained::load(args, &device)?;
    let layer = match (&args.explain, &args.layer) {
        (None, _) => None,
        (Some(_), Some(layer)) => Some(layer.clone()),
        (Some(_), None) => Some(
            tallow_models::last_feature_map(&trained.model)
                .context("--explain needs a model with convolutions")?,
        ),
    };
    // All of them before the first is told: a wrong name in the middle shows before anything is printed or written.
    let prepared: Vec<(Tensor, Vec<String>)> = (args.images.iter())
        .map(|path| {
            let picture = Picture::read(path)?;
            prepare(&picture, &trained).with_context(|| path.display().to_string())
        })
        .collect::<Result<_>>()?;
    let pictures = explain::files(args.explain.as_deref(), &args.images)?;

    let mut text = String::new();
    for (i, (path, (image, preparation))) in args.images.iter().zip(prepared).enumerate() {
        let probabilities = probabilities(&trained, &image)?;
        let mut order: Vec<usize> = (0..probabilities.len()).collect();
        order.sort_by(|&a, &b| probabilities[b].total_cmp(&probabilities[a]));
        let class = |&index: &usize| Class {
            index,
            class: trained.classes[index].clone(),
            probability: probabilities[index],
        };
        let top: Vec<Class> = order.iter().take(args.top as usize).map(class).collect();
        let Some(first) = top.first() else {
            bail!("the model has no classes");
        };
        let explanation = pictures.get(i);
        if let (Some(file), Some(layer)) = (explanation, &layer) {
            explain::write(file, &trained.model, &image, first.index, layer)?;
        }
        let prediction = Prediction {
            image: path.clone(),
            class: first.class.clone(),
            probability: first.probability,
            top,
            preparation,
            explanation: explanation.cloned(),
            model: trained.model.name().to_string(),
            weights: trained.weights.clone(),
            dataset: trained.dataset.clone(),
        };
        if args.json {
            text += &format!("{}\n", serde_json::to_string(&prediction)?);
        } else {
            say!("{}:", path.display());
            for step in &prediction.preparation {
                say!("  {step}");
            }
            text += &render(&prediction, layer.as_deref());
        }
    }
    output::print(&text)
}

/// The image as the model takes it, `(1, C, H, W)`, and what was done to it.
fn prepare(picture: &Picture, trained: &Trained) -> Result<(Tensor, Vec<String>)> {
    let mut preparation = picture.notes.clone();
    let Fitted {
        bytes,
        shape,
        notes,
    } = fit::fit(picture, trained)?;
    preparation.extend(notes);
    let transforms = &trained.transforms;
    let (c, h, w) = transforms.output_shape(shape)?;
    let mut values = vec![0f32; c * h * w];
    let image = ImageRef::new(&bytes, shape.0, shape.1, shape.2)?;
    transforms.apply(image, &mut SampleRng::new(0, 0, 0), &mut values)?;
    let figures = normalisation::describe(&transforms.configs());
    let steps: Vec<&str> = (transforms.transforms()).map(|step| step.name()).collect();
    preparation.push(match figures.as_str() {
        "" => format!("{}, {}", steps.join(", "), trained.transforms_source),
        figures => format!(
            "{} with {figures}, {}",
            steps.join(", "),
            trained.transforms_source
        ),
    });
    let image = Tensor::from_vec(values, (1, c, h, w), trained.model.store().device())?;
    Ok((image, preparation))
}

fn probabilities(trained: &Trained, image: &Tensor) -> Result<Vec<f64>> {
    let logits = no_grad(|| trained.model.forward(image, false))?;
    let row: Vec<f32> = candle_nn::ops::softmax(&logits, 1)?.squeeze(0)?.to_vec1()?;
    Ok(row.into_iter().map(f64::from).collect())
}

fn render(prediction: &Prediction, layer: Option<&str>) -> String {
    let mut table = new_table(&["class", "probability"]);
    for class in &prediction.top {
        table.add_row([class.class.clone(), percent(class.probability)]);
    }
    align_right(&mut table, 1);
    let mut text = format!(
        "{}: {}\n{table}\n",
        prediction.image.display(),
        prediction.class
    );
    if let (Some(file), Some(layer)) = (&prediction.explanation, layer) {
        let _ = writeln!(
            text,
            "where it is seen, by the layer {layer}: {}",
            file.display()
        );
    }
    text
}
