//! `tallow export`: a trained network for other programs.

use std::path::PathBuf;

use anyhow::{Context, Result, bail};
use candle_core::Device;
use clap::{Args, ValueEnum};
use tallow_experiment::Predictor;
use tallow_experiment::export::{self as network, Format, Pixels};
use tallow_record::{thousands, write_atomic};

use crate::commands::run_folders::trained;
use crate::console::status;
use crate::ending::Ending;
use crate::output;
use crate::program::Program;

/// Examples at the end of the help text.
pub const EXAMPLES: &str = "Examples:
  {tallow} export --run runs/pictures --onnx
  {tallow} export --run runs/quickstart/<run> --onnx --with-normalization bytes -o shirts.onnx
  {tallow} export --run runs/quickstart/<run> --torch -o shirts.pt

{tallow} runs lists the run records.";

/// Arguments of `export`.
#[derive(Args, Debug)]
#[command(arg_required_else_help = true)]
pub struct ExportArgs {
    /// Folder of a run record; or of an experiment, for its newest finished run.
    #[arg(long, value_name = "DIR")]
    run: PathBuf,
    #[command(flatten)]
    format: FormatArgs,
    /// The graph normalises the images itself: it takes floats in [0, 1] (unit), or bytes.
    #[arg(long, value_name = "VALUES", num_args = 0..=1, default_missing_value = "unit")]
    with_normalization: Option<Values>,
    /// File to write; default: the name of the model in this folder. A file that exists is replaced.
    #[arg(long, short, value_name = "FILE")]
    output: Option<PathBuf>,
}

/// Format, one of three.
#[derive(Args, Debug)]
#[group(required = true, multiple = false)]
struct FormatArgs {
    /// ONNX graph with the weights, for ONNX Runtime and others.
    #[arg(long)]
    onnx: bool,
    /// Weights as safetensors, with PyTorch's names.
    #[arg(long)]
    safetensors: bool,
    /// Weights as a state dict for torch.load(FILE, weights_only=True).
    #[arg(long)]
    torch: bool,
}

/// Values of images before the normalisation.
#[derive(Clone, Copy, Debug, ValueEnum)]
enum Values {
    /// Floats in [0, 1].
    Unit,
    /// Bytes.
    Bytes,
}

/// Writes the network, and prints the path of the file.
pub fn export(args: &ExportArgs, program: &Program) -> Result<Ending> {
    if args.with_normalization.is_some() && !args.format.onnx {
        bail!("--with-normalization is for --onnx; weights alone have no graph to normalise in");
    }
    let run = trained(&args.run)?;
    let predictor = Predictor::from_run(&run, &Device::Cpu, &program.models)
        .with_context(|| format!("--run {}", run.display()))?;
    let (format, extension) = match &args.format {
        FormatArgs { onnx: true, .. } => (Format::Onnx(pixels(args)), "onnx"),
        FormatArgs { torch: true, .. } => (Format::Torch, "pt"),
        _ => (Format::Safetensors, "safetensors"),
    };
    let default = || PathBuf::from(format!("{}.{extension}", predictor.model_name()));
    let path = args.output.clone().unwrap_or_else(default);
    if path.is_dir() {
        bail!(
            "--output {} is a folder; expected the file to write, such as {}",
            path.display(),
            path.join(default()).display()
        );
    }
    for note in predictor.notes() {
        status!("{note}");
    }
    if predictor.has_tta() {
        status!(
            "the run averages several views of an image (train.tta); the file is the network alone"
        );
    }
    let bytes = network::export(&predictor, format)?;
    write_atomic(&path, &bytes).with_context(|| format!("cannot write {}", path.display()))?;
    status!(
        "{}, {} bytes; {}",
        predictor.model_name(),
        thousands(bytes.len() as u64),
        contents(&predictor, format)
    );
    output::print(&format!("{}\n", path.display()))?;
    Ok(Ending::Done)
}

fn pixels(args: &ExportArgs) -> Pixels {
    match args.with_normalization {
        None => Pixels::Normalized,
        Some(Values::Unit) => Pixels::Unit,
        Some(Values::Bytes) => Pixels::Bytes,
    }
}

/// Description of inputs, outputs and metadata of a file of this format.
fn contents(predictor: &Predictor, format: Format) -> String {
    let pixels = match format {
        Format::Onnx(Pixels::Normalized) => "floats, prepared as the run's",
        Format::Onnx(Pixels::Unit) => "floats in [0, 1]",
        Format::Onnx(Pixels::Bytes) => "bytes",
        Format::Safetensors | Format::Torch => {
            return "parameters and buffers with PyTorch's names".into();
        }
    };
    let (c, h, w) = predictor.module().input_shape();
    let classes = predictor.classes().len();
    format!("input images (N, {c}, {h}, {w}), {pixels}; output logits (N, {classes})")
}
