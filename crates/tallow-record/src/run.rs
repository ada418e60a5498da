//! Run record read from disk.

use std::path::{Path, PathBuf};

use crate::epoch::EpochRow;
use crate::error::{Error, Result};
use crate::files::{read_json, read_text};
use crate::info::{Environment, EnvironmentFile, RunInfo};
use crate::summary::Summary;

/// Run record read from its folder.
#[derive(Clone, Debug, PartialEq)]
pub struct Run {
    /// Folder of the record.
    pub dir: PathBuf,
    /// Identity of the run, from `environment.json`.
    pub info: RunInfo,
    /// Machine and program, from `environment.json`.
    pub environment: Environment,
    /// Complete settings, from `config.toml`.
    pub config: toml::Table,
    /// Finished epochs, from `metrics.jsonl`.
    pub epochs: Vec<EpochRow>,
    /// Results, from `summary.json`; `None` for a run that has not finished.
    pub summary: Option<Summary>,
}

impl Run {
    /// Reads the record in `dir`.
    ///
    /// A missing `summary.json` means that the run has not finished. A last line of `metrics.jsonl` without its line
    /// end was cut off when the run was killed, and is ignored.
    ///
    /// # Errors
    /// When `environment.json`, `config.toml` or `metrics.jsonl` is missing, or a file does not have the expected
    /// content. The message names the file and the line.
    pub fn read(dir: impl Into<PathBuf>) -> Result<Self> {
        let dir = dir.into();
        let file: EnvironmentFile = read_json(&dir.join("environment.json"))?;
        let path = dir.join("config.toml");
        let config = read_text(&path)?
            .parse()
            .map_err(|error: toml::de::Error| Error::Toml {
                path,
                message: error.to_string(),
            })?;
        let summary = match read_json(&dir.join("summary.json")) {
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

fn epochs(path: &Path) -> Result<Vec<EpochRow>> {
    let text = read_text(path)?;
    let whole = &text[..text.rfind('\n').map_or(0, |end| end + 1)];
    let mut epochs = Vec::new();
    for (index, line) in whole.lines().enumerate() {
        let row: EpochRow = serde_json::from_str(line).map_err(|error| Error::Json {
            path: path.to_path_buf(),
            line: index + 1,
            message: error.to_string(),
        })?;
        if row.epoch != index {
            return Err(Error::Epoch {
                path: path.to_path_buf(),
                line: index + 1,
                found: row.epoch,
            });
        }
        epochs.push(row);
    }
    Ok(epochs)
}
