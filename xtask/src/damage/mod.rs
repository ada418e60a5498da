//! `cargo xtask damage`: damaged files of the kinds that are read from others, to find faults of the readers.

mod change;
mod checkpoints;
mod files;
mod target;

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::Path;
use std::process::Command;
use std::sync::mpsc::{self, RecvTimeoutError};
use std::time::{Duration, Instant};
use std::{env, fs, thread};

use anyhow::{Result, bail};
use clap::{Args, ValueEnum};
use rand_chacha::ChaCha8Rng;
use rand_core::SeedableRng;
use tallow_cli::{Ending, output};

use checkpoints::Checkpoints;
use files::{Parquet, Pictures};
use target::Target;

/// Examples of the command.
pub const EXAMPLES: &str = "Examples:
  {tallow} damage pictures --count 2000000
  {tallow} damage checkpoints --count 2000000
  {tallow} damage parquet --count 200000
  {tallow} damage pictures --first 4711 --count 1";

/// Arguments of `damage`.
#[derive(Args, Debug)]
pub struct DamageArgs {
    /// Kind of the files.
    kind: Kind,
    /// Number of damaged files.
    #[arg(long, default_value_t = 20_000, value_name = "N")]
    count: u64,
    /// Seed of the first file; each next file has the next seed.
    #[arg(long, default_value_t = 0, value_name = "SEED")]
    first: u64,
}

#[derive(Clone, Copy, Debug, ValueEnum)]
enum Kind {
    /// JPEG, PNG, WebP, GIF, TIFF, BMP and PNM files.
    Pictures,
    /// Files of `torch.save` in both formats, safetensors, and the index of several files.
    Checkpoints,
    /// Parquet files with images.
    Parquet,
}

/// Options of the allocator for a process that measures memory: freed memory goes back to the system after 0 ms, and large blocks are not
/// parts of a reserved gigabyte, all of which may be written to when a small part of it is zeroed.
const ALLOCATOR: [(&str, &str); 2] = [
    ("MIMALLOC_PURGE_DELAY", "0"),
    ("MIMALLOC_DISALLOW_ARENA_ALLOC", "1"),
];

/// Longest time for one file, of the processor where the system tells it, so that other programs do not count.
const LONGEST: Duration = Duration::from_secs(2);

/// Time after which a file counts as endless.
const ENDLESS: Duration = Duration::from_secs(60);

/// Most memory for one file, in bytes, beyond that of the process before the first file.
const MOST_MEMORY: u64 = 1 << 30;

/// One file that was tried.
struct Tried {
    seed: u64,
    time: Duration,
    /// Whether the file could be read; `None` after a panic.
    read: Option<bool>,
    /// Peak of the process's memory while the file was read, where the system tells it.
    peak: Option<u64>,
}

/// Reads damaged files, and reports those that are neither read nor refused in bounded time and memory.
pub fn damage(args: &DamageArgs) -> Result<Ending> {
    if ALLOCATOR
        .iter()
        .any(|(name, _)| env::var_os(name).is_none())
    {
        return in_child();
    }
    let crates = Path::new(env!("CARGO_MANIFEST_DIR")).join("../crates");
    let mut target: Box<dyn Target> = match args.kind {
        Kind::Pictures => Box::new(Pictures::new(&crates)?),
        Kind::Checkpoints => Box::new(Checkpoints::new(&crates)?),
        Kind::Parquet => Box::new(Parquet::new(&crates)?),
    };
    let seeds = args.first..args.first.saturating_add(args.count);
    let started = Instant::now();
    let mut tally = Tally::new(args.first);
    let (send, receive) = mpsc::channel();
    let reader = thread::spawn(move || -> Result<()> {
        for seed in seeds {
            if send.send(tried(&mut *target, seed)?).is_err() {
                break;
            }
        }
        Ok(())
    });
    loop {
        match receive.recv_timeout(ENDLESS) {
            Ok(tried) => tally.add(&tried),
            Err(RecvTimeoutError::Disconnected) => break,
            // The thread cannot be stopped; it ends with the process.
            Err(RecvTimeoutError::Timeout) => bail!(
                "seed {}: not done after {} s",
                tally.next,
                ENDLESS.as_secs()
            ),
        }
    }
    match reader.join() {
        Ok(result) => result?,
        Err(_) => bail!("seed {}: the command itself failed", tally.next),
    }
    output::print(&tally.render(started.elapsed()))?;
    Ok(match tally.faults {
        0 => Ending::Done,
        _ => Ending::CheckFailed,
    })
}

