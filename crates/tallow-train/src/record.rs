//! Record of a run: a folder with its settings, environment, metrics and weights.

use std::collections::BTreeMap;
use std::fs::{self, OpenOptions};
use std::io::Write;
use std::path::{Path, PathBuf};
use std::time::SystemTime;

use serde::Serialize;
use tallow_datasets::DatasetInfo;
use tallow_ops::ParamStore;
use tallow_record::{
    ClassScore, Dataset, Environment, EnvironmentFile, EpochRow, RunInfo, Summary, timestamp,
};

use crate::callback::{CONTINUE, Callback, EpochEnd, FitStart, Flow};
use crate::error::{Error, Result};
use crate::files::write_atomic;
use crate::history::History;

/// Writer of a run record, the folder `<runs>/<experiment>/<time>-<variant>-s<seed>`:
///
/// | file | content |
/// | --- | --- |
/// | `config.toml` | complete settings, as given by the caller |
/// | `environment.json` | [`RunInfo`] and [`Environment`] |
/// | `metrics.jsonl` | one [`EpochRow`] per line, written at the end of the epoch |
/// | `checkpoint/` | see [`Trainer::with_checkpoints`](crate::Trainer::with_checkpoints) |
/// | `summary.json` | [`Summary`]; a run without one has not finished |
/// | `model.safetensors` | weights at the end of training |
///
/// and what the caller [adds](Self::add). `tallow_record::Run` reads it.
///
/// Lines are appended to `metrics.jsonl`; every other file is written atomically. A `RunRecord` is a [`Callback`]: pass
/// it to the trainer by `&mut`, and call [`finish`](Self::finish) after training.
pub struct RunRecord {
    dir: PathBuf,
    info: RunInfo,
    figures: BTreeMap<String, f64>,
}

impl RunRecord {
    /// Creates a new folder under `runs` and writes `config.toml`, `environment.json` and an empty `metrics.jsonl`.
    ///
    /// Two runs never share a folder: if the name exists, a number is appended.
    pub fn create(
        runs: &Path,
        info: RunInfo,
        environment: Environment,
        config: &str,
    ) -> Result<Self> {
        let parent = experiment_folder(runs, &info.experiment);
        fs::create_dir_all(&parent).map_err(Error::io(&parent))?;
        let name = format!(
            "{}-{}-s{}",
            timestamp(SystemTime::now()),
            file_name(&info.variant),
            info.seed
        );
        let record = Self {
            dir: new_dir(&parent, &name)?,
            info: info.clone(),
            figures: BTreeMap::new(),
        };
        write_atomic(&record.dir.join("config.toml"), config.as_bytes())?;
        let file = EnvironmentFile {
            run: info,
            environment,
        };
        record.write_json("environment.json", &file)?;
        record.rewrite_metrics(&[])?;
        Ok(record)
    }

    /// Opens the record of a run that was stopped, to resume it.
    pub fn open(dir: impl Into<PathBuf>) -> Result<Self> {
        let dir = dir.into();
        let path = dir.join("environment.json");
        let text = fs::read(&path).map_err(Error::io(&path))?;
        let file: EnvironmentFile =
            serde_json::from_slice(&text).map_err(|error| Error::mismatch(&path, error))?;
        Ok(Self {
            dir,
            info: file.run,
            figures: BTreeMap::new(),
        })
    }

    /// Folder of the record.
    pub fn dir(&self) -> &Path {
        &self.dir
    }

    /// Folder of the run's checkpoints.
    pub fn checkpoints(&self) -> PathBuf {
        self.dir.join("checkpoint")
    }

    /// Adds a JSON file of this name to the record.
    pub fn add(&self, name: &str, value: &impl Serialize) -> Result<()> {
        self.write_json(&file_name(name), value)
    }

    /// Adds a metric to the summary, which [`finish`](Self::finish) writes.
    pub fn put(&mut self, name: &str, value: f64) {
        self.figures.insert(name.to_string(), value);
    }

    /// Writes the weights and the summary, the summary last.
    pub fn finish(&self, store: &ParamStore, history: &History) -> Result<Summary> {
        self.save_weights(store)?;
        self.write_summary(history)
    }

    /// Writes the weights: the first of the two parts of [`finish`](Self::finish), for a caller with work in between that may fail.
    pub fn save_weights(&self, store: &ParamStore) -> Result<()> {
        Ok(store.save(self.dir.join("model.safetensors"))?)
    }

    /// Writes the summary: the second part of [`finish`](Self::finish). With it the run has finished.
    pub fn write_summary(&self, history: &History) -> Result<Summary> {
        let mut summary = summarize(self.info.clone(), history);
        for (name, value) in &self.figures {
            let value = Some(*value).filter(|value| value.is_finite());
            summary.metrics.insert(name.clone(), value);
        }
        self.write_json("summary.json", &summary)?;
        Ok(summary)
    }

    fn write_json(&self, name: &str, value: &impl Serialize) -> Result<()> {
        let path = self.dir.join(name);
        let mut text =
            serde_json::to_vec_pretty(value).map_err(|error| Error::mismatch(&path, error))?;
        text.push(b'\n');
        write_atomic(&path, &text)
    }

    /// Rewrites `metrics.jsonl`: a resumed run may have written epochs that it repeats.
    fn rewrite_metrics(&self, rows: &[EpochRow]) -> Result<()> {
        let path = self.dir.join("metrics.jsonl");
        let mut text = Vec::new();
        for row in rows {
            text.extend(line(row, &path)?);
        }
        write_atomic(&path, &text)
    }
}

