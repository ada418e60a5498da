//! `tallow runs`: lists the run records.

use std::cmp::Ordering;
use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

use anyhow::{Result, anyhow, bail};
use clap::Args;
use serde::Serialize;
use tallow_experiment::suggest;
use tallow_record::{EpochRow, Error, Run, find_runs, percent, started, thousands};

use crate::console::status;
use crate::ending::Ending;
use crate::output;
use crate::program::Program;
use crate::table::{align_right, new_table};

/// Examples at the end of the help text.
pub const EXAMPLES: &str = "Examples:
  {tallow} runs
  {tallow} runs quickstart --sort test_accuracy
  {tallow} runs --filter cnn --sort seconds --reverse
  {tallow} runs --json | jq -r '.[] | select(.finished) | .dir'

{tallow} clean-runs deletes records.";

/// Columns that `--sort` takes besides the metrics.
const COLUMNS: [&str; 4] = ["time", "seed", "epochs", "seconds"];

/// Arguments of `runs`.
#[derive(Args, Debug)]
pub struct RunsArgs {
    /// Only runs of this experiment.
    #[arg(value_name = "EXPERIMENT")]
    experiment: Option<String>,
    /// Sort by time (the newest last), or with the largest first by seed, epochs, seconds or any metric of summary.json, such as
    /// test_accuracy. Runs without the metric come last.
    #[arg(long, value_name = "METRIC", default_value = "time")]
    sort: String,
    /// Reverse the order.
    #[arg(long)]
    reverse: bool,
    /// Only runs whose experiment, variant, model, dataset, commit or folder contains this text.
    #[arg(long, value_name = "TEXT")]
    filter: Option<String>,
    /// Folder of the run records.
    #[arg(long, value_name = "DIR", default_value = "runs")]
    out: PathBuf,
    /// Print a JSON array on standard output, and nothing else there.
    #[arg(long)]
    json: bool,
}

/// Row of the table, and element of the output of `--json`.
#[derive(Debug, Serialize)]
struct Row {
    dir: PathBuf,
    /// Start time in UTC.
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
    /// Metrics of `summary.json`, or of the last epoch where the run has not finished.
    metrics: BTreeMap<String, Option<f64>>,
}

/// Lists the run records.
pub fn runs(args: &RunsArgs, program: &Program) -> Result<Ending> {
    let mut rows = Vec::new();
    for dir in find(&args.out, args.experiment.as_deref(), program)? {
        match Run::read(&dir) {
            Ok(run) => rows.push(row(run)),
            Err(error) => status!("skipped: {error}"),
        }
    }
    if let Some(text) = &args.filter {
        let text = text.to_lowercase();
        rows.retain(|row| row.texts().any(|t| t.to_lowercase().contains(&text)));
    }
    sort(&mut rows, &args.sort, args.reverse)?;
    match args.json {
        true => output::json(&rows)?,
        false => output::print(&render(&rows, &args.sort))?,
    }
    Ok(Ending::Done)
}

/// Folders of the run records under `out`, oldest first, with advice in the errors.
pub fn find(out: &Path, experiment: Option<&str>, program: &Program) -> Result<Vec<PathBuf>> {
    find_runs(out, experiment).map_err(|error| match error {
        Error::NoRunsFolder { dir } => anyhow!(
            "there are no run records, since there is no folder {}; `{} run quickstart` makes some, --out names another folder",
            dir.display(),
            program.name
        ),
        Error::UnknownExperiment { dir, name, known } => {
            let known: Vec<&str> = known.iter().map(String::as_str).collect();
            anyhow!(
                "no runs in {}: {}",
                dir.display(),
                suggest::unknown("experiment", &name, &known)
            )
        }
        other => other.into(),
    })
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
        time: started(&run.dir),
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

/// Metrics of an epoch that a summary has too.
fn of_epoch(epoch: &EpochRow) -> BTreeMap<String, Option<f64>> {
    let metrics = epoch.metrics();
    let metrics = metrics.filter(|(metric, value)| metric.in_summary && value.is_finite());
    metrics
        .map(|(metric, value)| (metric.name.to_string(), Some(value)))
        .collect()
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

/// Sorts by a column or metric; fails when no row has it.
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
        // Missing values come last in both orders.
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

/// A number with a sensible number of digits.
fn number(value: f64) -> String {
    if value == value.trunc() && value.abs() < 1e15 {
        format!("{value}")
    } else if (1e-3..1e6).contains(&value.abs()) {
        format!("{value:.4}")
    } else {
        format!("{value:.3e}")
    }
}

/// Seven digits of a commit, and `-dirty` where the commit ends with it.
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
    fn commits_and_numbers_are_short() {
        assert_eq!(short("3681b5e0123-dirty"), "3681b5e-dirty");
        assert_eq!(short("ab"), "ab");
        assert_eq!(
            [6442.0, 0.12345, 1.5e-7, -2.0].map(number),
            ["6442", "0.1235", "1.500e-7", "-2"]
        );
    }
}
