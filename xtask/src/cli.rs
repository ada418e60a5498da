//! The command line.

use std::borrow::Cow;
use std::path::{Path, PathBuf};

use clap::{Args, Parser, Subcommand, ValueEnum};

use crate::clean_runs::{self, CleanRunsArgs};
use crate::completions::{self, CompletionsArgs};
use crate::doctor::{self, DoctorArgs};
use crate::experiment::Tier;
use crate::predict::{self, PredictArgs};
use crate::regress::{self, RegressArgs};
use crate::runs::{self, RunsArgs};

/// Trains published vision experiments and sets the results beside what was reported.
///
/// Exit codes: 0 all is well; 1 a claim failed, a figure got worse, or the docs are not up to date; 2 bad input, missing data or another error;
/// 130 interrupted.
/// RUST_LOG=debug shows what the libraries log.
#[derive(Parser, Debug)]
#[command(
    name = "xtask",
    bin_name = "cargo xtask",
    version,
    after_help = "Example: cargo xtask run quickstart"
)]
pub struct Cli {
    /// What to do.
    #[command(subcommand)]
    pub command: Command,
}

/// The subcommands.
#[derive(Subcommand, Debug)]
pub enum Command {
    /// List the experiments, and the models they are made of.
    #[command(after_help = "Example: cargo xtask list")]
    List,
    /// Run an experiment: train every variant with every seed, then judge its claims.
    ///
    /// Prints a table of the results beside the published ones, writes a record of each run, and
    /// exits with 1 when a claim does not hold. Claims are judged on what was run: after --set
    /// they may well fail.
    #[command(after_help = "Examples:
  cargo xtask run quickstart
  cargo xtask run mnist-pixel-order --seeds 0..3
  cargo xtask run cifar10-vgg16 --set train.epochs=1 --json > result.json
  cargo xtask run quickstart --only cnn --set 'train.optimizer={name=\"adam\",lr=0.002}'
  cargo xtask run residual --tier standard --results docs/results
  cargo xtask run cifar10-cnn --tui
  cargo xtask run cifar10-cnn --events events.jsonl

Exit codes: 0 all claims hold; 1 a claim failed; 2 bad input, missing data or another error; 130 interrupted.

Each line of --events is an object whose `event` says what it is: run_started, batch (every --events-every batches),
epoch_ended (the line of metrics.jsonl), run_ended, run_stopped, claims_judged. docs/running.md has their fields.")]
    Run(RunArgs),
    /// Run all experiments, or some, one after the other, and say which claims hold.
    ///
    /// The smoke tier takes about three minutes on two cores, with less data and fewer epochs and floors of its own; the standard
    /// tier an hour; the full tier is as published and takes many hours. `cargo xtask list` tells the time of each. Exits with 1
    /// when a claim does not hold.
    #[command(after_help = "Examples:
  cargo xtask reproduce --tier smoke
  cargo xtask reproduce --tier standard --results docs/results
  cargo xtask reproduce --tier full --only cifar10-vgg16 --device cuda
  cargo xtask reproduce --tier smoke --tui
  cargo xtask reproduce --tier smoke --events - | jq .event

Exit codes: 0 all claims hold; 1 a claim failed; 2 bad input, missing data or another error; 130 interrupted.")]
    Reproduce(ReproduceArgs),
    /// Say whether a change cost accuracy or speed: run a tier and compare every figure with the baseline's.
    ///
    /// A figure that chance makes this bad only once in fifty times is trained again, with seeds the baseline has not seen, and where
    /// that confirms it once more. It is a regression if both times chance makes those this bad only once in five thousand times, and
    /// most of them are worse than every seed of the baseline. The tier's claims are absolute floors. Where the machine is of the
    /// baseline's class, the weights are compared bit for bit. A baseline of other data or another recipe is refused.
    /// docs/regression.md tells how often this is wrong, and what it finds.
    #[command(after_help = regress::EXAMPLES)]
    Regress(RegressArgs),
    /// Say how good given weights are: accuracy, loss and figures for each class on a test set.
    ///
    /// Weights are safetensors or a PyTorch checkpoint (.pt, .pth, .th), which is read as data and never run. They must fit the
    /// model to the last tensor.
    ///
    /// A file of weights does not say how its images were normalised. The first of these that there is decides, and the result
    /// names it: --mean and --std; the config.toml of the run record that the weights are in; the figures of the published
    /// checkpoint that the file is, known by its SHA-256; what is usual for the dataset.
    #[command(after_help = "Examples:
  cargo xtask evaluate --model resnet20 --weights resnet20-12fca82f.th --dataset cifar10
  cargo xtask evaluate --model cnn --weights runs/quickstart/<run>/model.safetensors --dataset fashion-mnist-sample
  cargo xtask evaluate --model resnet18 --weights w.pth --dataset folder:photos --set 'data.transforms=[{name=\"to-tensor\"}]'

A name without a folder is looked for here, in the folder that TALLOW_WEIGHTS names, and in a folder weights beside the data.
hf:owner/name/file is a file of a model on the Hugging Face hub.")]
    Evaluate(EvaluateArgs),
    /// Name what images show, by a trained network: the likeliest classes, and where it sees them.
    ///
    /// An image of any size and colour is made into one such as the dataset has, and what was done to it is said on standard error.
    /// For digits and the like that means: light on black, cut to its box, scaled and centred as the dataset was made.
    #[command(after_help = predict::EXAMPLES)]
    Predict(PredictArgs),
    /// List the run records there are.
    #[command(after_help = runs::EXAMPLES)]
    Runs(RunsArgs),
    /// Delete run records: shows what would go, and deletes it only with --yes.
    ///
    /// A folder with an environment.json and a config.toml is a run record; nothing else is touched.
    #[command(after_help = clean_runs::EXAMPLES)]
    CleanRuns(CleanRunsArgs),
    /// Say what this machine has of what Tallow can use, and what to do about what is missing.
    #[command(after_help = doctor::EXAMPLES)]
    Doctor(DoctorArgs),
    /// Print a script with which a shell completes this command line.
    #[command(after_help = completions::EXAMPLES)]
    Completions(CompletionsArgs),
    /// List, get, check or describe datasets.
    #[command(after_help = "Example: cargo xtask data get mnist")]
    Data {
        /// What to do with datasets.
        #[command(subcommand)]
        command: DataCommand,
    },
    /// Show a model's layers: output shapes, parameters, multiply-adds; or list the models.
    #[command(after_help = "Examples:
  cargo xtask summary
  cargo xtask summary vgg16-slim
  cargo xtask summary resnet18 --classes 100 --input 3,64,64")]
    Summary(SummaryArgs),
    /// Time training steps, inference, single operators, the loader and an epoch; beside PyTorch or candle if asked.
    ///
    /// The sides take turns in one run, so that a machine that drifts slows all of them; what counts is the ratio of the medians.
    /// Each of them has the same number of threads. Times are good only on a quiet machine: stop compilers, browsers and other
    /// runs first, keep a laptop on mains power, and repeat what matters. A busy machine flatters us: PyTorch's threads wait for
    /// each other and lose more. All of it beside PyTorch takes about ten minutes. docs/performance.md says how it is measured.
    #[command(after_help = "Examples:
  cargo xtask bench --filter fc
  cargo xtask bench --filter step --against pytorch --json steps.json
  cargo xtask bench --filter vgg16-bn --against pytorch --memory
  cargo xtask bench --filter cnn,lenet --against pytorch,candle --repeats 3
  TALLOW_DATA=~/datasets cargo xtask bench --filter epoch --against pytorch
  cargo run --release -p xtask --features cuda -- bench --filter step --against pytorch --device cuda

PyTorch is taken from the Python that TALLOW_PYTHON names, or else python3. To install it:
  python3 -m venv target/pytorch
  target/pytorch/bin/pip install -r xtask/pytorch/requirements.txt
  export TALLOW_PYTHON=$PWD/target/pytorch/bin/python")]
    Bench(BenchArgs),
    /// Tell of runs in one HTML file, which needs no network; or write results into the pages of the docs.
    ///
    /// The file has the claims beside the published figures, curves over the seeds, confusion matrices, calibration, pictures and
    /// mistakes, and where and how it was run. Every `run` writes one as well, beside its records.
    ///
    /// With --docs: a page has marks; what stands between them is made from results/*.json in the folder of the pages, and charts are
    /// drawn into images/. Pictures of the data's own images are made where the data is found, and kept where it is not.
    /// --check writes nothing and exits with 1 when a page or chart is not what the results make it.
    #[command(after_help = "Examples:
  cargo xtask report --open
  cargo xtask report quickstart -o quickstart.html
  cargo xtask report runs/quickstart/<run> runs/mnist-pixel-order/<run> -o both.html
  cargo xtask report --docs
  cargo xtask report --docs --check

Marks in a page:
  <!-- tallow: results mnist-pixel-order -->
  <!-- /tallow -->
  ... reaches <!-- tallow: value mnist-pixel-order cnn percent --><!-- /tallow --> ...
Blocks: results, metrics, statements, claims, setup, per-class, predictions, facts, curves, bars, waterfall, confusion,
gradients, inputs, samples, summary, mutations, repeats. Formats of values: percent, points, number:N, count, seconds, minutes.")]
    Report(ReportArgs),
    /// Do the work of `bench` in a process of its own; not for people.
    #[command(hide = true, after_help = "Started by: cargo xtask bench")]
    BenchWorker(WorkerArgs),
}

