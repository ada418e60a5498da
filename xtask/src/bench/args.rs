//! Arguments of `bench`.

use std::path::PathBuf;

use clap::{Args, ValueEnum};
use serde::{Deserialize, Serialize};

/// Examples at the end of the help text.
pub const EXAMPLES: &str = "Examples:
  {tallow} bench --filter fc
  {tallow} bench --filter step --against pytorch --json steps.json
  {tallow} bench --filter vgg16-bn --against pytorch --arms eager --memory
  {tallow} bench --filter cnn,lenet --against pytorch,candle,burn --repeats 3
  TALLOW_DATA=~/datasets {tallow} bench --filter epoch --against pytorch
  {tallow} bench --against pytorch,candle,burn --json docs/results/bench/20260131.json
  cargo run --release -p xtask --features cuda -- bench --filter step --against pytorch --device cuda

PyTorch is that of the Python that TALLOW_PYTHON names, or else of python3. To install it:
  python3 -m venv target/pytorch
  target/pytorch/bin/pip install -r xtask/pytorch/requirements.txt
  export TALLOW_PYTHON=$PWD/target/pytorch/bin/python
Its torch.compile needs a C++ compiler. burn is downloaded and built the first time.";

/// Arguments of `bench`.
#[derive(Args, Debug)]
pub struct BenchArgs {
    /// Benchmarks to run: a name, a kind (step, inference, operator, loader, epoch), or a part of names. Several may be given.
    #[arg(long, value_name = "NAME", value_delimiter = ',')]
    pub filter: Vec<String>,
    /// Compare with these in the same run. Several may be given. Candle and burn are compared only on whole networks.
    #[arg(long, value_name = "OTHER", value_enum, value_delimiter = ',')]
    pub against: Vec<Against>,
    /// Ways in which PyTorch is tried. The fastest counts.
    #[arg(long, value_name = "ARMS", value_enum, default_value_t = Arms::All)]
    pub arms: Arms,
    /// Longest time for compiling an arm of PyTorch in seconds; one that takes longer is left out.
    #[arg(long, value_name = "S", default_value = "300", value_parser = parse_seconds)]
    pub compile_limit: f64,
    /// Batch size, instead of that of each benchmark.
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..))]
    pub batch: Option<u32>,
    /// Write the run to this file as JSON; - is standard output, and the table then goes to standard error.
    #[arg(long, value_name = "FILE")]
    pub json: Option<PathBuf>,
    /// Threads of each process; the physical cores by default.
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u16).range(1..))]
    pub threads: Option<u16>,
    /// Rounds, in each of which every process is timed once.
    #[arg(long, value_name = "N", default_value_t = 7, value_parser = clap::value_parser!(u32).range(1..))]
    pub repeats: u32,
    /// Smallest duration of a timing in seconds; a longer step is timed alone.
    #[arg(long, value_name = "S", default_value = "0.2", value_parser = parse_seconds)]
    pub seconds: f64,
    /// Number of times that a benchmark is measured again while the machine was not quiet.
    #[arg(long, value_name = "N", default_value_t = 2, value_parser = clap::value_parser!(u32).range(..=20))]
    pub retries: u32,
    /// File of PyTorch's best times of the day, beside which a slow machine shows; by default in the folder of this program.
    #[arg(long, value_name = "FILE")]
    pub best: Option<PathBuf>,
    /// Also measure the peak memory of each network, in fresh processes.
    #[arg(long)]
    pub memory: bool,
    /// Device of the networks: cpu, cuda, cuda:N or metal. On other devices than the CPU only steps and inference are timed, and each
    /// waits for the device.
    #[arg(long, value_name = "D", default_value = "cpu")]
    pub device: String,
    /// The program `bench-system` of this package, instead of building it.
    #[arg(long, value_name = "FILE")]
    pub system_worker: Option<PathBuf>,
}

/// Other side of a comparison.
#[derive(ValueEnum, Clone, Copy, Debug, PartialEq, Eq)]
pub enum Against {
    /// PyTorch, in the fastest of its arms.
    Pytorch,
    /// The same networks in unchanged candle-nn.
    Candle,
    /// The same networks in burn, on its backend `flex`.
    Burn,
}

impl Against {
    /// As the command line names it.
    pub fn name(self) -> &'static str {
        match self {
            Self::Pytorch => "pytorch",
            Self::Candle => "candle",
            Self::Burn => "burn",
        }
    }
}

/// Ways in which PyTorch is tried.
#[derive(ValueEnum, Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Arms {
    /// Every arm.
    All,
    /// Those without torch.compile, whose first run takes minutes.
    Eager,
}

impl Arms {
    /// As the command line names it.
    pub fn name(self) -> &'static str {
        match self {
            Self::All => "all",
            Self::Eager => "eager",
        }
    }
}

fn parse_seconds(text: &str) -> Result<f64, String> {
    match text.parse::<f64>() {
        Ok(seconds) if seconds > 0.0 && seconds <= 3600.0 => Ok(seconds),
        _ => Err("expected seconds above 0 and up to 3600, such as 0.2".to_string()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn seconds() {
        assert_eq!(parse_seconds("0.5").unwrap(), 0.5);
        for bad in ["0", "-1", "nan", "inf", "1e9", "x"] {
            assert!(parse_seconds(bad).is_err(), "{bad}");
        }
    }
}
