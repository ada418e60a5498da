//! The processes that are timed.

use std::io::{BufRead, BufReader, Write};
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};
use std::thread;
use std::time::Duration;

use anyhow::{Context, Result, anyhow, bail};
use serde::de::DeserializeOwned;
use serde_json::Value;
use tallow_cli::machine::{self, python};

use super::args::{Against, Arms};
use super::programs::Programs;
use super::worker::case::{Case, Work};
use super::worker::protocol::{Hello, Prepared, Ran, Request};

/// Device, threads and programs of the sides.
#[derive(Clone, Debug)]
pub struct Place {
    pub threads: usize,
    /// As `--device` names it.
    pub device: String,
    /// Ways in which PyTorch is tried.
    pub arms: Arms,
    pub programs: Programs,
}

/// Library that is timed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Who {
    /// Tallow, with the allocator of its programs.
    Ours,
    /// Tallow as in a program that sets no allocator.
    Library,
    /// Library to compare with.
    Other(Against),
}

impl Who {
    /// As rows name it.
    pub fn name(self) -> &'static str {
        match self {
            Self::Ours => "tallow",
            Self::Library => "tallow as a library",
            Self::Other(other) => other.name(),
        }
    }

    /// Whether it can do this work at all.
    pub fn does(self, case: &Case) -> bool {
        match self {
            Self::Other(Against::Candle | Against::Burn) => {
                matches!(case.work, Work::Network { .. })
            }
            _ => true,
        }
    }

    fn command(self, place: &Place) -> Result<Command> {
        let threads = place.threads.to_string();
        let mut command = match self {
            Self::Ours => {
                let this = std::env::current_exe().context("cannot find this program")?;
                let mut command = Command::new(this);
                command.args(["bench-worker", "--device", &place.device]);
                command
            }
            Self::Library => worker(place.programs.system.as_deref())?,
            Self::Other(Against::Candle) => {
                let mut command = worker(place.programs.system.as_deref())?;
                command.arg("--candle");
                command
            }
            Self::Other(Against::Burn) => worker(place.programs.burn.as_deref())?,
            Self::Other(Against::Pytorch) => {
                let mut command = Command::new(python());
                command.arg(script("bench.py"));
                let device = match place.device.as_str() {
                    "metal" => "mps",
                    name => name,
                };
                command.args(["--threads", &threads, "--device", device]);
                command.args(["--arms", place.arms.name()]);
                command.env("OMP_NUM_THREADS", &threads);
                command
            }
        };
        if self != Self::Other(Against::Pytorch) {
            // Read by rayon and by candle, both of them before anything else could tell them.
            command.env("RAYON_NUM_THREADS", &threads);
        }
        command.stdin(Stdio::piped()).stdout(Stdio::piped());
        Ok(command)
    }
}

fn worker(program: Option<&Path>) -> Result<Command> {
    Ok(Command::new(program.context("its program was not built")?))
}

/// Script of PyTorch's side: in this repository or, where the program was carried to another machine, beside it.
fn script(name: &str) -> PathBuf {
    let here: PathBuf = [env!("CARGO_MANIFEST_DIR"), "pytorch", name]
        .iter()
        .collect();
    if here.is_file() {
        return here;
    }
    let program = std::env::current_exe().ok();
    let beside = program.and_then(|program| Some(program.parent()?.join("pytorch").join(name)));
    beside.filter(|path| path.is_file()).unwrap_or(here)
}

/// A running process; it ends with this value.
pub struct Side {
    pub who: Who,
    /// Name and version that it reports.
    pub version: String,
    child: Child,
    /// Closed to end the process.
    requests: Option<ChildStdin>,
    replies: BufReader<ChildStdout>,
}

impl Side {
    /// Starts it and waits until it is ready.
    pub fn start(who: Who, place: &Place) -> Result<Self> {
        let started = Self::launch(who, place);
        match who {
            Who::Other(Against::Pytorch) => started.map_err(|cause| without_pytorch(&cause)),
            _ => started.with_context(|| format!("cannot start the process for {}", who.name())),
        }
    }

