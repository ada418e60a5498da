//! The command line.

use std::path::PathBuf;

use clap::{Args, Parser, Subcommand};

/// Trains published vision experiments and sets the results beside what was reported.
///
/// Exit codes: 0 all is well; 1 a claim failed; 2 bad input or missing data; 130 interrupted.
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
  cargo xtask run quickstart --only cnn --set 'train.optimizer={name=\"adam\",lr=0.002}'")]
    Run(RunArgs),
    /// List, get, check or describe datasets.
    #[command(after_help = "Example: cargo xtask data get mnist")]
    Data {
        /// What to do with datasets.
        #[command(subcommand)]
        command: DataCommand,
    },
    /// Show a model's layers: output shapes, parameters, multiply-adds.
    #[command(after_help = "Example: cargo xtask summary vgg16-slim")]
    Summary(SummaryArgs),
}

/// Arguments of `run`.
#[derive(Args, Debug)]
pub struct RunArgs {
    /// An experiment's name (see `cargo xtask list`), or a path to a TOML file.
    pub experiment: String,
    /// Where to compute: cpu, cuda, cuda:N or metal.
    #[arg(long, value_name = "D", default_value = "cpu")]
    pub device: String,
    /// Seeds, in place of the experiment's own: 0..3 is 0, 1, 2; 0,2,5 is a list.
    #[arg(long, value_name = "SEEDS", value_parser = parse_seeds)]
    pub seeds: Option<Seeds>,
    /// Change any part of the recipe, in every variant: train.epochs=1, data.dataset=kmnist.
    /// The value is TOML; what is not TOML is taken as text.
    #[arg(long, value_name = "KEY=VALUE")]
    pub set: Vec<String>,
    /// Look for the data in this folder before the usual places.
    #[arg(long, value_name = "DIR")]
    pub data: Option<PathBuf>,
    /// Write run records under this folder.
    #[arg(long, value_name = "DIR", default_value = "runs")]
    pub out: PathBuf,
    /// Threads to compute with; all cores by default. Results repeat to the bit for one number.
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u16).range(1..))]
    pub threads: Option<u16>,
    /// Threads that load batches; 0 loads them in the training thread. Results do not depend on it.
    #[arg(long, value_name = "N")]
    pub workers: Option<usize>,
    /// Run this variant alone (may be given several times).
    #[arg(long, value_name = "VARIANT")]
    pub only: Vec<String>,
    /// Print one JSON object on standard output, and nothing else there.
    #[arg(long)]
    pub json: bool,
}

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
    /// The model's name (see `cargo xtask list`).
    pub model: String,
    /// Number of classes, in place of the model's own.
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..))]
    pub classes: Option<u32>,
    /// Input shape as C,H,W, in place of the model's own.
    #[arg(long, value_name = "C,H,W", value_parser = parse_shape)]
    pub input: Option<(usize, usize, usize)>,
}

/// Seeds of a run, in order.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Seeds(pub Vec<u64>);

fn parse_seeds(text: &str) -> Result<Seeds, String> {
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
