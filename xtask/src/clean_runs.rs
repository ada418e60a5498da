//! `cargo xtask clean-runs`: deletes run records, and nothing else.

use std::collections::HashMap;
use std::fmt::Write;
use std::fs;
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};

use anyhow::{Context, Result, bail};
use clap::Args;
use serde::Serialize;
use tallow_report::Run;

use crate::{output, runs};

/// What `--help` ends with.
pub const EXAMPLES: &str = "Examples:
  cargo xtask clean-runs --unfinished
  cargo xtask clean-runs --keep-last 3 --yes
  cargo xtask clean-runs --experiment quickstart --keep-last 0 --yes

Without --yes nothing is deleted: it shows what would go.";

/// An unfinished run of which a file is younger than this may still be running.
const RECENT: Duration = Duration::from_secs(24 * 3600);

/// Arguments of `clean-runs`.
#[derive(Args, Debug)]
pub struct CleanRunsArgs {
    /// Delete all but the newest N of each variant and seed; 0 deletes all.
    #[arg(long, value_name = "N", required_unless_present = "unfinished")]
    keep_last: Option<usize>,
    /// Delete runs that have not finished; with --keep-last, those and no others.
    #[arg(long)]
    unfinished: bool,
    /// Of this experiment alone.
    #[arg(long, value_name = "EXPERIMENT")]
    experiment: Option<String>,
    /// Unfinished runs, too, that have written something in the last 24 hours and so may be running.
    #[arg(long)]
    recent: bool,
    /// Delete them.
    #[arg(long)]
    yes: bool,
    /// Where the run records are.
    #[arg(long, value_name = "DIR", default_value = "runs")]
    out: PathBuf,
    /// Print one JSON object on standard output, and nothing else there.
    #[arg(long)]
    json: bool,
}

/// What `--json` prints.
#[derive(Serialize)]
struct Outcome {
    /// What goes, or went.
    records: Vec<Record>,
    bytes: u64,
    deleted: bool,
    /// Unfinished runs that may be running and stay.
    left: Vec<PathBuf>,
}

#[derive(Serialize)]
struct Record {
    dir: PathBuf,
    bytes: u64,
    finished: bool,
}

/// Shows what would go, or deletes it.
pub fn clean_runs(args: &CleanRunsArgs) -> Result<()> {
    let found = runs::find(&args.out, args.experiment.as_deref())?;
    let mut left = Vec::new();
    let mut records = Vec::new();
    let mut newer: HashMap<(String, String, u64), usize> = HashMap::new();
    // The newest first, so that those to keep are met before the others.
    for dir in found.into_iter().rev() {
        let run = match Run::read(&dir) {
            Ok(run) => run,
            Err(error) => {
                say!("left alone: {error}");
                continue;
            }
        };
        let finished = run.summary.is_some();
        if args.unfinished && finished {
            continue;
        }
        let newer = newer
            .entry((run.info.experiment, run.info.variant, run.info.seed))
            .or_default();
        *newer += 1;
        if *newer <= args.keep_last.unwrap_or(0) {
            continue;
        }
        let (bytes, written) = measure(&dir)?;
        let age = SystemTime::now()
            .duration_since(written)
            .unwrap_or_default();
        if !finished && !args.recent && age < RECENT {
            left.push(dir);
            continue;
        }
        records.push(Record {
            dir,
            bytes,
            finished,
        });
    }
    records.reverse();
    left.reverse();
    if args.yes {
        for record in &records {
            delete(&record.dir)?;
        }
    }
    let outcome = Outcome {
        bytes: records.iter().map(|record| record.bytes).sum(),
        records,
        deleted: args.yes,
        left,
    };
    if args.json {
        return output::print(&format!("{}\n", serde_json::to_string(&outcome)?));
    }
    output::print(&render(&outcome))
}

/// Bytes of a folder's files, and when one of them was written last. Links are not followed.
fn measure(dir: &Path) -> Result<(u64, SystemTime)> {
    let (mut bytes, mut last) = (0, SystemTime::UNIX_EPOCH);
    let read = || format!("cannot read {}", dir.display());
    for entry in fs::read_dir(dir).with_context(read)? {
        let entry = entry.with_context(read)?;
        let about = entry.metadata().with_context(read)?;
        if about.is_dir() {
            let (more, later) = measure(&entry.path())?;
            bytes += more;
            last = last.max(later);
        } else {
            bytes += about.len();
            last = last.max(about.modified().unwrap_or(SystemTime::UNIX_EPOCH));
        }
    }
    Ok((bytes, last))
}

/// Deletes a run record. What says that it is one goes last, so that a record half deleted is found again.
fn delete(dir: &Path) -> Result<()> {
    let failed = || format!("cannot delete {}", dir.display());
    if fs::symlink_metadata(dir).with_context(failed)?.is_symlink() {
        bail!("{}: is a link and no run record", dir.display());
    }
    let (mut first, mut last) = (Vec::new(), Vec::new());
    for entry in fs::read_dir(dir).with_context(failed)? {
        let path = entry.with_context(failed)?.path();
        let marks = ["environment.json", "config.toml", "metrics.jsonl"];
        let is_mark = path
            .file_name()
            .is_some_and(|n| marks.iter().any(|m| n == *m));
        if is_mark {
            last.push(path)
        } else {
            first.push(path)
        }
    }
    for path in first.into_iter().chain(last) {
        let about = fs::symlink_metadata(&path).with_context(failed)?;
        if about.is_dir() {
            fs::remove_dir_all(&path).with_context(failed)?;
        } else {
            fs::remove_file(&path).with_context(failed)?;
        }
    }
    fs::remove_dir(dir).with_context(failed)
}

fn render(outcome: &Outcome) -> String {
    let mut text = String::new();
    for record in &outcome.records {
        let unfinished = if record.finished { "" } else { ", unfinished" };
        let _ = writeln!(
            text,
            "{:>10}  {}{unfinished}",
            size(record.bytes),
            record.dir.display()
        );
    }
    for dir in &outcome.left {
        let _ = writeln!(
            text,
            "      left  {}, unfinished and written to in the last 24 hours: it may be running (--recent takes it too)",
            dir.display()
        );
    }
    let runs = match outcome.records.len() {
        1 => "1 run".to_string(),
        n => format!("{n} runs"),
    };
    let bytes = size(outcome.bytes);
    let _ = match (outcome.records.is_empty(), outcome.deleted) {
        (true, _) => writeln!(text, "nothing to delete"),
        (false, true) => writeln!(text, "deleted {runs}, {bytes}"),
        (false, false) => writeln!(text, "would delete {runs}, {bytes}; --yes deletes them"),
    };
    text
}

/// `1.5 MB`.
pub fn size(bytes: u64) -> String {
    let value = bytes as f64;
    match bytes {
        ..1_000 => format!("{bytes} B"),
        1_000..1_000_000 => format!("{:.1} kB", value / 1e3),
        1_000_000..1_000_000_000 => format!("{:.1} MB", value / 1e6),
        _ => format!("{:.1} GB", value / 1e9),
    }
}

#[cfg(test)]
mod tests {
    use super::size;

    #[test]
    fn sizes() {
        assert_eq!(
            [12, 1_500, 2_000_000, 31_000_000_000].map(size),
            ["12 B", "1.5 kB", "2.0 MB", "31.0 GB"]
        );
    }
}