impl Callback for RunRecord {
    fn on_fit_start(&mut self, fit: &FitStart) -> Flow {
        self.rewrite_metrics(&fit.history.rows)?;
        CONTINUE
    }

    fn on_epoch_end(&mut self, end: &EpochEnd) -> Flow {
        let path = self.dir.join("metrics.jsonl");
        let line = line(end.row, &path)?;
        let mut file = OpenOptions::new()
            .append(true)
            .open(&path)
            .map_err(Error::io(&path))?;
        file.write_all(&line).map_err(Error::io(&path))?;
        CONTINUE
    }
}

/// Folder of the run records of an experiment below `runs`.
pub fn experiment_folder(runs: &Path, experiment: &str) -> PathBuf {
    runs.join(file_name(experiment))
}

/// Description of a dataset for the record of a run that trains on it.
pub fn dataset_record(info: &DatasetInfo) -> Dataset {
    Dataset {
        name: info.name.clone(),
        split: Some(info.split.to_string()),
        provenance: info.provenance.clone(),
        digest: info.digest.clone(),
        test_digest: None,
        classes: info.classes.clone(),
    }
}

fn summarize(run: RunInfo, history: &History) -> Summary {
    let mut metrics = BTreeMap::new();
    let mut put = |name: &str, value: Option<f64>| {
        if let Some(value) = value {
            let finite = Some(value).filter(|value| value.is_finite());
            metrics.insert(name.to_string(), finite);
        }
    };
    if let Some(row) = history.rows.last() {
        for (metric, value) in row.metrics().filter(|(metric, _)| metric.in_summary) {
            put(metric.name, Some(value));
        }
        for (name, value) in &row.metrics {
            put(name, Some(value.unwrap_or(f64::NAN)));
        }
        // Of the final weights: the rows of a run with validation have no test metrics, and the last row is not that of restored weights.
        if let Some(test) = &history.evaluation {
            put("test_loss", Some(test.loss));
            put("test_accuracy", Some(test.accuracy));
            put("test_top5", test.top5);
            for (name, &value) in &test.metrics {
                put(name, Some(value));
            }
        }
        // These two are of the whole run.
        let rates = history.rows.iter().map(|row| row.images_per_second);
        put("seconds", Some(history.seconds()));
        put(
            "images_per_second",
            Some(rates.sum::<f64>() / history.rows.len() as f64),
        );
    }
    if let Some(best) = history.best() {
        put("best_test_accuracy", best.test_accuracy);
        put("best_validation_accuracy", best.validation_accuracy);
        put("best_epoch", Some(best.epoch as f64));
    }
    if let Some(epoch) = history.restored {
        put("restored_epoch", Some(epoch as f64));
    }
    let confusion = history.evaluation.as_ref().map(|e| &e.confusion);
    Summary {
        run,
        epochs: history.rows.len(),
        stopped: history.stopped.clone(),
        seconds: history.seconds(),
        metrics,
        confusion: confusion.map(|matrix| {
            let rows = matrix.matrix().chunks(matrix.classes());
            rows.map(<[u64]>::to_vec).collect()
        }),
        per_class: confusion.map(|matrix| matrix.per_class().into_iter().map(score).collect()),
    }
}

fn score(score: tallow_metrics::ClassScore) -> ClassScore {
    ClassScore {
        class: score.class,
        precision: score.precision,
        recall: score.recall,
        f1: score.f1,
        support: score.support,
        predicted: Some(score.predicted),
    }
}

fn line(row: &EpochRow, path: &Path) -> Result<Vec<u8>> {
    let mut line = serde_json::to_vec(row).map_err(|error| Error::mismatch(path, error))?;
    line.push(b'\n');
    Ok(line)
}

fn new_dir(parent: &Path, name: &str) -> Result<PathBuf> {
    let mut dir = parent.join(name);
    for number in 2.. {
        match fs::create_dir(&dir) {
            Err(error) if error.kind() == std::io::ErrorKind::AlreadyExists => {
                dir = parent.join(format!("{name}-{number}"));
            }
            other => {
                other.map_err(Error::io(&dir))?;
                break;
            }
        }
    }
    Ok(dir)
}

/// `name` as a file name: characters that a file system may refuse are replaced by `_`.
pub(crate) fn file_name(name: &str) -> String {
    let safe = |c: char| c.is_alphanumeric() || matches!(c, '-' | '_' | '.' | '+' | '=');
    let name: String = name
        .chars()
        .map(|c| if safe(c) { c } else { '_' })
        .collect();
    match name.as_str() {
        "" | "." | ".." => "_".to_string(),
        _ => name,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn file_names_stay_in_their_directory() {
        assert_eq!(file_name("cnn-permuted_2.0"), "cnn-permuted_2.0");
        assert_eq!(file_name("../a b/c\\d:e"), ".._a_b_c_d_e");
        assert_eq!(file_name(".."), "_");
        assert_eq!(file_name(""), "_");
    }

    #[test]
    fn a_taken_name_gets_a_number() {
        let dir = tempfile::tempdir().unwrap();
        let names: Vec<_> = (0..3)
            .map(|_| new_dir(dir.path(), "run").unwrap())
            .map(|path| path.file_name().unwrap().to_str().unwrap().to_string())
            .collect();
        assert_eq!(names, ["run", "run-2", "run-3"]);
    }
}
