//! The record of a run: a directory that says what was run, where, and what came of it.

use std::collections::BTreeMap;
use std::fs::{self, OpenOptions};
use std::io::Write;
use std::path::{Path, PathBuf};
use std::time::{SystemTime, UNIX_EPOCH};

use serde::{Deserialize, Serialize};
use tallow_datasets::DatasetInfo;
use tallow_metrics::ClassScore;
use tallow_ops::ParamStore;

use crate::callback::{CONTINUE, Callback, EpochEnd, FitStart, Flow};
use crate::files::write_atomic;
use crate::{Environment, EpochRow, Error, History, Result};

/// What a run is.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct RunInfo {
    /// The experiment it belongs to.
    pub experiment: String,
    /// The experiment's variant.
    pub variant: String,
    /// The seed.
    pub seed: u64,
    /// The model's name.
    pub model: String,
    /// Number of trained values.
    pub parameters: usize,
    /// The training data.
    pub dataset: DatasetInfo,
}

/// Writes `<runs>/<experiment>/<time>-<variant>-s<seed>/`:
///
/// | file | |
/// | --- | --- |
/// | `config.toml` | the settings in full, as the caller gave them |
/// | `environment.json` | [`RunInfo`] and [`Environment`] |
/// | `metrics.jsonl` | one [`EpochRow`] a line, written when the epoch ends |
/// | `checkpoint/` | see [`Trainer::with_checkpoints`](crate::Trainer::with_checkpoints) |
/// | `summary.json` | [`Summary`]; a run without one has not finished |
/// | `model.safetensors` | the weights at the end |
///
/// and whatever else the caller [adds](Self::add).
///
/// Every file but `metrics.jsonl`, which grows, is written under another name, synced and renamed.
/// It is a [`Callback`]: hand it to the trainer by `&mut`, and call [`finish`](Self::finish) after.
pub struct RunRecord {
    dir: PathBuf,
    info: RunInfo,
    figures: BTreeMap<String, f64>,
}

/// `environment.json`.
#[derive(Serialize, Deserialize)]
struct EnvironmentFile {
    run: RunInfo,
    environment: Environment,
}

/// `summary.json`: what came of a run.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Summary {
    /// What was run.
    pub run: RunInfo,
    /// Finished epochs.
    pub epochs: usize,
    /// Why training ended before the last epoch, where it did.
    pub stopped: Option<String>,
    /// Seconds of all epochs.
    pub seconds: f64,
    /// The last epoch's `train_loss`, `train_accuracy`, `test_loss`, `test_accuracy` and
    /// `test_top5`, the mean `images_per_second`, the `seconds` of all epochs, and `best_test_accuracy` with its `best_epoch`.
    /// What was not measured is left out; what is not finite is `null`.
    pub metrics: BTreeMap<String, Option<f64>>,
    /// Counts of the test data: rows are labels, columns predictions.
    pub confusion: Option<Vec<Vec<u64>>>,
    /// Scores of the test data by class.
    pub per_class: Option<Vec<ClassScore>>,
}

