//! `cargo xtask runs`: the run records there are.

use std::cmp::Ordering;
use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail};
use clap::Args;
use serde::Serialize;
use tallow_report::{Epoch, Run};

use crate::table::{align_right, new_table, percent, thousands};
use crate::{output, suggest};

/// What `--help` ends with.
pub const EXAMPLES: &str = "Examples:
  cargo xtask runs
  cargo xtask runs quickstart --sort test_accuracy
  cargo xtask runs --filter cnn --sort seconds --reverse
  cargo xtask runs --json | jq -r '.[] | select(.finished) | .dir'

cargo xtask clean-runs deletes records.";

/// What `--sort` takes beside the metrics.
const COLUMNS: [&str; 4] = ["time", "seed", "epochs", "seconds"];

/// Arguments of `runs`.
#[derive(Args, Debug)]
pub struct RunsArgs {
    /// Those of this experiment alone.
    #[arg(value_name = "EXPERIMENT")]
    experiment: Option<String>,
    /// By time (the newest last), or with the greatest first by seed, epochs, seconds or any metric of summary.json, such as
    /// test_accuracy. Runs that do not have it come last.
    #[arg(long, value_name = "METRIC", default_value = "time")]
    sort: String,
    /// The other way round.
    #[arg(long)]
    reverse: bool,
    /// Only those in whose experiment, variant, model, dataset, commit or folder this occurs.
    #[arg(long, value_name = "TEXT")]
    filter: Option<String>,
    /// Where the run records are.
    #[arg(long, value_name = "DIR", default_value = "runs")]
    out: PathBuf,
    /// Print a JSON array on standard output, and nothing else there.
    #[arg(long)]
    json: bool,
}

/// A row; with `--json`, an element.
#[derive(Debug, Serialize)]
struct Row {
    dir: PathBuf,
    /// When it began, UTC.
    time: String,
    experiment: String,
    variant: String,
    seed: u64,
    model: String,
    dataset: String,
    finished: bool,
    epochs: usize,
    seconds: f64,
    commit: Option<String>,
    /// Of `summary.json`, or of the last epoch where the run has not finished.
    metrics: std::collections::BTreeMap<String, Option<f64>>,
}

/// Lists the records.
pub fn runs(args: &RunsArgs) -> Result<()> {
    let mut rows = Vec::new();
    for dir in find(&args.out, args.experiment.as_deref())? {
        match Run::read(&dir) {
            Ok(run) => rows.push(row(run)),
            Err(error) => say!("skipped: {error}"),
        }
    }
    if let Some(text) = &args.filter {
        let text = text.to_lowercase();
        rows.retain(|row| row.texts().any(|t| t.to_lowercase().contains(&text)));
    }
    sort(&mut rows, &args.sort, args.reverse)?;
    if args.json {
        return output::print(&format!("{}\n", serde_json::to_string(&rows)?));
    }
    output::print(&render(&rows, &args.sort))
}

/// The folders of the run records under `out`, oldest first: those with an `environment.json` and a `config.toml`.
///
/// Fails when there is no such folder, or no such experiment in it.
pub fn find(out: &Path, experiment: Option<&str>) -> Result<Vec<PathBuf>> {
    if !out.is_dir() {
        bail!(
            "there are no run records, since there is no folder {}; cargo xtask run quickstart makes some, --out names another folder",
            out.display()
        );
    }
    let experiments = folders(out)?;
    let name = |dir: &PathBuf| dir.file_name().map(|n| n.to_string_lossy().into_owned());
    let experiments: Vec<PathBuf> = match experiment {
        None => experiments,
        Some(wanted) => {
            let known: Vec<String> = experiments.iter().filter_map(name).collect();
            if !known.iter().any(|known| known == wanted) {
                let known: Vec<&str> = known.iter().map(String::as_str).collect();
                bail!(
                    "no runs in {}: {}",
                    out.display(),
                    suggest::unknown("experiment", wanted, &known)
                );
            }
            vec![out.join(wanted)]
        }
    };
    let mut found = Vec::new();
    for experiment in experiments {
        found.extend(
            folders(&experiment)?
                .into_iter()
                .filter(|dir| is_record(dir)),
        );
    }
    // The names begin with the time.
    found.sort_by(|a, b| a.file_name().cmp(&b.file_name()));
    Ok(found)
}