impl Command {
    /// Whether it may fill the terminal: a log's colours would be noise there.
    pub fn has_screen(&self) -> bool {
        match self {
            Self::Run(args) => args.runner.tui,
            Self::Reproduce(args) => args.runner.tui,
            Self::Regress(args) => args.runner.tui,
            _ => false,
        }
    }
}

/// Arguments of `run`.
#[derive(Args, Debug)]
pub struct RunArgs {
    /// An experiment's name (see `cargo xtask list`), or a path to a TOML file.
    pub experiment: String,
    /// How much of it.
    #[arg(long, value_enum, default_value_t = Tier::Full)]
    pub tier: Tier,
    /// Seeds, in place of the experiment's own: 0..3 is 0, 1, 2; 0,2,5 is a list.
    #[arg(long, value_name = "SEEDS", value_parser = parse_seeds)]
    pub seeds: Option<Seeds>,
    /// Change any part of the recipe, in every variant: train.epochs=1, data.dataset=kmnist.
    /// The value is TOML; what is not TOML is taken as text.
    #[arg(long, value_name = "KEY=VALUE")]
    pub set: Vec<String>,
    /// Run this variant alone (may be given several times).
    #[arg(long, value_name = "VARIANT")]
    pub only: Vec<String>,
    #[command(flatten)]
    pub runner: RunnerArgs,
    /// Print one JSON object on standard output, and nothing else there.
    #[arg(long)]
    pub json: bool,
}

