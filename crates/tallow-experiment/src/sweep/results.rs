//! Results of a sweep: its table, as a file and as a page.

use std::cmp::Ordering;
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use tallow_record::{
    Metric, Run, SweepParameter, SweepResults, SweepScale, SweepState, SweepTrial, Varies,
};
use tallow_train::{Monitor, experiment_folder};

use super::parameter::{Parameter, Range};
use super::plan::{Sweep, Trial};
use super::records::{Reached, Record, Records};
use super::rungs::order;
use super::standing::{Begun, standing};
use crate::error::{Error, Result};
use crate::report;

/// Number of trials whose runs the page describes one by one.
const DESCRIBED: usize = 8;

/// Results of a sweep from the records below the folders `outs`, such as those of its shards, and messages about records that cannot be
/// read. Nothing is trained.
///
/// # Errors
/// [`Error::RunRecord`] when a folder has no records of the experiment, or when trials were trained on different data.
pub fn collect(sweep: &Sweep, outs: &[PathBuf]) -> Result<(SweepResults, Vec<String>)> {
    for out in outs {
        let folder = experiment_folder(out, &sweep.experiment.name);
        if !folder.is_dir() {
            return Err(Error::RunRecord(format!(
                "{}: no such folder: expected the folder of run records that a shard wrote to, which has the records of each experiment in a folder \
                 of its own",
                folder.display()
            )));
        }
    }
    let records = Records::read(sweep, outs, &Default::default(), None)?;
    check_data(sweep, &records)?;
    let validated = sweep.has_validation();
    let validated = validated.unwrap_or_else(|| records.all().any(has_validation));
    let metric = sweep.metric(validated)?;
    let results = gather(sweep, &records, &standing(sweep, &records, metric), metric)?;
    Ok((results, records.damaged))
}

fn has_validation(record: &Record) -> bool {
    let mut rows = record.run.epochs.iter();
    rows.any(|row| row.validation_loss.is_some())
}

/// Refuses trials that would have the same data, and had not.
fn check_data(sweep: &Sweep, records: &Records) -> Result<()> {
    let mut known: Vec<(usize, &Run)> = Vec::new();
    for trial in 0..sweep.trials.len() {
        for record in records.of(trial).iter().flatten() {
            let data = |trial: usize| sweep.experiment.variants.get(trial).map(|v| &v.recipe.data);
            let (run, digest) = (&record.run, &record.run.info.dataset.digest);
            match known.iter().find(|(other, _)| data(*other) == data(trial)) {
                None => known.push((trial, run)),
                Some((_, other)) if other.info.dataset.digest == *digest => {}
                Some((_, other)) => {
                    return Err(Error::RunRecord(format!(
                        "{} and {} were trained on different data (digests {} and {digest}): expected trials of the same data",
                        other.dir.display(),
                        run.dir.display(),
                        other.info.dataset.digest
                    )));
                }
            }
        }
    }
    Ok(())
}

/// Writes `sweep.json` and the page `sweep.html` beside the records of the experiment below `out`. Returns their paths; there is no page
/// without a trial that has finished.
///
/// The page describes the best trials one by one, from the records that the results name.
pub fn write(
    sweep: &Sweep,
    results: &SweepResults,
    out: &Path,
) -> Result<(PathBuf, Option<PathBuf>)> {
    let folder = experiment_folder(out, &sweep.experiment.name);
    let (table, page) = (folder.join("sweep.json"), folder.join("sweep.html"));
    results.write(&table)?;
    let finished = (results.trials.iter()).filter(|trial| trial.state == SweepState::Finished);
    let folders = finished.take(DESCRIBED).flat_map(|trial| &trial.runs);
    let runs: Vec<Run> = folders.map(Run::read).collect::<Result<_, _>>()?;
    if runs.is_empty() {
        return Ok((table, None));
    }
    report::write_sweep(&page, &runs, &sweep.experiment, results)?;
    Ok((table, Some(page)))
}

