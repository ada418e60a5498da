//! Run records of the trials of a sweep.

use std::collections::{BTreeSet, HashMap};
use std::path::{Path, PathBuf};

use serde_json::json;
use tallow_record::{Run, runs_of, write_json};
use tallow_train::{Monitor, experiment_folder};
use toml::Table;

use super::plan::Sweep;
use crate::error::Result;
use crate::job::config_text;
use crate::unfinished::essential;

/// File of a run record whose run ended because its loss was not finite.
const DIVERGED: &str = "diverged.json";

/// Newest records of the trials of a sweep.
pub(super) struct Records {
    /// A record of each trial with each seed, in their order, if there is one.
    runs: Vec<Option<Record>>,
    seeds: usize,
    /// Messages about records that cannot be read.
    pub damaged: Vec<String>,
}

/// Record of a trial with one seed.
pub(super) struct Record {
    pub run: Run,
    /// Whether it ended because its loss was not finite.
    pub diverged: bool,
}

/// Result of a trial at a rung.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) enum Reached {
    /// The trial has not been trained so far.
    Missing,
    /// Metric; `None` where it is not finite.
    Value(Option<f64>),
}

impl Records {
    /// Those below the folders `outs`, without the ones at the paths `ignored`. A trial is found by its recipe; where several records have it,
    /// the newest counts. `digests` are those of the training data of the trials, if it was loaded: records of other data do not count.
    pub fn read(
        sweep: &Sweep,
        outs: &[PathBuf],
        ignored: &BTreeSet<PathBuf>,
        digests: Option<&[String]>,
    ) -> Result<Self> {
        let experiment = &sweep.experiment;
        let seeds = experiment.seeds.len();
        let mut wanted: HashMap<(&str, u64), (usize, Table)> = HashMap::new();
        for (number, (variant, seed)) in experiment.runs().enumerate() {
            let text = config_text(experiment, (&variant.name, seed), &variant.recipe)?;
            let config = essential(text.parse().unwrap_or_default());
            wanted.insert((variant.name.as_str(), seed), (number, config));
        }
        let mut found = Self {
            runs: experiment.runs().map(|_| None).collect(),
            seeds,
            damaged: Vec::new(),
        };
        for folder in folders(sweep, outs)? {
            if ignored.contains(&folder) {
                continue;
            }
            let run = match Run::read(&folder) {
                Ok(run) => run,
                // It was killed while it began.
                Err(tallow_record::Error::Missing { .. }) => continue,
                Err(error) => {
                    found.damaged.push(error.to_string());
                    continue;
                }
            };
            let known = wanted.get(&(run.info.variant.as_str(), run.info.seed));
            let Some(&(number, ref config)) = known else {
                continue;
            };
            let digest = digests.and_then(|digests| digests.get(number / seeds));
            let other_data = digest.is_some_and(|digest| *digest != run.info.dataset.digest);
            if other_data || essential(run.config.clone()) != *config {
                continue;
            }
            let older = found.runs[number]
                .as_ref()
                .is_none_or(|known| known.run.dir.file_name() <= folder.file_name());
            if older {
                let diverged = folder.join(DIVERGED).is_file();
                found.runs[number] = Some(Record { run, diverged });
            }
        }
        Ok(found)
    }

    /// Records of a trial, by its index, one for each seed.
    pub fn of(&self, trial: usize) -> &[Option<Record>] {
        let from = trial * self.seeds;
        self.runs.get(from..from + self.seeds).unwrap_or_default()
    }

    /// Record of a trial with the seed of this index.
    pub fn get(&self, trial: usize, seed: usize) -> Option<&Record> {
        self.of(trial).get(seed)?.as_ref()
    }

    /// All records.
    pub fn all(&self) -> impl Iterator<Item = &Record> {
        self.runs.iter().flatten()
    }

    /// Result of a trial after `epochs`, or at its end for `None`: the mean over the seeds.
    pub fn reached(&self, trial: usize, epochs: Option<usize>, metric: Monitor) -> Reached {
        let (mut sum, mut count) = (0.0, 0);
        let mut finite = true;
        for record in self.of(trial) {
            match reached(record.as_ref(), epochs, metric) {
                Reached::Missing => return Reached::Missing,
                Reached::Value(Some(value)) => sum += value,
                Reached::Value(None) => finite = false,
            }
            count += 1;
        }
        Reached::Value((finite && count > 0).then(|| sum / f64::from(count)))
    }
}

/// Result of one record after `epochs`, or at its end for `None`.
pub(super) fn reached(record: Option<&Record>, epochs: Option<usize>, metric: Monitor) -> Reached {
    let Some(Record { run, diverged }) = record else {
        return Reached::Missing;
    };
    let rows = &run.epochs;
    let has_epochs = epochs.is_some_and(|epochs| rows.len() >= epochs);
    if !has_epochs && run.summary.is_none() {
        // What a trial reached before it diverged counts, so that the decisions of earlier rungs stay the same.
        return match diverged {
            true => Reached::Value(None),
            false => Reached::Missing,
        };
    }
    let until = epochs.map_or(rows.len(), |epochs| epochs.min(rows.len()));
    let name = metric.name();
    // An epoch without evaluation has no such key.
    let measured =
        |row: &&tallow_record::EpochRow| row.metrics().any(|(known, _)| known.name == name);
    let last = rows[..until].iter().rev().find(measured);
    let restored = match epochs {
        Some(_) => None,
        None => restored(run).and_then(|epoch| rows.get(epoch)),
    };
    Reached::Value(restored.or(last).and_then(|row| row.get(name)))
}

/// Epoch whose weights a finished run has, if they are not those of the last one.
fn restored(run: &Run) -> Option<usize> {
    let metrics = &run.summary.as_ref()?.metrics;
    let epoch = metrics.get("restored_epoch").copied().flatten()?;
    Some(epoch as usize)
}

/// Folders of run records of trials below `outs`, those of each in the order of time.
pub(super) fn folders(sweep: &Sweep, outs: &[PathBuf]) -> Result<Vec<PathBuf>> {
    let mut found = Vec::new();
    for out in outs {
        let folder = experiment_folder(out, &sweep.experiment.name);
        if folder.is_dir() {
            found.extend(runs_of(&folder)?);
        }
    }
    // Other runs of the experiment may be many.
    let is_trial = |folder: &PathBuf| {
        let name = folder.file_name().unwrap_or_default();
        name.to_string_lossy().contains("-trial-")
    };
    found.retain(is_trial);
    Ok(found)
}

/// Notes in the record of a run that its loss was not finite, so that it is not trained again.
pub(super) fn mark_diverged(folder: &Path, reason: &str) -> Result<()> {
    Ok(write_json(
        folder.join(DIVERGED),
        &json!({ "reason": reason }),
    )?)
}