impl RunArgs {
    /// The command that repeats it, without what does not change results.
    pub fn command(&self) -> String {
        let mut command = format!(
            "cargo xtask run {} --tier {}",
            shell_quoted(&self.experiment),
            self.tier
        );
        if let Some(Seeds(seeds)) = &self.seeds {
            let seeds: Vec<String> = seeds.iter().map(u64::to_string).collect();
            command += &format!(" --seeds {}", seeds.join(","));
        }
        for set in &self.set {
            command += &format!(" --set {}", shell_quoted(set));
        }
        for only in &self.only {
            command += &format!(" --only {}", shell_quoted(only));
        }
        command + &self.runner.on_device()
    }
}

/// A word as a shell takes it for one, and changes nothing in it.
pub fn shell_quoted(word: &str) -> Cow<'_, str> {
    let plain = |c: char| c.is_ascii_alphanumeric() || "_./=:,-".contains(c);
    if !word.is_empty() && word.chars().all(plain) {
        Cow::Borrowed(word)
    } else {
        Cow::Owned(format!("'{}'", word.replace('\'', r"'\''")))
    }
}

/// Arguments of `reproduce`.
#[derive(Args, Debug)]
pub struct ReproduceArgs {
    /// How much of each.
    #[arg(long, value_enum, default_value_t = Tier::Smoke)]
    pub tier: Tier,
    /// Run this experiment alone (may be given several times).
    #[arg(long, value_name = "EXPERIMENT")]
    pub only: Vec<String>,
    #[command(flatten)]
    pub runner: RunnerArgs,
    /// Print a JSON array of the results on standard output, and nothing else there.
    #[arg(long)]
    pub json: bool,
}