/// Folders in a folder, in order; links are not followed.
fn folders(dir: &Path) -> Result<Vec<PathBuf>> {
    let mut found = Vec::new();
    let read = || format!("cannot read {}", dir.display());
    for entry in fs::read_dir(dir).with_context(read)? {
        let entry = entry.with_context(read)?;
        if entry.file_type().with_context(read)?.is_dir() {
            found.push(entry.path());
        }
    }
    found.sort();
    Ok(found)
}

fn is_record(dir: &Path) -> bool {
    ["environment.json", "config.toml"]
        .iter()
        .all(|name| dir.join(name).is_file())
}

fn row(run: Run) -> Row {
    let finished = run.summary.is_some();
    let seconds = run.epochs.iter().map(|epoch| epoch.seconds).sum();
    let metrics = match (run.summary, run.epochs.last()) {
        (Some(summary), _) => summary.metrics,
        (None, Some(epoch)) => of_epoch(epoch),
        (None, None) => Default::default(),
    };
    Row {
        time: time(&run.dir),
        dir: run.dir,
        experiment: run.info.experiment,
        variant: run.info.variant,
        seed: run.info.seed,
        model: run.info.model,
        dataset: run.info.dataset.name,
        finished,
        epochs: run.epochs.len(),
        seconds,
        commit: run.environment.commit,
        metrics,
    }
}

fn of_epoch(epoch: &Epoch) -> std::collections::BTreeMap<String, Option<f64>> {
    let metrics = [
        ("train_loss", epoch.train_loss),
        ("train_accuracy", Some(epoch.train_accuracy)),
        ("test_loss", epoch.test_loss),
        ("test_accuracy", epoch.test_accuracy),
        ("test_top5", epoch.test_top5),
    ];
    let known = metrics.into_iter().filter(|(_, value)| value.is_some());
    known
        .map(|(name, value)| (name.to_string(), value))
        .collect()
}

/// `20260131T235959Z-...` as `2026-01-31 23:59:59`; as it is where it is no time.
fn time(dir: &Path) -> String {
    let name = dir.file_name().unwrap_or_default().to_string_lossy();
    let digits: String = name.chars().take(15).filter(char::is_ascii_digit).collect();
    if digits.len() != 14 {
        return name.into_owned();
    }
    let part = |from, to| &digits[from..to];
    format!(
        "{}-{}-{} {}:{}:{}",
        part(0, 4),
        part(4, 6),
        part(6, 8),
        part(8, 10),
        part(10, 12),
        part(12, 14)
    )
}

impl Row {
    fn texts(&self) -> impl Iterator<Item = String> {
        [
            self.experiment.clone(),
            self.variant.clone(),
            self.model.clone(),
            self.dataset.clone(),
            self.commit.clone().unwrap_or_default(),
            self.dir.display().to_string(),
        ]
        .into_iter()
    }

    fn figure(&self, name: &str) -> Option<f64> {
        match name {
            "seed" => Some(self.seed as f64),
            "epochs" => Some(self.epochs as f64),
            "seconds" => Some(self.seconds),
            name => self.metrics.get(name).copied().flatten(),
        }
    }
}

