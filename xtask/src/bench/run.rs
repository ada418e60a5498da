//! File of a run: what `--json` writes and the pages of the docs read.

use std::path::Path;
use std::thread::available_parallelism;
use std::time::SystemTime;

use anyhow::{Context, Result, ensure};
use candle_core::Device;
use serde::{Deserialize, Serialize};
use tallow_cli::machine;
use tallow_record::{Environment, timestamp};
use tallow_train::capture_environment;

use super::args::{Arms, BenchArgs};
use super::row::Row;
use super::side::Place;

/// Largest file that is read, in bytes.
const LARGEST: u64 = 16 << 20;

/// A run of `bench`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Run {
    /// Start, UTC, as `20260131T235959Z`.
    pub time: String,
    /// Machine, commit and compiler.
    pub environment: Environment,
    /// Physical cores that the processes may use.
    pub cores: usize,
    /// Processors that they may use; two of them can be one core.
    pub processors: usize,
    /// Name and version of each side.
    pub versions: Vec<String>,
    pub settings: Settings,
    /// The best speed of a large matrix product between the benchmarks: on the CPU the `gemm` crate's.
    pub gemm_peak_gflops: f64,
    pub rows: Vec<Row>,
}

/// Settings of a run, by the names of the arguments.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Settings {
    pub filter: Vec<String>,
    pub against: Vec<String>,
    pub arms: Arms,
    pub compile_limit: f64,
    pub batch: Option<u32>,
    pub repeats: u32,
    pub seconds: f64,
    pub retries: u32,
}

impl Run {
    /// A run that begins now, without results.
    pub fn begin(
        args: &BenchArgs,
        place: &Place,
        versions: Vec<String>,
        commit: Option<String>,
    ) -> Self {
        let environment = capture_environment(&Device::Cpu, commit).without_command();
        Self {
            time: timestamp(SystemTime::now()),
            environment: Environment {
                threads: place.threads,
                device: place.device.clone(),
                ..environment
            },
            cores: machine::cores(),
            processors: available_parallelism().map_or(1, usize::from),
            versions,
            settings: Settings {
                filter: args.filter.clone(),
                against: args.against.iter().map(|a| a.name().to_string()).collect(),
                arms: args.arms,
                compile_limit: args.compile_limit,
                batch: args.batch,
                repeats: args.repeats,
                seconds: args.seconds,
                retries: args.retries,
            },
            gemm_peak_gflops: 0.0,
            rows: Vec::new(),
        }
    }

    /// The day on which it began, as `20260131`.
    pub fn day(&self) -> &str {
        self.time.split('T').next().unwrap_or(&self.time)
    }

    /// The text of its file.
    pub fn to_json(&self) -> Result<String> {
        Ok(format!("{}\n", serde_json::to_string_pretty(self)?))
    }

    /// Reads a file.
    pub fn read(path: &Path) -> Result<Self> {
        let wrong = || {
            format!(
                "{}: expected a run that `cargo xtask bench --json` wrote",
                path.display()
            )
        };
        let size = std::fs::metadata(path).with_context(wrong)?.len();
        ensure!(size <= LARGEST, "{} ({size} bytes)", wrong());
        let text = std::fs::read_to_string(path).with_context(wrong)?;
        serde_json::from_str(&text).with_context(wrong)
    }
}

#[cfg(test)]
pub mod tests {
    use super::*;

    /// Two benchmarks beside PyTorch, candle and burn; the second was not quiet.
    pub const FIXTURE: &str = include_str!("../../tests/fixtures/bench-run.json");

    #[test]
    fn a_run_survives_its_file() {
        let run: Run = serde_json::from_str(FIXTURE).unwrap();
        assert_eq!((run.rows.len(), run.day()), (3, "20260131"));
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("run.json");
        std::fs::write(&path, run.to_json().unwrap()).unwrap();
        assert_eq!(Run::read(&path).unwrap(), run);
    }

    #[test]
    fn other_files_are_refused() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("run.json");
        let large = format!("{FIXTURE}{}", " ".repeat(16 << 20));
        for text in ["", &FIXTURE[..500], "[]", "{}", large.as_str()] {
            std::fs::write(&path, text).unwrap();
            let message = format!("{:#}", Run::read(&path).unwrap_err());
            assert!(
                message.contains("run.json") && message.contains("bench --json"),
                "{message}"
            );
        }
    }
}