impl RunRecord {
    /// Makes a new directory under `runs` and writes the files that are known at the start.
    ///
    /// Two runs never share a directory: where the name is taken, a number is added.
    pub fn create(
        runs: &Path,
        info: RunInfo,
        environment: Environment,
        config: &str,
    ) -> Result<Self> {
        let parent = runs.join(file_name(&info.experiment));
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

    /// The record of a run that was stopped, to go on with it.
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

    /// The record's directory.
    pub fn dir(&self) -> &Path {
        &self.dir
    }

    /// Where the run's checkpoints go.
    pub fn checkpoints(&self) -> PathBuf {
        self.dir.join("checkpoint")
    }

    /// Adds a JSON file of this name to the record.
    pub fn add(&self, name: &str, value: &impl Serialize) -> Result<()> {
        self.write_json(&file_name(name), value)
    }

    /// Adds a figure to the summary's metrics, which [`finish`](Self::finish) writes.
    pub fn put(&mut self, name: &str, value: f64) {
        self.figures.insert(name.to_string(), value);
    }

    /// Writes the weights and the summary, the summary last.
    pub fn finish(&self, store: &ParamStore, history: &History) -> Result<Summary> {
        store.save(self.dir.join("model.safetensors"))?;
        let mut summary = Summary::new(self.info.clone(), history);
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

    /// Starts `metrics.jsonl` over: a resumed run may have written epochs that it now repeats.
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

impl Summary {
    fn new(run: RunInfo, history: &History) -> Self {
        let mut metrics = BTreeMap::new();
        let mut put = |name: &str, value: Option<f64>| {
            if let Some(value) = value {
                metrics.insert(
                    name.to_string(),
                    Some(value).filter(|value| value.is_finite()),
                );
            }
        };
        if let Some(row) = history.rows.last() {
            put("train_loss", Some(row.train_loss));
            put("train_accuracy", Some(row.train_accuracy));
            put("test_loss", row.test_loss);
            put("test_accuracy", row.test_accuracy);
            put("test_top5", row.test_top5);
            let rates = history.rows.iter().map(|row| row.images_per_second);
            put("seconds", Some(history.seconds()));
            put(
                "images_per_second",
                Some(rates.sum::<f64>() / history.rows.len() as f64),
            );
        }
        if let Some(best) = history.best() {
            put("best_test_accuracy", best.test_accuracy);
            put("best_epoch", Some(best.epoch as f64));
        }
        let confusion = history.evaluation.as_ref().map(|e| &e.confusion);
        Self {
            run,
            epochs: history.rows.len(),
            stopped: history.stopped.clone(),
            seconds: history.seconds(),
            metrics,
            confusion: confusion.map(|matrix| {
                let rows = matrix.matrix().chunks(matrix.classes());
                rows.map(<[u64]>::to_vec).collect()
            }),
            per_class: confusion.map(|matrix| matrix.per_class()),
        }
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

/// `name` with everything that a file system might refuse replaced by `_`.
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

/// UTC as `20260131T235959Z`: names sort by time, and every file system takes them.
fn timestamp(time: SystemTime) -> String {
    let seconds = time.duration_since(UNIX_EPOCH).map_or(0, |d| d.as_secs());
    let (days, second) = (seconds / 86_400, seconds % 86_400);
    // Civil date from the days since 1970, by eras of 400 years that begin on 1 March
    // (Hinnant, "chrono-compatible low-level date algorithms").
    let shifted = days + 719_468;
    let (era, day_of_era) = (shifted / 146_097, shifted % 146_097);
    let year_of_era =
        (day_of_era - day_of_era / 1460 + day_of_era / 36_524 - day_of_era / 146_096) / 365;
    let day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let month_from_march = (5 * day_of_year + 2) / 153;
    let day = day_of_year - (153 * month_from_march + 2) / 5 + 1;
    let month = if month_from_march < 10 {
        month_from_march + 3
    } else {
        month_from_march - 9
    };
    let year = era * 400 + year_of_era + u64::from(month <= 2);
    format!(
        "{year:04}{month:02}{day:02}T{:02}{:02}{:02}Z",
        second / 3600,
        second / 60 % 60,
        second % 60
    )
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::Duration;

    /// Expected values from `date -u -d @<seconds> +%Y%m%dT%H%M%SZ`.
    #[test]
    fn timestamps() {
        for (seconds, expected) in [
            (0, "19700101T000000Z"),
            (951_782_399, "20000228T235959Z"),
            (951_782_400, "20000229T000000Z"),
            (951_868_800, "20000301T000000Z"),
            (1_735_689_599, "20241231T235959Z"),
            (1_785_500_000, "20260731T121320Z"),
            (4_107_542_400, "21000301T000000Z"),
        ] {
            assert_eq!(
                timestamp(UNIX_EPOCH + Duration::from_secs(seconds)),
                expected
            );
        }
    }

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
