//! The process that does our work, or candle's: `bench-worker`, which the command starts for itself.

use std::io::{self, BufRead, Write};
use std::time::Instant;

use anyhow::{Context, Result, bail, ensure};
use candle_core::{DType, Device, Tensor};
use serde::Serialize;

use super::case::{Case, Kind, Work};
use super::protocol::{Gemm, Hello, Memory, Prepared, Ran, Request};
use super::{candle, data, host, network, operator};
use crate::cli::WorkerArgs;
use crate::{device, output};

/// A prepared case.
pub struct Job {
    /// Trained values, of networks.
    pub parameters: Option<usize>,
    /// Nominal arithmetic of a run.
    pub gflop: Option<f64>,
    /// Equal pieces of a run; times are for one of them.
    pub pieces: usize,
    /// Runs it. A loss or an output that comes back is checked to be finite after the clock has stopped.
    pub run: Box<dyn FnMut() -> Result<Option<Tensor>>>,
}

/// The one way that our work and candle's can be run.
const ONLY: &str = "default";

/// Answers requests until standard input ends.
pub fn work(args: &WorkerArgs) -> Result<()> {
    let version = if args.candle {
        "candle 0.11.1".to_string()
    } else {
        format!("Tallow {}", env!("CARGO_PKG_VERSION"))
    };
    let device = device::parse(&args.device)?;
    say(&Hello { version })?;
    let mut job = None;
    for line in io::stdin().lock().lines() {
        let request = serde_json::from_str(&line?).context("not a request")?;
        if let Err(error) = answer(request, args.candle, &device, &mut job) {
            say(&serde_json::json!({ "error": output::message(&error) }))?;
        }
    }
    Ok(())
}

fn say(reply: &impl Serialize) -> Result<()> {
    let mut out = io::stdout().lock();
    writeln!(out, "{}", serde_json::to_string(reply)?)?;
    Ok(out.flush()?)
}

fn answer(request: Request, candle: bool, device: &Device, job: &mut Option<Job>) -> Result<()> {
    match request {
        Request::Prepare { case } => {
            // The last one's memory goes first.
            *job = None;
            let made = job.insert(prepare(&case, candle, device)?);
            say(&Prepared {
                variants: vec![ONLY.to_string()],
                parameters: made.parameters,
                gflop: made.gflop.map(|gflop| gflop / made.pieces as f64),
            })
        }
        Request::Run { variant, steps } => {
            let job = job.as_mut().context("nothing is prepared")?;
            ensure!(variant == ONLY, "no variant `{variant}`");
            say(&Ran {
                seconds: time(job, steps)?,
            })
        }
        Request::Memory => say(&Memory {
            mb: host::peak_memory_mb(),
        }),
        Request::Gemm => say(&Gemm {
            gflops: gemm(device)?,
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
        // Other devices are given work and do it later.
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

/// GFLOP/s: the best of a few f32 products of 2048 x 2048 matrices. On the CPU that is what the `gemm` crate can do with these threads.
pub fn gemm(device: &Device) -> Result<f64> {
    const SIDE: usize = 2048;
    let matrix = || Tensor::randn(0f32, 1.0, (SIDE, SIDE), device);
    let (a, b) = (matrix()?, matrix()?);
    let mut best = f64::INFINITY;
    for _ in 0..5 {
        let started = Instant::now();
        a.matmul(&b)?;
        device.synchronize()?;
        best = best.min(started.elapsed().as_secs_f64());
    }
    Ok(2.0 * (SIDE * SIDE * SIDE) as f64 / best / 1e9)
}

/// Images of normal noise and labels below 10.
pub fn noise(
    batch: usize,
    (c, h, w): (usize, usize, usize),
) -> candle_core::Result<(Tensor, Tensor)> {
    let images = Tensor::randn(0f32, 1.0, (batch, c, h, w), &Device::Cpu)?;
    let labels: Vec<u32> = (0..batch as u32).map(|i| i * 7 % 10).collect();
    Ok((images, Tensor::from_vec(labels, batch, &Device::Cpu)?))
}
