//! Results of a sweep: `sweep.json`.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::error::{Error, Result};
use crate::files::{read_json, write_json};

/// Results of a sweep over the settings of a recipe.
///
/// There is neither a time nor a machine in it: the same trials give the same file, but for the folders of their records.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct SweepResults {
    /// Name of the experiment.
    pub experiment: String,
    /// Tier, such as `full`; see [`Tier`](crate::Tier).
    pub tier: String,
    /// Question that the experiment answers.
    pub question: String,
    /// Choice of the trials: `grid`, `random` or `halving`.
    pub method: String,
    /// Metric by which the trials are compared, see [`METRICS`](crate::METRICS).
    pub metric: String,
    /// Settings that the trials change.
    pub parameters: Vec<SweepParameter>,
    /// Trials with a result, the best first: those of the last rung by their metric, then those of the rung before it, and so on, and at the
    /// end those without a finite metric. Of equals the one of the lowest number comes first.
    pub trials: Vec<SweepTrial>,
    /// Numbers of the trials that have no result yet.
    pub missing: Vec<usize>,
}

/// Setting that the trials of a sweep change.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct SweepParameter {
    /// Dotted key of the recipe.
    pub key: String,
    /// Kind of its values.
    pub scale: SweepScale,
    /// Values of a list, in its order; empty for numbers between bounds.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub values: Vec<Value>,
}

/// Kind of the values of a parameter.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum SweepScale {
    /// Values of a list.
    List,
    /// Numbers.
    Linear,
    /// Numbers above 0 on a logarithmic scale.
    Logarithmic,
}

/// Trial of a sweep.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct SweepTrial {
    /// Number, from 1.
    pub trial: usize,
    /// Name of its variant in the run records.
    pub name: String,
    /// Values of the parameters by their keys.
    pub settings: BTreeMap<String, Value>,
    /// State.
    pub state: SweepState,
    /// Rung that it has reached, from 1.
    pub rung: usize,
    /// Epochs that it was trained for.
    pub epochs: usize,
    /// Metric, the mean over the seeds; `None`, and `null` in the file, if it is not finite.
    pub value: Option<f64>,
    /// Metrics by name, means over the seeds, without those that depend on the speed of the machine.
    pub metrics: BTreeMap<String, Option<f64>>,
    /// Folders of its run records, one for each seed.
    pub runs: Vec<PathBuf>,
}

/// State of a trial.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum SweepState {
    /// It was trained to its end.
    Finished,
    /// It was not among the best of its rung, and does not go on.
    Pruned,
    /// It has the epochs of its rung, and waits for the other trials.
    Waiting,
    /// Its loss was not finite.
    Diverged,
}

impl SweepState {
    /// Word in tables.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Finished => "finished",
            Self::Pruned => "pruned",
            Self::Waiting => "waiting",
            Self::Diverged => "diverged",
        }
    }
}

impl SweepResults {
    /// Reads a file.
    ///
    /// # Errors
    /// When the file is missing or does not have the expected content.
    pub fn read(path: impl AsRef<Path>) -> Result<Self> {
        read_json(path.as_ref()).map_err(|error| match error {
            Error::Missing { path } => Error::NoResults { path },
            error => error,
        })
    }

    /// Writes the file atomically.
    pub fn write(&self, path: impl AsRef<Path>) -> Result<()> {
        write_json(path, self)
    }

    /// The best trial; `None` without one that has a finite metric.
    pub fn best(&self) -> Option<&SweepTrial> {
        self.trials.first().filter(|trial| trial.value.is_some())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn results() -> SweepResults {
        let trial = |trial: usize, value: Option<f64>| SweepTrial {
            trial,
            name: format!("trial-{trial}"),
            settings: [("train.batch_size".to_string(), json!(32))].into(),
            state: match value {
                Some(_) => SweepState::Finished,
                None => SweepState::Diverged,
            },
            rung: 1,
            epochs: 3,
            value,
            metrics: [("test_accuracy".to_string(), value)].into(),
            runs: vec!["runs/a".into()],
        };
        SweepResults {
            experiment: "small".to_string(),
            tier: "full".to_string(),
            question: "Which?".to_string(),
            method: "grid".to_string(),
            metric: "test_accuracy".to_string(),
            parameters: vec![SweepParameter {
                key: "train.batch_size".to_string(),
                scale: SweepScale::List,
                values: vec![json!(32), json!(64)],
            }],
            trials: vec![trial(2, Some(0.5)), trial(1, None)],
            missing: vec![3],
        }
    }

    #[test]
    fn a_file_is_read_as_it_was_written() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("sweep.json");
        results().write(&path).unwrap();
        assert_eq!(SweepResults::read(&path).unwrap(), results());
        assert_eq!(results().best().map(|trial| trial.trial), Some(2));
        let none = SweepResults {
            trials: results().trials.split_off(1),
            ..results()
        };
        assert_eq!(none.best(), None);
    }

    #[test]
    fn other_content_is_refused() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("sweep.json");
        assert!(SweepResults::read(&path).is_err());
        let text = serde_json::to_string(&results()).unwrap();
        let cut = &text[..text.len() / 2];
        let more = text.replacen('{', "{\"more\": 1,", 1);
        let wrong = text.replace("\"grid\"", "7");
        for damaged in [cut, &more, &wrong, "[]", ""] {
            std::fs::write(&path, damaged).unwrap();
            let message = SweepResults::read(&path).unwrap_err().to_string();
            assert!(message.contains("sweep.json"), "{message}");
        }
    }
}
