//! `tallow clean-runs`: deletes run records, and nothing else.

use std::collections::HashMap;
use std::fmt::Write;
use std::fs;
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};

use anyhow::{Context, Result, bail};
use clap::Args;
use serde::Serialize;
use tallow_record::Run;

use crate::commands::runs;
use crate::console::status;
use crate::ending::Ending;
use crate::output;
use crate::program::Program;
use crate::text::size;

/// Examples at the end of the help text.
pub const EXAMPLES: &str = "Examples:
  {tallow} clean-runs --unfinished
  {tallow} clean-runs --keep-last 3 --yes
  {tallow} clean-runs --experiment quickstart --keep-last 0 --yes

Without --yes nothing is deleted: the records that would be deleted are listed.";

/// An unfinished run with a file younger than this may still be running.
const RECENT: Duration = Duration::from_secs(24 * 3600);

/// Arguments of `clean-runs`.
#[derive(Args, Debug)]
pub struct CleanRunsArgs {
    /// Delete all but the newest N records of each variant and seed; 0 deletes all.
    #[arg(long, value_name = "N")]
    keep_last: Option<usize>,
    /// Delete only runs that have not finished.
    #[arg(long)]
    unfinished: bool,
    /// Only records of this experiment.
    #[arg(long, value_name = "EXPERIMENT")]
    experiment: Option<String>,
    /// Delete unfinished runs too that have written a file in the last 24 hours and may still be running.
    #[arg(long)]
    recent: bool,
    /// Delete the records.
    #[arg(long)]
    yes: bool,
    /// Folder of the run records.
    #[arg(long, value_name = "DIR", default_value = "runs")]
    out: PathBuf,
    /// Print one JSON object on standard output, and nothing else there.
    #[arg(long)]
    json: bool,
}

/// Output of `--json`.
#[derive(Serialize)]
struct Outcome {
    /// Records that are deleted, or would be.
    records: Vec<Record>,
    bytes: u64,
    deleted: bool,
    /// Unfinished runs that may be running and are kept.
    left: Vec<PathBuf>,
}

#[derive(Serialize)]
struct Record {
    dir: PathBuf,
    bytes: u64,
    finished: bool,
}

/// Lists the records to delete, or deletes them.
pub fn clean_runs(args: &CleanRunsArgs, program: &Program) -> Result<Ending> {
    if args.keep_last.is_none() && !args.unfinished {
        bail!("no records selected: pass --unfinished or --keep-last N");
    }
    let found = runs::find(&args.out, args.experiment.as_deref(), program)?;
    let mut left = Vec::new();
    let mut records = Vec::new();
    let mut newer: HashMap<(String, String, u64), usize> = HashMap::new();
    // Newest first, so that the records to keep come before the others.
    for dir in found.into_iter().rev() {
        let run = match Run::read(&dir) {
            Ok(run) => run,
            Err(error) => {
                status!("skipped: {error}");
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
    match args.json {
        true => output::json(&outcome)?,
        false => output::print(&render(&outcome))?,
    }
    Ok(Ending::Done)
}

/// Bytes of the files in a folder, and the time of the last change. Links are not followed.
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

/// Deletes a run record. The files that mark it as one are deleted last, so that a half-deleted record is found again.
fn delete(dir: &Path) -> Result<()> {
    let failed = || format!("cannot delete {}", dir.display());
    if fs::symlink_metadata(dir).with_context(failed)?.is_symlink() {
        bail!("{}: a link, no run record", dir.display());
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
            "      kept  {}, unfinished, changed in the last 24 hours: it may be running (--recent deletes it too)",
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