/// Results of the trials in this standing.
pub(super) fn gather(
    sweep: &Sweep,
    records: &Records,
    begun: &[Begun],
    metric: Monitor,
) -> Result<SweepResults> {
    let (mut trials, mut missing): (Vec<SweepTrial>, Vec<usize>) = Default::default();
    // The last rung of a trial counts.
    for (number, rung) in begun.iter().enumerate().rev() {
        for (trial, reached) in &rung.trials {
            let Some(of_sweep) = sweep.trials.get(*trial) else {
                continue;
            };
            let listed = trials.iter().any(|t| t.trial == of_sweep.number);
            if listed || missing.contains(&of_sweep.number) {
                continue;
            }
            let Reached::Value(value) = reached else {
                missing.push(of_sweep.number);
                continue;
            };
            let records = records.of(*trial);
            let epochs = records.iter().flatten().map(|record| epochs(record, rung));
            trials.push(SweepTrial {
                trial: of_sweep.number,
                name: of_sweep.name(),
                settings: settings(of_sweep)?,
                state: state(records, rung.epochs.is_some() && rung.is_complete()),
                rung: number + 1,
                epochs: epochs.max().unwrap_or(0),
                value: *value,
                metrics: metrics(records, rung),
                runs: (records.iter().flatten())
                    .map(|record| record.run.dir.clone())
                    .collect(),
            });
        }
    }
    let higher = metric.higher_is_better();
    trials.sort_by(|a, b| rank(a, b, higher));
    missing.sort_unstable();
    let parameters = sweep.parameters().iter().map(parameter);
    Ok(SweepResults {
        experiment: sweep.experiment.name.clone(),
        tier: sweep.experiment.tier.to_string(),
        question: sweep.experiment.question.clone(),
        method: sweep.method().name().to_string(),
        metric: metric.name().to_string(),
        parameters: parameters.collect::<Result<_>>()?,
        trials,
        missing,
    })
}

fn rank(a: &SweepTrial, b: &SweepTrial, higher_is_better: bool) -> Ordering {
    (b.value.is_some().cmp(&a.value.is_some()))
        .then(b.rung.cmp(&a.rung))
        .then(order(a.value, b.value, higher_is_better))
        .then(a.trial.cmp(&b.trial))
}

fn settings(trial: &Trial) -> Result<BTreeMap<String, serde_json::Value>> {
    let settings = trial.settings.iter();
    settings
        .map(|(key, value)| Ok((key.clone(), serde_json::to_value(value)?)))
        .collect()
}

fn parameter(parameter: &Parameter) -> Result<SweepParameter> {
    let (scale, values) = match &parameter.range {
        Range::Values(values) => (SweepScale::List, &values[..]),
        Range::Integers(..) | Range::Uniform(..) => (SweepScale::Linear, &[][..]),
        Range::LogUniform(..) => (SweepScale::Logarithmic, &[][..]),
    };
    let values = values.iter().map(serde_json::to_value);
    Ok(SweepParameter {
        key: parameter.key.clone(),
        scale,
        values: values.collect::<Result<_, _>>()?,
    })
}

/// State of a trial with these records, one for each seed. `decided` says that the trials that go on from its rung are known, and that it is
/// none of them.
fn state(records: &[Option<Record>], decided: bool) -> SweepState {
    let mut of_seeds = records.iter().flatten();
    let unfinished = |record: &Record| record.run.summary.is_none();
    if of_seeds.clone().any(|r| r.diverged && unfinished(r)) {
        SweepState::Diverged
    } else if !of_seeds.any(unfinished) {
        SweepState::Finished
    } else if decided {
        SweepState::Pruned
    } else {
        SweepState::Waiting
    }
}

/// Epochs of a record that count at a rung.
fn epochs(record: &Record, rung: &Begun) -> usize {
    let rows = record.run.epochs.len();
    rung.epochs.map_or(rows, |epochs| epochs.min(rows))
}

/// Means over the seeds of the metrics of a trial at a rung: of its summaries if it has finished there, else of the epoch.
fn metrics(records: &[Option<Record>], rung: &Begun) -> BTreeMap<String, Option<f64>> {
    let of_seed = |record: &Record| -> BTreeMap<String, Option<f64>> {
        let at = epochs(record, rung);
        match &record.run.summary {
            Some(summary) if at == record.run.epochs.len() => summary.metrics.clone(),
            _ => {
                let row = at
                    .checked_sub(1)
                    .and_then(|last| record.run.epochs.get(last));
                let metrics = row.into_iter().flat_map(|row| row.metrics());
                metrics
                    .map(|(metric, value)| (metric.name.to_string(), Some(value)))
                    .collect()
            }
        }
    };
    let all: Vec<BTreeMap<String, Option<f64>>> = records.iter().flatten().map(of_seed).collect();
    let names = all.first().into_iter().flat_map(|metrics| metrics.keys());
    let timeless = |name: &&String| {
        Metric::find(name).is_some_and(|m| m.in_summary && m.varies != Varies::WithTime)
    };
    let mean = |name: &String| {
        let values = all
            .iter()
            .map(|metrics| metrics.get(name).copied().flatten());
        let values = values.collect::<Option<Vec<f64>>>()?;
        let mean = values.iter().sum::<f64>() / values.len() as f64;
        Some(mean).filter(|mean| mean.is_finite())
    };
    names
        .filter(timeless)
        .map(|name| (name.clone(), mean(name)))
        .collect()
}
