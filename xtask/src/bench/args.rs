//! Arguments of `bench` and of its worker processes.

use std::path::PathBuf;

use clap::{Args, ValueEnum};

/// Examples at the end of the help text.
pub const EXAMPLES: &str = "Examples:
  {tallow} bench --filter fc
  {tallow} bench --filter step --against pytorch --json steps.json
  {tallow} bench --filter vgg16-bn --against pytorch --memory
  {tallow} bench --filter cnn,lenet --against pytorch,candle --repeats 3
  TALLOW_DATA=~/datasets {tallow} bench --filter epoch --against pytorch
  cargo run --release -p xtask --features cuda -- bench --filter step --against pytorch --device cuda

PyTorch is that of the Python that TALLOW_PYTHON names, or else of python3. To install it:
  python3 -m venv target/pytorch
  target/pytorch/bin/pip install -r xtask/pytorch/requirements.txt
  export TALLOW_PYTHON=$PWD/target/pytorch/bin/python";

/// Arguments of `bench`.
#[derive(Args, Debug)]
pub struct BenchArgs {
    /// Benchmarks to run: a name, a kind (step, inference, operator, loader, epoch), or a part of names. Several may be given.
    #[arg(long, value_name = "NAME", value_delimiter = ',')]
    pub filter: Vec<String>,
    /// Compare with these in the same run. Several may be given. Candle is compared only on whole networks.
    #[arg(long, value_name = "OTHER", value_enum, value_delimiter = ',')]
    pub against: Vec<Against>,
    /// Batch size, instead of that of each benchmark.
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..))]
    pub batch: Option<u32>,
    /// Write the rows to this file as a JSON array; - is standard output, and the table then goes to standard error.
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
    /// Also measure the peak memory of each network, in fresh processes.
    #[arg(long)]
    pub memory: bool,
    /// Device of the networks: cpu, cuda, cuda:N or metal. On other devices than the CPU only steps and inference are timed, and each
    /// waits for the device.
    #[arg(long, value_name = "D", default_value = "cpu")]
    pub device: String,
}

/// Other side of a comparison.
#[derive(ValueEnum, Clone, Copy, Debug, PartialEq, Eq)]
pub enum Against {
    /// PyTorch, in the faster of its two memory formats.
    Pytorch,
    /// The same networks in unchanged candle-nn.
    Candle,
}

/// Arguments of `bench-worker`.
#[derive(Args, Debug)]
pub struct WorkerArgs {
    /// Run candle instead of Tallow.
    #[arg(long)]
    pub candle: bool,
    /// Device of the networks.
    #[arg(long, value_name = "D", default_value = "cpu")]
    pub device: String,
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
