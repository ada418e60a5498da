//! One run's record.

use std::collections::BTreeMap;
use std::fs;
use std::io::ErrorKind;
use std::path::{Path, PathBuf};

use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};

use crate::{Error, Result};

/// A run as its directory tells it.
#[derive(Clone, Debug, PartialEq)]
pub struct Run {
    /// The directory.
    pub dir: PathBuf,
    /// What was run.
    pub info: RunInfo,
    /// Where.
    pub environment: Environment,
    /// The settings in full.
    pub config: toml::Table,
    /// The finished epochs.
    pub epochs: Vec<Epoch>,
    /// What came of it; `None` for a run that has not finished.
    pub summary: Option<Summary>,
}

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
    pub dataset: Dataset,
}

/// A data set.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Dataset {
    /// Its name.
    pub name: String,
    /// Its format, and whether it is the original.
    pub provenance: String,
    /// SHA-256 of pixels and labels.
    pub digest: String,
    /// The classes' names.
    pub classes: Vec<String>,
}

/// Where a run took place.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Environment {
    /// Version of the program's training crate.
    pub tallow: String,
    /// Commit of its source, if known.
    pub commit: Option<String>,
    /// The compiler.
    pub rustc: String,
    /// Operating system and architecture.
    pub platform: String,
    /// The processor's name.
    pub cpu: String,
    /// Threads that computed.
    pub threads: usize,
    /// What they computed on.
    pub device: String,
    /// The command line.
    pub command: Vec<String>,
}

/// One finished epoch. Accuracies are fractions; a loss that was not finite is `None`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Epoch {
    /// From 0.
    pub epoch: usize,
    /// Mean over the samples as they were trained on.
    pub train_loss: Option<f64>,
    /// Of the samples as they were trained on.
    pub train_accuracy: f64,
    /// At the epoch's end.
    pub test_loss: Option<f64>,
    /// At the epoch's end.
    pub test_accuracy: Option<f64>,
    /// At the epoch's end, for more than five classes.
    pub test_top5: Option<f64>,
    /// Learning rate of the last step.
    pub lr: f64,
    /// Training and evaluation.
    pub seconds: f64,
    /// Training alone.
    pub images_per_second: f64,
}

/// What came of a run.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Summary {
    /// Finished epochs.
    pub epochs: usize,
    /// Why training ended before the last epoch, where it did.
    pub stopped: Option<String>,
    /// Seconds of all epochs.
    pub seconds: f64,
    /// Figures by name, such as `test_accuracy`; `None` for one that was not finite.
    pub metrics: BTreeMap<String, Option<f64>>,
    /// Counts of the test data: rows are labels, columns predictions.
    pub confusion: Option<Vec<Vec<u64>>>,
    /// Scores of the test data by class.
    pub per_class: Option<Vec<ClassScore>>,
}

/// How well one class was told from the others.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct ClassScore {
    /// The class, as in the labels.
    pub class: usize,
    /// Of the samples predicted as this class, the share that are.
    pub precision: f64,
    /// Of the samples of this class, the share found.
    pub recall: f64,
    /// Harmonic mean of the two.
    pub f1: f64,
    /// Number of samples of this class.
    pub support: u64,
}

/// `environment.json`.
#[derive(Deserialize)]
struct EnvironmentFile {
    run: RunInfo,
    environment: Environment,
}

impl Run {
    /// Reads a run's directory.
    pub fn read(dir: impl Into<PathBuf>) -> Result<Self> {
        let dir = dir.into();
        let file: EnvironmentFile = json(&dir.join("environment.json"))?;
        let path = dir.join("config.toml");
        let config = text(&path)?
            .parse()
            .map_err(|error: toml::de::Error| Error::Toml {
                path,
                message: error.to_string(),
            })?;
        let summary = match json(&dir.join("summary.json")) {
            Err(Error::Missing { .. }) => None,
            other => Some(other?),
        };
        Ok(Self {
            info: file.run,
            environment: file.environment,
            config,
            epochs: epochs(&dir.join("metrics.jsonl"))?,
            summary,
            dir,
        })
    }
}

/// Reads every run under `<runs>/<experiment>`, oldest first.
pub fn read_experiment(dir: impl AsRef<Path>) -> Result<Vec<Run>> {
    let dir = dir.as_ref();
    let mut dirs = Vec::new();
    for entry in fs::read_dir(dir).map_err(io(dir))? {
        let path = entry.map_err(io(dir))?.path();
        if path.is_dir() {
            dirs.push(path);
        }
    }
    // The names begin with the time.
    dirs.sort();
    dirs.into_iter().map(Run::read).collect()
}

/// The lines of `metrics.jsonl`. A last line without its end was cut off when the run was killed;
/// it does not count.
fn epochs(path: &Path) -> Result<Vec<Epoch>> {
    let text = text(path)?;
    let whole = &text[..text.rfind('\n').map_or(0, |end| end + 1)];
    let mut epochs = Vec::new();
    for (index, line) in whole.lines().enumerate() {
        let epoch: Epoch = serde_json::from_str(line).map_err(|error| Error::Json {
            path: path.to_path_buf(),
            line: index + 1,
            message: error.to_string(),
        })?;
        if epoch.epoch != index {
            return Err(Error::Epoch {
                path: path.to_path_buf(),
                line: index + 1,
                found: epoch.epoch,
            });
        }
        epochs.push(epoch);
    }
    Ok(epochs)
}

fn json<T: DeserializeOwned>(path: &Path) -> Result<T> {
    serde_json::from_str(&text(path)?).map_err(|error| Error::Json {
        path: path.to_path_buf(),
        line: error.line(),
        message: error.to_string(),
    })
}

fn text(path: &Path) -> Result<String> {
    fs::read_to_string(path).map_err(|error| match error.kind() {
        ErrorKind::NotFound => Error::Missing {
            path: path.to_path_buf(),
        },
        _ => io(path)(error),
    })
}

/// An error about this file or folder.
pub(crate) fn io(path: &Path) -> impl FnOnce(std::io::Error) -> Error {
    let path = path.to_path_buf();
    move |source| Error::Io { path, source }
}
