//! `cargo xtask cuda-times`: training steps and inference of networks in every precision, for `report.py`.

use std::time::Instant;

use anyhow::{Context, Result, bail, ensure};
use candle_core::Device;
use clap::Args;
use serde::Serialize;
use tallow_cli::{Ending, output};
use tallow_experiment::{device, suggest};
use tallow_ops::{Precision, with_precision};
use tallow_train::OptimizerConfig;

use super::trained;
use crate::bench::{Case, Job, Kind, Work, prepare, steps};

/// Example of the command.
pub const EXAMPLES: &str =
    "Example: {tallow} cuda-times --networks resnet18,cnn --precision bf16 --kernels";

/// Arguments of `cuda-times`.
#[derive(Args, Debug)]
pub struct CudaTimesArgs {
    /// Networks of `bench`, and vgg16; all by default.
    #[arg(long, value_name = "NAME", value_delimiter = ',')]
    networks: Vec<String>,
    /// Precisions.
    #[arg(long, value_name = "P", value_delimiter = ',', default_value = "f32,tf32,bf16", value_parser = precision)]
    precision: Vec<Precision>,
    /// Seconds for which each is timed.
    #[arg(long, value_name = "S", default_value_t = 0.5, value_parser = seconds)]
    seconds: f64,
    /// Device.
    #[arg(long, value_name = "D", default_value = "cuda")]
    device: String,
    /// Also take the time of each kernel, on a CUDA device.
    #[arg(long)]
    kernels: bool,
    /// Networks whose steps in the trainer are timed too, after all others, with `train.cuda_graph` and without.
    #[arg(long, value_name = "NAME", value_delimiter = ',')]
    trained: Vec<String>,
}

fn precision(text: &str) -> Result<Precision, String> {
    let all = [Precision::F32, Precision::Tf32, Precision::Bf16];
    let found = all.into_iter().find(|precision| precision.name() == text);
    found.ok_or_else(|| "expected f32, tf32 or bf16".to_string())
}

fn seconds(text: &str) -> Result<f64, String> {
    match text.parse::<f64>() {
        Ok(seconds) if seconds > 0.0 && seconds <= 60.0 => Ok(seconds),
        _ => Err("expected seconds above 0 and up to 60, such as 0.5".to_string()),
    }
}

/// Result for a network in a precision: a line of JSON.
#[derive(Debug, Serialize)]
struct Line<'a> {
    network: &'a str,
    precision: Precision,
    batch: usize,
    #[serde(flatten)]
    result: Outcome,
}

#[derive(Debug, Serialize)]
#[serde(untagged)]
enum Outcome {
    Times(Times),
    Failed { error: String },
}

#[derive(Debug, Serialize)]
struct Times {
    /// Median milliseconds of a step, the host waiting for the device after each, and the quartiles.
    step_ms: f64,
    quartiles: [f64; 2],
    /// Steps that were timed.
    steps: usize,
    /// Milliseconds of a step where the host waits only after the last one.
    queued_ms: f64,
    /// Median milliseconds of inference.
    inference_ms: f64,
    /// Most MiB that steps had in use at a time, with the weights and the batch; on CUDA devices.
    #[serde(skip_serializing_if = "Option::is_none")]
    peak_mib: Option<f64>,
    /// Work of a step on the device, the longest first.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    kernels: Vec<Kernel>,
}

#[derive(Debug, Serialize)]
struct Kernel {
    name: String,
    /// Times in a step.
    count: f64,
    /// Milliseconds of a step.
    ms: f64,
}

/// Steps that are not timed: the first ones choose plans and compile kernels.
const FIRST: usize = 5;

/// Steps over which the times of kernels are summed.
const SUMMED: usize = 5;