    fn launch(who: Who, place: &Place) -> Result<Self> {
        let mut child = who.command(place)?.spawn()?;
        let (Some(requests), Some(replies)) = (child.stdin.take(), child.stdout.take()) else {
            bail!("it has no pipes"); // Not possible: both were asked for.
        };
        let mut side = Self {
            who,
            version: String::new(),
            child,
            requests: Some(requests),
            replies: BufReader::new(replies),
        };
        side.version = side.reply::<Hello>()?.version;
        Ok(side)
    }

    /// Makes it ready for a case.
    pub fn prepare(&mut self, case: &Case) -> Result<Prepared> {
        self.ask(&Request::Prepare { case: case.clone() })
    }

    /// Runs the case in one of its arms, and says how long each run took. PyTorch gives up after `limit` seconds.
    pub fn run(&mut self, arm: &str, steps: usize, limit: Option<f64>) -> Result<Vec<f64>> {
        let arm = arm.to_string();
        let ran: Ran = self.ask(&Request::Run { arm, steps, limit })?;
        Ok(ran.seconds)
    }

    /// Frees the memory of one of several arms.
    pub fn drop_arm(&mut self, arm: &str) -> Result<()> {
        let arm = arm.to_string();
        self.ask::<Value>(&Request::Drop { arm }).map(drop)
    }

    /// The most memory it has held, in MiB.
    pub fn memory(&self) -> Option<f64> {
        machine::peak_memory_mb(self.child.id())
    }

    /// Whether the process has ended, by itself or by a signal.
    pub fn has_ended(&mut self) -> bool {
        !matches!(self.child.try_wait(), Ok(None))
    }

    /// Sends a request and waits for what belongs to it.
    pub fn ask<T: DeserializeOwned>(&mut self, request: &Request) -> Result<T> {
        let line = serde_json::to_string(request)?;
        let requests = self.requests.as_mut().context("it was told to end")?;
        let sent = writeln!(requests, "{line}").and_then(|()| requests.flush());
        sent.map_err(|error| self.ended().unwrap_or(error.into()))?;
        self.reply()
    }

    fn reply<T: DeserializeOwned>(&mut self) -> Result<T> {
        let mut line = String::new();
        if self.replies.read_line(&mut line)? == 0 {
            return Err(self
                .ended()
                .unwrap_or_else(|| anyhow!("it closed its output")));
        }
        let unreadable = || format!("unexpected reply `{}`", line.trim_end());
        let reply: Value = serde_json::from_str(&line).with_context(unreadable)?;
        if let Some(error) = reply.get("error").and_then(Value::as_str) {
            bail!("{error}");
        }
        serde_json::from_value(reply).with_context(unreadable)
    }

    /// Status of the process, if it has ended.
    fn ended(&mut self) -> Option<anyhow::Error> {
        let status = self.child.wait().ok()?;
        Some(anyhow!(
            "the process for {} ended ({status})",
            self.who.name()
        ))
    }
}

impl Drop for Side {
    fn drop(&mut self) {
        // It ends by itself, with the processes it started, when there are no more requests; but it must not outlive us.
        drop(self.requests.take());
        for _ in 0..200 {
            if !matches!(self.child.try_wait(), Ok(None)) {
                return;
            }
            thread::sleep(Duration::from_millis(10));
        }
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn without_pytorch(cause: &anyhow::Error) -> anyhow::Error {
    anyhow!(
        "`--against pytorch` needs a Python that has PyTorch, and `{}` cannot be used: {cause:#}\n\
         To install it and to name that Python:\n  \
         python3 -m venv target/pytorch\n  \
         target/pytorch/bin/pip install -r xtask/pytorch/requirements.txt\n  \
         export TALLOW_PYTHON=$PWD/target/pytorch/bin/python",
        python().display()
    )
}