/// Where and how experiments are run.
#[derive(Args, Debug, Clone)]
pub struct RunnerArgs {
    /// Where to compute: cpu, cuda, cuda:N or metal.
    #[arg(long, value_name = "D", default_value = "cpu")]
    pub device: String,
    /// Look for the data in this folder before the usual places.
    #[arg(long, value_name = "DIR")]
    pub data: Option<PathBuf>,
    /// Write run records under this folder.
    #[arg(long, value_name = "DIR", default_value = "runs")]
    pub out: PathBuf,
    /// Also write what the documentation is made of into this folder, as `EXPERIMENT.json`.
    #[arg(long, value_name = "DIR")]
    pub results: Option<PathBuf>,
    /// Threads to compute with; all cores by default. Results repeat to the bit for one number.
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u16).range(1..))]
    pub threads: Option<u16>,
    /// Threads that load batches; 0 loads them in the training thread. Results do not depend on it.
    #[arg(long, value_name = "N")]
    pub workers: Option<usize>,
    /// Fill the terminal with bars, curves and results while it runs; q stops after the batch, or the test, in hand. Where standard output or
    /// standard error is no terminal, or CI is set, a line for each epoch instead.
    #[arg(long)]
    pub tui: bool,
    /// Stream what happens to this file as JSON lines while it happens; - is standard output.
    #[arg(long, value_name = "FILE")]
    pub events: Option<PathBuf>,
    /// Batches from one event of a batch to the next.
    #[arg(long, value_name = "N", default_value_t = 100, requires = "events", value_parser = clap::value_parser!(u32).range(1..))]
    pub events_every: u32,
}

impl RunnerArgs {
    /// Whether standard output is for events.
    pub fn events_on_stdout(&self) -> bool {
        self.events.as_deref() == Some(Path::new("-"))
    }

    /// What a command that does it again says of the device: nothing where it is the one taken anyway.
    pub fn on_device(&self) -> String {
        match self.device.as_str() {
            "cpu" => String::new(),
            device => format!(" --device {}", shell_quoted(device)),
        }
    }
}

/// Arguments of `evaluate`.
#[derive(Args, Debug)]
pub struct EvaluateArgs {
    /// The model's name (see `cargo xtask list`).
    #[arg(long, value_name = "NAME")]
    pub model: String,
    /// The file of weights.
    #[arg(long, value_name = "FILE")]
    pub weights: String,
    /// The dataset's name (see `cargo xtask data list`); its test split is used.
    #[arg(long, value_name = "NAME")]
    pub dataset: String,
    /// Look for the data in this folder before the usual places.
    #[arg(long, value_name = "DIR")]
    pub data: Option<PathBuf>,
    /// Images at a time.
    #[arg(long, value_name = "N", default_value_t = 200, value_parser = clap::value_parser!(u32).range(1..))]
    pub batch: u32,
    /// Subtract this from each channel, of images in [0, 1]: 0.485,0.456,0.406, or one number for all.
    #[arg(long, value_name = "M", value_parser = parse_channels)]
    pub mean: Option<Channels>,
    /// Then divide each channel by this.
    #[arg(long, value_name = "S", value_parser = parse_channels)]
    pub std: Option<Channels>,
    /// Change the recipe: data.transforms=[...], model.width_divisor=2, train.loss.name=squared-error.
    #[arg(long, value_name = "KEY=VALUE")]
    pub set: Vec<String>,
    /// Where to compute: cpu, cuda, cuda:N or metal.
    #[arg(long, value_name = "D", default_value = "cpu")]
    pub device: String,
    /// Threads to compute with; all cores by default.
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u16).range(1..))]
    pub threads: Option<u16>,
    /// Print one JSON object on standard output, and nothing else there.
    #[arg(long)]
    pub json: bool,
}

/// A number for each channel.
#[derive(Debug, Clone, PartialEq)]
pub struct Channels(pub Vec<f32>);

/// The subcommands of `data`.
#[derive(Subcommand, Debug)]
pub enum DataCommand {
    /// List the datasets that Tallow knows, and where each was found.
    #[command(after_help = "Example: cargo xtask data list")]
    List(PlaceArgs),
    /// Get a dataset: download it into the user's cache unless it is here already.
    #[command(after_help = "Example: cargo xtask data get mnist")]
    Get(DataArgs),
    /// Read a dataset to its end, check it, and print its digests.
    #[command(after_help = "Example: cargo xtask data verify cifar10 --data ~/datasets")]
    Verify(DataArgs),
    /// Describe a dataset: images, classes, provenance, digests.
    #[command(after_help = "Example: cargo xtask data info fashion-mnist-sample")]
    Info(DataArgs),
}

/// Where to look for data.
#[derive(Args, Debug)]
pub struct PlaceArgs {
    /// Look in this folder before the usual places.
    #[arg(long, value_name = "DIR")]
    pub data: Option<PathBuf>,
}

