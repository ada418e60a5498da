//! What is told of runs that have finished.

use std::path::PathBuf;

use tallow_record::{Run, percent};

use crate::error::Result;
use crate::experiment::Experiment;
use crate::progress::Progress;
use crate::{outcome, report};

/// Wall time of the runs that had finished before, in seconds.
pub(super) fn seconds_of(runs: &[Run], finished: &[Option<PathBuf>]) -> f64 {
    let kept = |run: &&Run| finished.iter().flatten().any(|folder| *folder == run.dir);
    let kept = runs.iter().filter(kept);
    kept.flat_map(|run| &run.epochs)
        .map(|epoch| epoch.seconds)
        .sum()
}

/// Tells the results of the runs that had finished when the runner was stopped, and writes their report.
pub(super) fn report_finished(
    experiment: &Experiment,
    folders: &[PathBuf],
    planned: usize,
    progress: &mut dyn Progress,
) -> Result<()> {
    if folders.is_empty() {
        return Ok(());
    }
    let runs: Vec<Run> = folders.iter().map(Run::read).collect::<Result<_, _>>()?;
    progress.note(&format!("{} of {planned} runs have finished:", runs.len()));
    for variant in outcome::of_runs(experiment, &runs) {
        if let Some(accuracy) = variant.metrics.get("test_accuracy") {
            progress.note(&format!(
                "  {}: test accuracy {}, seeds {}",
                variant.name,
                percent(accuracy.mean),
                list(&variant.seeds)
            ));
        }
    }
    write_report(experiment, &runs, "report of these", progress);
    Ok(())
}

/// Writes the report and tells its place. The runs have finished: a report that cannot be written is a warning.
pub(super) fn write_report(
    experiment: &Experiment,
    runs: &[Run],
    title: &str,
    progress: &mut dyn Progress,
) {
    progress.note(&match report::of_experiment(experiment, runs) {
        Ok(page) => format!("{title}: {}", page.display()),
        Err(error) => format!("warning: there is no report: {}", error.message()),
    });
}

fn list(seeds: &[u64]) -> String {
    let seeds: Vec<String> = seeds.iter().map(u64::to_string).collect();
    seeds.join(", ")
}