/// Repeats the command in a process whose allocator gives freed memory back at once. Otherwise the memory of earlier files would count as
/// that of later ones, or hide it.
fn in_child() -> Result<Ending> {
    let mut command = Command::new(env::current_exe()?);
    let status = command
        .args(env::args_os().skip(1))
        .envs(ALLOCATOR)
        .status()?;
    Ok(match status.success() {
        true => Ending::Done,
        false => Ending::CheckFailed,
    })
}

/// Makes and reads the file of a seed.
fn tried(target: &mut dyn Target, seed: u64) -> Result<Tried> {
    let mut rng = ChaCha8Rng::seed_from_u64(seed);
    let told = forget_peak();
    let (started, computed) = (Instant::now(), processor_time());
    let read = match catch_unwind(AssertUnwindSafe(|| target.read(&mut rng))) {
        Ok(read) => Some(read?),
        Err(_) => None,
    };
    Ok(Tried {
        seed,
        time: match (computed, processor_time()) {
            (Some(before), Some(after)) => after.saturating_sub(before),
            _ => started.elapsed(),
        },
        read,
        peak: told.then(peak_memory).flatten(),
    })
}

/// Counts of the files so far.
struct Tally {
    read: u64,
    refused: u64,
    faults: u64,
    slowest: (Duration, u64),
    before: Option<u64>,
    peak: Option<u64>,
    /// Seed of the file that comes next.
    next: u64,
}

impl Tally {
    fn new(first: u64) -> Self {
        let before = peak_memory();
        Self {
            read: 0,
            refused: 0,
            faults: 0,
            slowest: (Duration::ZERO, first),
            before,
            peak: before,
            next: first,
        }
    }

    fn add(&mut self, tried: &Tried) {
        let seed = tried.seed;
        let mut faults = Vec::new();
        match tried.read {
            Some(true) => self.read += 1,
            Some(false) => self.refused += 1,
            None => faults.push("a panic".to_string()),
        }
        if tried.time > LONGEST {
            faults.push(format!("{:.1} s", tried.time.as_secs_f64()));
        }
        let limit = self.before.map(|before| before + MOST_MEMORY);
        if limit.is_some() && tried.peak > limit {
            faults.push(format!("{} MB", tried.peak.unwrap_or(0) >> 20));
        }
        self.peak = self.peak.max(tried.peak);
        self.slowest = self.slowest.max((tried.time, seed));
        self.faults += u64::from(!faults.is_empty());
        self.next = seed + 1;
        if !faults.is_empty() {
            tracing::error!(seed, "{}", faults.join(", "));
        }
    }

    fn render(&self, elapsed: Duration) -> String {
        let peak = match self.peak {
            Some(bytes) => format!("{} MB", bytes >> 20),
            None => "unknown on this system".into(),
        };
        format!(
            "{} files refused, {} read, {} faults in {:.0} s\nslowest file {:.0} ms (seed {}), peak memory {peak}\n",
            self.refused,
            self.read,
            self.faults,
            elapsed.as_secs_f64(),
            self.slowest.0.as_secs_f64() * 1e3,
            self.slowest.1,
        )
    }
}

/// Time for which this thread has computed. Linux tells it.
fn processor_time() -> Option<Duration> {
    let stat = fs::read_to_string("/proc/thread-self/schedstat").ok()?;
    let nanoseconds = stat.split_whitespace().next()?.parse().ok()?;
    Some(Duration::from_nanos(nanoseconds))
}

/// Begins anew with the largest resident memory of this process. Returns whether that was possible.
fn forget_peak() -> bool {
    fs::write("/proc/self/clear_refs", "5").is_ok()
}

/// Largest resident memory of this process since `forget_peak`, in bytes. Linux tells it.
fn peak_memory() -> Option<u64> {
    let status = fs::read_to_string("/proc/self/status").ok()?;
    let line = status.lines().find_map(|l| l.strip_prefix("VmHWM:"))?;
    let kilobytes: u64 = line.split_whitespace().next()?.parse().ok()?;
    Some(kilobytes << 10)
}