/// A dataset, and where to look for it.
#[derive(Args, Debug)]
pub struct DataArgs {
    /// The dataset's name (see `cargo xtask data list`).
    pub name: String,
    #[command(flatten)]
    pub place: PlaceArgs,
}

/// Arguments of `summary`.
#[derive(Args, Debug)]
pub struct SummaryArgs {
    /// The model's name; without one, all models are listed with their parameters and multiply-adds.
    #[arg(value_name = "MODEL")]
    pub model: Option<String>,
    /// Number of classes, in place of the model's own.
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..))]
    pub classes: Option<u32>,
    /// Input shape as C,H,W, in place of the model's own.
    #[arg(long, value_name = "C,H,W", value_parser = parse_shape)]
    pub input: Option<(usize, usize, usize)>,
}

/// Arguments of `bench`.
#[derive(Args, Debug)]
pub struct BenchArgs {
    /// Only this benchmark, kind (step, inference, operator, loader, epoch), or those whose names contain this. Several may be given.
    #[arg(long, value_name = "NAME", value_delimiter = ',')]
    pub filter: Vec<String>,
    /// What to compare with, in the same run. Several may be given. Candle is compared on whole networks alone.
    #[arg(long, value_name = "OTHER", value_enum, value_delimiter = ',')]
    pub against: Vec<Against>,
    /// Images, or rows, at a time, in place of each benchmark's own number.
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..))]
    pub batch: Option<u32>,
    /// Write the rows to this file as a JSON array; - is standard output, and the table then goes to standard error.
    #[arg(long, value_name = "FILE")]
    pub json: Option<PathBuf>,
    /// Threads on every side; the physical cores by default.
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u16).range(1..))]
    pub threads: Option<u16>,
    /// Rounds, in each of which every side has its turn.
    #[arg(long, value_name = "N", default_value_t = 7, value_parser = clap::value_parser!(u32).range(1..))]
    pub repeats: u32,
    /// The least length of a turn in seconds; a step that takes longer is a turn by itself.
    #[arg(long, value_name = "S", default_value = "0.2", value_parser = parse_seconds)]
    pub seconds: f64,
    /// Also measure the peak memory of each network, in fresh processes.
    #[arg(long)]
    pub memory: bool,
    /// Where networks compute: cpu, cuda, cuda:N or metal. Away from the CPU, steps and inference alone are timed, and each waits
    /// until the device is done.
    #[arg(long, value_name = "D", default_value = "cpu")]
    pub device: String,
}

/// What can be compared with.
#[derive(ValueEnum, Clone, Copy, Debug, PartialEq, Eq)]
pub enum Against {
    /// PyTorch, in the better of its two memory formats.
    Pytorch,
    /// The same networks in candle-nn as it comes.
    Candle,
}

/// Arguments of `report`.
#[derive(Args, Debug)]
pub struct ReportArgs {
    /// Folders of run records, of experiments, or names of experiments below --out; the experiment run last when none is given.
    #[arg(value_name = "RUN", conflicts_with = "docs")]
    pub runs: Vec<PathBuf>,
    /// Write the page here, in place of report.html beside the runs.
    #[arg(short, long, value_name = "FILE", conflicts_with = "docs")]
    pub output: Option<PathBuf>,
    /// Show it in the browser.
    #[arg(long, conflicts_with = "docs")]
    pub open: bool,
    /// Where run records are.
    #[arg(long, value_name = "DIR", default_value = "runs")]
    pub out: PathBuf,
    /// Write the pages of the docs instead.
    #[arg(long)]
    pub docs: bool,
    /// Write nothing; exit with 1 and name the files that would change.
    #[arg(long, requires = "docs")]
    pub check: bool,
    /// The folder of the pages, in place of Tallow's own docs.
    #[arg(long, value_name = "DIR", requires = "docs")]
    pub dir: Option<PathBuf>,
    /// Look for the data in this folder before the usual places.
    #[arg(long, value_name = "DIR", requires = "docs")]
    pub data: Option<PathBuf>,
}

/// Arguments of `bench-worker`.
#[derive(Args, Debug)]
pub struct WorkerArgs {
    /// Candle's work and not ours.
    #[arg(long)]
    pub candle: bool,
    /// Where networks compute.
    #[arg(long, value_name = "D", default_value = "cpu")]
    pub device: String,
}

/// Seeds of a run, in order.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Seeds(pub Vec<u64>);