/// Times the networks, and prints a line of JSON for each in each precision.
pub fn cuda_times(args: &CudaTimesArgs) -> Result<Ending> {
    let cases = self::cases(&args.networks)?;
    let trained = match args.trained.is_empty() {
        true => Vec::new(),
        false => self::cases(&args.trained)?,
    };
    let device = device::parse(&args.device)?;
    ensure!(
        !args.kernels || device.is_cuda(),
        "--kernels is for CUDA devices; leave it out, or --device {}",
        args.device
    );
    let mut failed = false;
    for case in &cases {
        for &precision in &args.precision {
            let found = times(case, precision, &device, args);
            failed |= found.is_err();
            let result = found.map_or_else(
                |error| Outcome::Failed {
                    error: output::message(&error),
                },
                Outcome::Times,
            );
            let line = Line {
                network: &case.name,
                precision,
                batch: case.batch,
                result,
            };
            output::print(&format!("{}\n", serde_json::to_string(&line)?))?;
        }
    }
    // Last, since a graph that fails may spoil the device for what follows.
    for case in &trained {
        for &precision in &args.precision {
            let found = trained::times(case, precision, &device);
            failed |= found.error.is_some();
            output::print(&format!("{}\n", serde_json::to_string(&found)?))?;
        }
    }
    Ok(match failed {
        true => Ending::CheckFailed,
        false => Ending::Done,
    })
}

/// The steps of the networks of these names.
fn cases(names: &[String]) -> Result<Vec<Case>> {
    let mut all = steps()?;
    // The convolutions of vgg16-bn without their norms, with one linear layer: PyTorch's side is in pytorch_steps.py.
    all.push(Case {
        name: "vgg16".to_string(),
        kind: Kind::Step,
        batch: 128,
        work: Work::Network {
            model: "vgg16-cifar".to_string(),
            input: (3, 32, 32),
            optimizer: OptimizerConfig::adam(1e-3),
        },
    });
    let known: Vec<&str> = all.iter().map(|case| case.name.as_str()).collect();
    if let Some(name) = names.iter().find(|name| !known.contains(&name.as_str())) {
        bail!("{}", suggest::unknown("network", name, &known));
    }
    if !names.is_empty() {
        // In the order of the names: what spoils the process costs those behind it.
        let place = |case: &Case| names.iter().position(|name| *name == case.name);
        all.retain(|case| place(case).is_some());
        all.sort_by_key(place);
    }
    Ok(all)
}

fn times(
    case: &Case,
    precision: Precision,
    device: &Device,
    args: &CudaTimesArgs,
) -> Result<Times> {
    precision.check(device)?;
    let inference = Case {
        kind: Kind::Inference,
        ..case.clone()
    };
    let run = |job: &mut Job| with_precision(precision, || (job.run)());
    let timed = |job: &mut Job| -> Result<f64> {
        let start = Instant::now();
        run(job)?;
        device.synchronize()?;
        Ok(1e3 * start.elapsed().as_secs_f64())
    };
    let sorted = |job: &mut Job| -> Result<Vec<f64>> {
        for _ in 0..FIRST {
            timed(job)?;
        }
        let start = Instant::now();
        let mut all = Vec::new();
        while all.len() < 10 || start.elapsed().as_secs_f64() < args.seconds {
            all.push(timed(job)?);
        }
        all.sort_by(f64::total_cmp);
        Ok(all)
    };

    let peak = Peak::begin(device)?;
    let mut job = prepare(case, false, device)?;
    let steps = sorted(&mut job)?;
    let peak_mib = peak.mib()?;
    let start = Instant::now();
    let queued = steps.len().min(50);
    let mut loss = None;
    for _ in 0..queued {
        loss = run(&mut job)?;
    }
    device.synchronize()?;
    let queued_ms = 1e3 * start.elapsed().as_secs_f64() / queued as f64;
    let loss = loss.context("a step without a loss")?;
    let loss = loss.to_device(&Device::Cpu)?.to_scalar::<f32>()?;
    ensure!(loss.is_finite(), "the loss is {loss}");
    let kernels = match args.kernels {
        true => kernels(device, || run(&mut job).map(drop))?,
        false => Vec::new(),
    };
    drop(job);
    let inference = sorted(&mut prepare(&inference, false, device)?)?;
    let at = |all: &[f64], share: f64| all[((all.len() - 1) as f64 * share) as usize];
    Ok(Times {
        step_ms: at(&steps, 0.5),
        quartiles: [at(&steps, 0.25), at(&steps, 0.75)],
        steps: steps.len(),
        queued_ms,
        inference_ms: at(&inference, 0.5),
        peak_mib,
        kernels,
    })
}