/// Fails when nothing by that name is in any row.
fn sort(rows: &mut [Row], by: &str, reverse: bool) -> Result<()> {
    if by == "time" {
        if reverse {
            rows.reverse();
        }
        return Ok(());
    }
    let metrics = rows.iter().flat_map(|row| row.metrics.keys());
    let mut known: BTreeSet<&str> = metrics.map(String::as_str).collect();
    known.extend(COLUMNS);
    if !known.contains(by) && !rows.is_empty() {
        let known: Vec<&str> = known.into_iter().collect();
        bail!(suggest::unknown("metric", by, &known));
    }
    rows.sort_by(|a, b| match (a.figure(by), b.figure(by)) {
        (Some(a), Some(b)) if reverse => a.total_cmp(&b),
        (Some(a), Some(b)) => b.total_cmp(&a),
        // What is not there comes last either way.
        (a, b) => b.is_some().cmp(&a.is_some()),
    });
    Ok(())
}

fn render(rows: &[Row], sorted_by: &str) -> String {
    let usual = [
        "time",
        "seed",
        "epochs",
        "seconds",
        "test_accuracy",
        "test_loss",
    ];
    let extra = Some(sorted_by).filter(|by| !usual.contains(by));
    let mut header = vec![
        "began (UTC)",
        "experiment",
        "variant",
        "seed",
        "model",
        "epochs",
        "accuracy",
        "loss",
        "seconds",
        "commit",
    ];
    header.extend(extra);
    let mut table = new_table(&header);
    let mut unfinished = 0;
    for row in rows {
        let figure = |name: &str, show: fn(f64) -> String| match row.figure(name) {
            Some(value) => show(value),
            None => "—".to_string(),
        };
        let epochs = match row.finished {
            true => row.epochs.to_string(),
            false => {
                unfinished += 1;
                format!("{}, unfinished", row.epochs)
            }
        };
        let commit = row.commit.as_deref().map_or("—".to_string(), short);
        let mut cells = vec![
            row.time.clone(),
            row.experiment.clone(),
            row.variant.clone(),
            row.seed.to_string(),
            row.model.clone(),
            epochs,
            figure("test_accuracy", percent),
            figure("test_loss", |v| format!("{v:.4}")),
            figure("seconds", |v| format!("{v:.1}")),
            commit,
        ];
        cells.extend(extra.map(|by| figure(by, number)));
        table.add_row(cells);
    }
    for column in [3, 5, 6, 7, 8, 10] {
        align_right(&mut table, column);
    }
    let count = match rows.len().cmp(&1) {
        Ordering::Less => "no runs".to_string(),
        Ordering::Equal => "1 run".to_string(),
        Ordering::Greater => format!("{} runs", thousands(rows.len() as u64)),
    };
    match unfinished {
        0 => format!("{table}\n{count}\n"),
        n => format!("{table}\n{count}, {n} unfinished: stopped, or still running\n"),
    }
}

/// As many digits as say something.
fn number(value: f64) -> String {
    if value == value.trunc() && value.abs() < 1e15 {
        format!("{value}")
    } else if (1e-3..1e6).contains(&value.abs()) {
        format!("{value:.4}")
    } else {
        format!("{value:.3e}")
    }
}

/// `3681b5e`, with `-dirty` after it where there is that.
fn short(commit: &str) -> String {
    let (hash, dirty) = match commit.strip_suffix("-dirty") {
        Some(hash) => (hash, "-dirty"),
        None => (commit, ""),
    };
    format!("{}{dirty}", hash.chars().take(7).collect::<String>())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_tell_the_time() {
        assert_eq!(
            time(Path::new("a/20260131T235958Z-cnn-s0")),
            "2026-01-31 23:59:58"
        );
        assert_eq!(time(Path::new("a/other")), "other");
        assert_eq!(time(Path::new("a/ü260131T2359")), "ü260131T2359");
    }

    #[test]
    fn commits_and_numbers_are_short() {
        assert_eq!(short("3681b5e0123-dirty"), "3681b5e-dirty");
        assert_eq!(short("ab"), "ab");
        assert_eq!(
            [6442.0, 0.12345, 1.5e-7, -2.0].map(number),
            ["6442", "0.1235", "1.500e-7", "-2"]
        );
    }
}