pub fn parse_seeds(text: &str) -> Result<Seeds, String> {
    let number = |s: &str| {
        s.trim()
            .parse::<u64>()
            .map_err(|_| format!("`{s}` is not a seed; write 0..3, or 0,2,5"))
    };
    let seeds: Vec<u64> = if let Some((from, to)) = text.split_once("..") {
        let from = number(from)?;
        let to = match to.strip_prefix('=') {
            Some(last) => number(last)?.saturating_add(1),
            None => number(to)?,
        };
        if to.saturating_sub(from) > 10_000 {
            return Err(format!("`{text}` is more than 10,000 seeds"));
        }
        (from..to).collect()
    } else {
        text.split(',').map(number).collect::<Result<_, _>>()?
    };
    if seeds.is_empty() {
        return Err(format!(
            "`{text}` holds no seed; 0..3 is 0, 1, 2 and its end is not one of them"
        ));
    }
    let mut unique = seeds.clone();
    unique.sort_unstable();
    unique.dedup();
    if unique.len() != seeds.len() {
        return Err(format!("`{text}` holds a seed twice"));
    }
    Ok(Seeds(seeds))
}

/// A number for each channel, between commas.
pub fn parse_channels(text: &str) -> Result<Channels, String> {
    let number = |s: &str| s.trim().parse().ok().filter(|n: &f32| n.is_finite());
    let numbers = text.split(',').map(number).collect::<Option<Vec<f32>>>();
    let error = || "expected a number for each channel, such as 0.485,0.456,0.406".to_string();
    numbers.map(Channels).ok_or_else(error)
}

fn parse_seconds(text: &str) -> Result<f64, String> {
    match text.parse::<f64>() {
        Ok(seconds) if seconds > 0.0 && seconds <= 3600.0 => Ok(seconds),
        _ => Err("expected seconds above 0 and up to 3600, such as 0.2".to_string()),
    }
}

fn parse_shape(text: &str) -> Result<(usize, usize, usize), String> {
    let sizes: Vec<usize> = text
        .split(',')
        .map(|s| s.trim().parse().ok().filter(|&n| n > 0))
        .collect::<Option<_>>()
        .unwrap_or_default();
    match sizes[..] {
        [c, h, w] => Ok((c, h, w)),
        _ => Err("expected three positive numbers, such as 3,32,32".to_string()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_command_line_is_consistent() {
        use clap::CommandFactory;
        Cli::command().debug_assert();
    }

    #[test]
    fn a_shell_takes_it_for_one_word() {
        assert_eq!(shell_quoted("train.epochs=1"), "train.epochs=1");
        assert_eq!(shell_quoted("a={b,c}"), "'a={b,c}'");
        assert_eq!(shell_quoted("it's"), r"'it'\''s'");
        assert_eq!(shell_quoted(""), "''");
    }

    #[test]
    fn seeds() {
        assert_eq!(parse_seeds("0..3").unwrap().0, [0, 1, 2]);
        assert_eq!(parse_seeds("2..=3").unwrap().0, [2, 3]);
        assert_eq!(parse_seeds("0,2,5").unwrap().0, [0, 2, 5]);
        assert_eq!(parse_seeds("7").unwrap().0, [7]);
        for bad in ["", "a", "3..1", "0..", "1,1", "0..99999999", "-1"] {
            assert!(parse_seeds(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn shapes() {
        assert_eq!(parse_shape("3,32,32").unwrap(), (3, 32, 32));
        for bad in ["3,32", "3,32,0", "x", "1,2,3,4"] {
            assert!(parse_shape(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn channels() {
        assert_eq!(parse_channels("0.5, 1,2").unwrap().0, [0.5, 1.0, 2.0]);
        for bad in ["", "1,", "a", "nan", "inf,1"] {
            assert!(parse_channels(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn seconds() {
        assert_eq!(parse_seconds("0.5").unwrap(), 0.5);
        for bad in ["0", "-1", "nan", "inf", "1e9", "x"] {
            assert!(parse_seconds(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn every_command_has_an_example() {
        use clap::CommandFactory;
        fn check(command: &clap::Command) {
            assert!(
                command
                    .get_after_help()
                    .is_some_and(|h| h.to_string().contains("cargo xtask")),
                "{} has no example",
                command.get_name()
            );
            assert!(
                command.get_about().is_some(),
                "{} says nothing",
                command.get_name()
            );
            command.get_subcommands().for_each(check);
        }
        check(&Cli::command());
    }
}
