//! Worker process, which `bench` starts: runs the benchmarks of Tallow, or of candle.
//!
//! Two programs have this module: `xtask` as its hidden command `bench-worker`, with the allocator of `tallow`, and `bench-system`, with
//! the system's. It therefore uses nothing of `tallow-cli`, which sets the allocator.

mod candle;
pub mod case;
pub mod data;
pub mod job;
mod network;
mod operator;
pub mod protocol;

use std::io::{self, BufRead, Write};
use std::time::Instant;

use anyhow::{Context, Result, bail, ensure};
use candle_core::{DType, Device};
use clap::Args;
use serde::Serialize;
use tallow_experiment::device;
use tallow_record::error_message;

use case::{Case, Kind, Work};
use job::Job;
use protocol::{Arm, Gemm, Hello, Precision, Prepared, Ran, Request};

/// Name of the one arm of Tallow's and of candle's benchmarks.
const ONLY: &str = "default";

/// Speed of large matrix products on a device in GFLOP/s.
pub type GemmPeak = fn(&Device) -> candle_core::Result<f64>;

/// Arguments of a worker.
#[derive(Args, Debug)]
pub struct WorkerArgs {
    /// Run candle instead of Tallow.
    #[arg(long)]
    candle: bool,
    /// Device of the networks.
    #[arg(long, value_name = "D", default_value = "cpu")]
    device: String,
}

/// Answers requests until standard input ends; [`Request::Gemm`] only with a `gemm_peak`.
pub fn work(args: &WorkerArgs, gemm_peak: Option<GemmPeak>) -> Result<()> {
    let version = if args.candle {
        format!("candle {}", candle_version())
    } else {
        format!("Tallow {}", env!("CARGO_PKG_VERSION"))
    };
    let device = device::parse(&args.device)?;
    send(&Hello { version })?;
    let mut worker = Worker {
        candle: args.candle,
        device,
        gemm_peak,
        job: None,
    };
    for line in io::stdin().lock().lines() {
        let request = serde_json::from_str(&line?).context("not a request")?;
        if let Err(error) = worker.answer(request) {
            send(&serde_json::json!({ "error": error_message(error.as_ref()) }))?;
        }
    }
    Ok(())
}

/// Version of candle in the lock file.
fn candle_version() -> &'static str {
    let lock = include_str!("../../../../Cargo.lock");
    let (_, package) = lock
        .split_once("name = \"candle-core\"")
        .unwrap_or_default();
    package.split('"').nth(1).unwrap_or("of unknown version")
}

fn send(reply: &impl Serialize) -> Result<()> {
    let mut out = io::stdout().lock();
    writeln!(out, "{}", serde_json::to_string(reply)?)?;
    Ok(out.flush()?)
}

struct Worker {
    candle: bool,
    device: Device,
    gemm_peak: Option<GemmPeak>,
    job: Option<Job>,
}

impl Worker {
    fn answer(&mut self, request: Request) -> Result<()> {
        match request {
            Request::Prepare { case } => {
                // Frees the memory of the last one first.
                self.job = None;
                let made = self.job.insert(prepare(&case, self.candle, &self.device)?);
                send(&Prepared {
                    arms: vec![Arm {
                        name: ONLY.to_string(),
                        precision: Precision::Fp32,
                        compiled: false,
                        threads: None,
                    }],
                    parameters: made.parameters,
                    gflop: made.gflop.map(|gflop| gflop / made.pieces as f64),
                })
            }
            Request::Run { arm, steps, .. } => {
                let job = self.job.as_mut().context("nothing is prepared")?;
                ensure!(arm == ONLY, "no arm `{arm}`");
                send(&Ran {
                    seconds: time(job, steps)?,
                })
            }
            Request::Drop { arm } => bail!("the arm `{arm}` is the only one"),
            Request::Gemm => {
                let peak = self.gemm_peak.context("not asked of this program")?;
                send(&Gemm {
                    gflops: peak(&self.device)?,
                })
            }
        }
    }
}

/// Makes ready to run a benchmark of Tallow, or of candle.
pub fn prepare(case: &Case, candle: bool, device: &Device) -> Result<Job> {
    match &case.work {
        Work::Network { .. } if candle => candle::network(case),
        _ if candle => bail!("candle has nothing to compare with here"),
        Work::Network {
            model,
            input,
            optimizer,
        } => network::job(
            model,
            *input,
            optimizer,
            case.batch,
            case.kind == Kind::Step,
            device,
        ),
        Work::Operator { op } => operator::job(op, case.batch),
        Work::Loader { images, workers } => data::loader(*images, *workers, case.batch),
        Work::Epoch {
            data,
            workers,
            optimizer,
        } => data::epoch(data, *workers, optimizer, case.batch),
    }
}

fn time(job: &mut Job, steps: usize) -> Result<Vec<f64>> {
    let mut seconds = Vec::with_capacity(steps);
    let mut result = None;
    for _ in 0..steps {
        drop(result.take());
        let started = Instant::now();
        result = (job.run)()?;
        // Other devices compute asynchronously.
        if let Some(result) = &result {
            result.device().synchronize()?;
        }
        seconds.push(started.elapsed().as_secs_f64() / job.pieces as f64);
    }
    if let Some(result) = result {
        let sum = result.to_dtype(DType::F64)?.sum_all()?.to_scalar::<f64>()?;
        ensure!(sum.is_finite(), "a loss or an output is not finite");
    }
    Ok(seconds)
}

#[cfg(test)]
mod tests {
    use super::candle_version;

    #[test]
    fn the_version_of_candle_is_that_of_the_lock_file() {
        let version = candle_version();
        assert!(
            version.split('.').count() == 3 && version.starts_with(|c: char| c.is_ascii_digit()),
            "{version}"
        );
    }
}
