//! `tallow train` and `tallow init`: a recipe chosen from the pictures, trained or only written.

use std::path::{Path, PathBuf};
use std::time::Instant;

use anyhow::{Context, Result, bail};
use clap::Args;
use tallow_experiment::monitoring::Validation;
use tallow_experiment::proposal::{Augment, Request};
use tallow_experiment::report::shell_quoted;
use tallow_experiment::{Experiment, Proposal, data, device};
use tallow_record::{Tier, write_atomic};

use crate::args::{RunnerArgs, check_out, find_dataset};
use crate::commands::run;
use crate::commands::run_args::RunArgs;
use crate::console::status;
use crate::ending::Ending;
use crate::program::Program;
use crate::progress::Notes;
use crate::runner::{engine, set_threads};
use crate::{interrupt, output};

/// Examples at the end of the help text of `train`.
pub const EXAMPLES: &str = "Examples:
  {tallow} train pictures
  {tallow} train pictures --minutes 10
  {tallow} train pictures --model resnet18 --pretrained
  {tallow} train pictures --size 64 --augment strong --set train.ema={decay=0.99}
  {tallow} train cifar10 --minutes 10

The recipe lies beside the runs, runs/pictures/pictures.toml. Edit it, and run it by `{tallow} run runs/pictures/pictures.toml`.";

/// Examples at the end of the help text of `init`.
pub const INIT_EXAMPLES: &str = "Examples:
  {tallow} init pictures
  {tallow} init cifar10 -o baseline.toml";

/// Seconds of steps that are timed for `--minutes`.
const TIMED_SECONDS: f64 = 6.0;

/// Settings of a proposed recipe.
#[derive(Args, Debug, Clone)]
pub struct ProposalArgs {
    /// Model (see `{tallow} list`); by default one for the size of the pictures.
    #[arg(long, value_name = "NAME")]
    pub model: Option<String>,
    /// Begin with weights trained on ImageNet, which are downloaded once.
    #[arg(long)]
    pub pretrained: bool,
    /// Passes over the training pictures.
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..))]
    pub epochs: Option<u32>,
    /// Side of the square that pictures are scaled to, in pixels.
    #[arg(long, value_name = "PIXELS")]
    pub size: Option<usize>,
    /// Share (0.1) or number (500) of the training pictures by which the best epoch is chosen.
    #[arg(long, value_name = "PART", value_parser = parse_part)]
    pub val: Option<Validation>,
    /// Amount of augmentation: none, light, standard or strong.
    #[arg(long, value_name = "AMOUNT")]
    pub augment: Option<Augment>,
    /// Seed of the weights and of the order of the pictures.
    #[arg(long, value_name = "SEED", default_value_t = 0)]
    pub seed: u64,
    /// Change or add a key of the recipe: train.optimizer.lr=0.01.
    #[arg(long, value_name = "KEY=VALUE")]
    pub set: Vec<String>,
}

/// Arguments of `train`.
#[derive(Args, Debug)]
pub struct TrainArgs {
    /// Folder of pictures, with a folder for each class in its folders `train` and `test`, or right below it; or the name of a known
    /// dataset (see `{tallow} data list`).
    #[arg(value_name = "DIR")]
    pub dataset: String,
    /// Settings of the recipe.
    #[command(flatten)]
    pub proposal: ProposalArgs,
    /// Plan the number of steps so that everything ends after so many minutes on this machine.
    #[arg(long, value_name = "M", conflicts_with = "epochs", value_parser = parse_minutes)]
    pub minutes: Option<f64>,
    /// Place and manner of training.
    #[command(flatten)]
    pub runner: RunnerArgs,
    /// Print one JSON object on standard output, and nothing else there.
    #[arg(long)]
    pub json: bool,
}

/// Arguments of `init`.
#[derive(Args, Debug)]
pub struct InitArgs {
    /// Folder of pictures, with a folder for each class in its folders `train` and `test`, or right below it; or the name of a known
    /// dataset (see `{tallow} data list`). Default: the current folder.
    #[arg(value_name = "DIR", default_value = ".")]
    pub dataset: String,
    /// Settings of the recipe.
    #[command(flatten)]
    pub proposal: ProposalArgs,
    /// File to write; by default the name of the folder and .toml, in the current folder.
    #[arg(short, long, value_name = "FILE")]
    pub output: Option<PathBuf>,
    /// Look for the data in this folder before the usual places.
    #[arg(long, value_name = "DIR")]
    pub data: Option<PathBuf>,
}

fn parse_part(text: &str) -> Result<Validation, String> {
    let part = match text.parse::<usize>() {
        Ok(images) => Validation::Images(images),
        Err(_) => Validation::Share(text.parse().map_err(|_| wrong_part(text))?),
    };
    match part {
        Validation::Images(1..) => Ok(part),
        Validation::Share(share) if share > 0.0 && share < 1.0 => Ok(part),
        _ => Err(wrong_part(text)),
    }
}

fn wrong_part(text: &str) -> String {
    format!("`{text}`: expected a share in (0, 1), such as 0.1, or a number of pictures")
}

fn parse_minutes(text: &str) -> Result<f64, String> {
    match text.parse::<f64>() {
        Ok(minutes) if minutes.is_finite() && minutes > 0.0 => Ok(minutes),
        _ => Err(format!("`{text}`: expected a number above 0")),
    }
}