/// Memory of a CUDA device that is used from now on.
struct Peak {
    #[cfg(feature = "cuda")]
    device: Option<(candle_core::CudaDevice, u64)>,
}

impl Peak {
    #[cfg(feature = "cuda")]
    fn begin(device: &Device) -> Result<Self> {
        let Device::Cuda(device) = device else {
            return Ok(Self { device: None });
        };
        let used = tallow_cuda::memory::reset_peak(device)?;
        Ok(Self {
            device: Some((device.clone(), used)),
        })
    }

    #[cfg(not(feature = "cuda"))]
    fn begin(_: &Device) -> Result<Self> {
        Ok(Self {})
    }

    /// The most since the beginning, in MiB beyond what was in use then.
    #[cfg(feature = "cuda")]
    fn mib(&self) -> Result<Option<f64>> {
        let Some((device, before)) = &self.device else {
            return Ok(None);
        };
        let peak = tallow_cuda::memory::peak(device)?;
        Ok(Some(
            peak.saturating_sub(*before) as f64 / f64::from(1 << 20),
        ))
    }

    #[cfg(not(feature = "cuda"))]
    fn mib(&self) -> Result<Option<f64>> {
        Ok(None)
    }
}

/// Times of what a step queues.
#[cfg(feature = "cuda")]
fn kernels(device: &Device, mut step: impl FnMut() -> Result<()>) -> Result<Vec<Kernel>> {
    let device = device.as_cuda_device()?;
    tallow_cuda::times::start(device)?;
    let done = (0..SUMMED).try_for_each(|_| step());
    let times = tallow_cuda::times::stop(device)?;
    done?;
    let kernel = |time: tallow_cuda::times::Time| Kernel {
        name: time.name,
        count: time.count as f64 / SUMMED as f64,
        ms: time.milliseconds / SUMMED as f64,
    };
    Ok(times.into_iter().map(kernel).collect())
}

#[cfg(not(feature = "cuda"))]
fn kernels(_: &Device, _: impl FnMut() -> Result<()>) -> Result<Vec<Kernel>> {
    bail!("this build has no kernels to time ({SUMMED} steps of them): build with --features cuda")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn args(precision: Precision) -> CudaTimesArgs {
        CudaTimesArgs {
            networks: vec!["fc".to_string()],
            precision: vec![precision],
            seconds: 0.01,
            device: "cpu".to_string(),
            kernels: false,
            trained: Vec::new(),
        }
    }

    #[test]
    fn a_network_is_timed_on_any_device() {
        let args = args(Precision::F32);
        let cases = cases(&args.networks).unwrap();
        assert_eq!(cases.len(), 1);
        let times = times(&cases[0], Precision::F32, &Device::Cpu, &args).unwrap();
        let [low, high] = times.quartiles;
        assert!(0. < low && low <= times.step_ms && times.step_ms <= high);
        assert!(times.steps >= 10 && times.queued_ms > 0. && times.inference_ms > 0.);
    }

    #[test]
    fn a_precision_that_the_device_lacks_is_an_error_of_its_line() {
        let args = args(Precision::Bf16);
        let cases = cases(&args.networks).unwrap();
        let error = times(&cases[0], Precision::Bf16, &Device::Cpu, &args).unwrap_err();
        let line = Line {
            network: "fc",
            precision: Precision::Bf16,
            batch: 64,
            result: Outcome::Failed {
                error: error.to_string(),
            },
        };
        let text = serde_json::to_string(&line).unwrap();
        assert!(
            text.contains(r#""precision":"bf16""#) && text.contains("no CUDA device"),
            "{text}"
        );
    }

    #[test]
    fn networks_are_timed_in_the_order_of_their_names() {
        let names = ["resnet18", "vgg16", "fc"].map(String::from);
        let found: Vec<String> = cases(&names).unwrap().into_iter().map(|c| c.name).collect();
        assert_eq!(found, names);
        assert!(cases(&[]).unwrap().len() > names.len());
    }

    #[test]
    fn unknown_names_are_refused() {
        let message = cases(&["vgg17".to_string()]).unwrap_err().to_string();
        assert!(message.contains("vgg16"), "{message}");
        assert!(precision("f16").is_err() && seconds("0").is_err() && seconds("61").is_err());
    }
}
