//! Worker process `bench-worker`, which `bench` starts: runs the benchmarks of Tallow, or of candle.

use std::io::{self, BufRead, Write};
use std::time::Instant;

use anyhow::{Context, Result, bail, ensure};
use candle_core::{DType, Device};
use serde::Serialize;

use super::args::WorkerArgs;
use super::case::{Case, Kind, Work};
use super::job::Job;
use super::protocol::{Gemm, Hello, Memory, Prepared, Ran, Request};
use super::{candle, data, network, operator};
use tallow_cli::{Ending, machine, output};
use tallow_experiment::device;

/// The one variant of Tallow's and of candle's benchmarks.
const ONLY: &str = "default";

/// Answers requests until standard input ends.
pub fn work(args: &WorkerArgs) -> Result<Ending> {
    let version = if args.candle {
        format!("candle {}", candle_version())
    } else {
        format!("Tallow {}", env!("CARGO_PKG_VERSION"))
    };
    let device = device::parse(&args.device)?;
    send(&Hello { version })?;
    let mut job = None;
    for line in io::stdin().lock().lines() {
        let request = serde_json::from_str(&line?).context("not a request")?;
        if let Err(error) = answer(request, args.candle, &device, &mut job) {
            send(&serde_json::json!({ "error": output::message(&error) }))?;
        }
    }
    Ok(Ending::Done)
}

/// Version of candle in the lock file.
fn candle_version() -> &'static str {
    let lock = include_str!("../../../Cargo.lock");
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

fn answer(request: Request, candle: bool, device: &Device, job: &mut Option<Job>) -> Result<()> {
    match request {
        Request::Prepare { case } => {
            // Frees the memory of the last one first.
            *job = None;
            let made = job.insert(prepare(&case, candle, device)?);
            send(&Prepared {
                variants: vec![ONLY.to_string()],
                parameters: made.parameters,
                gflop: made.gflop.map(|gflop| gflop / made.pieces as f64),
            })
        }
        Request::Run { variant, steps } => {
            let job = job.as_mut().context("nothing is prepared")?;
            ensure!(variant == ONLY, "no variant `{variant}`");
            send(&Ran {
                seconds: time(job, steps)?,
            })
        }
        Request::Memory => send(&Memory {
            mb: machine::peak_memory_mb(),
        }),
        Request::Gemm => send(&Gemm {
            gflops: machine::gemm_peak(device)?,
        }),
    }
}

fn prepare(case: &Case, candle: bool, device: &Device) -> Result<Job> {
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