impl ProposalArgs {
    fn request(&self, dataset: &str) -> Result<Request> {
        Ok(Request {
            model: self.model.clone(),
            pretrained: self.pretrained,
            epochs: self.epochs.map(|epochs| epochs as usize),
            size: self.size,
            validation: self.val.clone(),
            augment: self.augment,
            seed: self.seed,
            sets: self.set.clone(),
            ..Request::new(find_dataset(dataset)?)
        })
    }

    fn propose(&self, dataset: &str, program: &Program, data: Option<PathBuf>) -> Result<Proposal> {
        let options = data::options(data, tallow_experiment::Progress::downloads(&Notes));
        Ok(Proposal::new(
            &self.request(dataset)?,
            &program.models,
            &options,
        )?)
    }
}

/// Chooses a recipe, writes it beside the runs, and runs it.
pub fn train(args: &TrainArgs, program: &Program) -> Result<Ending> {
    let started = Instant::now();
    // What is wrong with the arguments is told before the pictures are looked at, which computes with these threads.
    let place = &args.runner.place;
    device::parse(&place.device)?;
    check_out(&place.out)?;
    set_threads(place.threads)?;
    let mut proposal = args
        .proposal
        .propose(&args.dataset, program, place.data.clone())?;
    let command = format!("{} run", program.name);
    if let Some(minutes) = args.minutes {
        let mut engine = engine(&args.runner, program)?;
        interrupt::listen()?;
        proposal.set("train.epochs", 1, "not planned yet");
        let text = proposal.to_toml(&command, Path::new(""));
        let sets = args.runner.sets(&[]);
        let experiment = Experiment::parse(&proposal.name, &text, Tier::Full, &sets)?;
        status!("timing the first steps ...");
        let seconds = (60.0 * minutes / 20.0).min(TIMED_SECONDS);
        let speed = engine.measure_speed(&experiment, seconds, &mut Notes)?;
        let Some(speed) = speed else {
            return Ok(Ending::Interrupted);
        };
        let left = 60.0 * minutes - started.elapsed().as_secs_f64();
        let Some(length) = speed.plan(left) else {
            bail!(
                "{minutes} minutes are too short: a step takes {:.2} s and an evaluation of the test pictures {:.1} s on this machine; \
                 give more minutes, or a smaller --size or --model",
                speed.step,
                speed.test
            );
        };
        let reason = format!(
            "--minutes {minutes}: a step takes {:.1} ms on this machine, an evaluation {:.1} s",
            1e3 * speed.step,
            speed.evaluation
        );
        proposal.set("train.epochs", length.epochs, &reason);
        let reason = "the step at which the time is over, where the schedule ends";
        proposal.set("train.max_steps", length.max_steps, reason);
    }
    // A key that does not exist is an error now, before the file is written.
    let text = proposal.to_toml(&command, Path::new(""));
    Experiment::parse(&proposal.name, &text, Tier::Full, &[])?;
    let path = (proposal.write(&place.out, &command))
        .with_context(|| format!("cannot write below --out {}", place.out.display()))?;
    tell(&proposal);
    status!("recipe: {}", path.display());
    let args = RunArgs {
        experiment: Some(path.display().to_string()),
        ..RunArgs::new(args.runner.clone(), args.json)
    };
    run::run(&args, program)
}

/// Writes a recipe and trains nothing.
pub fn init(args: &InitArgs, program: &Program) -> Result<Ending> {
    let proposal = args
        .proposal
        .propose(&args.dataset, program, args.data.clone())?;
    let path = match &args.output {
        Some(path) => path.clone(),
        None => PathBuf::from(format!("{}.toml", proposal.name)),
    };
    if path.exists() {
        bail!(
            "{} exists already; name another file with -o",
            path.display()
        );
    }
    let command = format!("{} run", program.name);
    let text = proposal.to_toml(&command, &path);
    // A key that does not exist is an error now, not when the recipe is run.
    Experiment::parse(&proposal.name, &text, Tier::Full, &[])?;
    write_atomic(&path, &text)?;
    tell(&proposal);
    output::print(&format!("{}\n", path.display()))?;
    status!(
        "to train: {command} {}",
        shell_quoted(&path.display().to_string())
    );
    Ok(Ending::Done)
}

/// Tells the settings that were chosen, each with its reason.
fn tell(proposal: &Proposal) {
    status!("{}: {}", proposal.name, proposal.data);
    for choice in &proposal.choices {
        let value = match choice.value.chars().count() {
            ..=60 => format!(" = {}", choice.value),
            _ => String::new(),
        };
        status!("  {}{value}: {}", choice.key, choice.reason);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parts_are_shares_or_numbers() {
        assert_eq!(parse_part("0.1"), Ok(Validation::Share(0.1)));
        assert_eq!(parse_part("500"), Ok(Validation::Images(500)));
        for wrong in ["0", "1.0", "-1", "x", "nan", ""] {
            assert!(parse_part(wrong).is_err(), "{wrong}");
        }
        assert!(parse_minutes("0").is_err());
        assert_eq!(parse_minutes("0.5"), Ok(0.5));
    }
}
