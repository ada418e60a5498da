use std::path::{Path, PathBuf};

/// Error of reading, writing or finding run records and results files.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// A file of the record is missing: the folder is not a run record.
    #[error("{}: no such file; the folder of a run holds config.toml, environment.json and metrics.jsonl", path.display())]
    Missing {
        /// Missing file.
        path: PathBuf,
    },
    /// The results file is missing.
    #[error("{}: no such results file", path.display())]
    NoResults {
        /// Missing file.
        path: PathBuf,
    },
    /// The folder in which run records are looked for is missing.
    #[error("{}: no such folder, so there are no run records", dir.display())]
    NoRunsFolder {
        /// Missing folder.
        dir: PathBuf,
    },
    /// The folder has no runs of this experiment.
    #[error("{}: no runs of experiment `{name}`; found: {}", dir.display(), listed(known))]
    UnknownExperiment {
        /// Folder of the run records.
        dir: PathBuf,
        /// Experiment that was asked for.
        name: String,
        /// Experiments that have runs there, sorted.
        known: Vec<String>,
    },
    /// A file or folder could not be read or written.
    #[error("{}: {source}", path.display())]
    Io {
        /// File or folder.
        path: PathBuf,
        /// Error of the operating system.
        source: std::io::Error,
    },
    /// A JSON file does not have the expected content.
    #[error("{}, line {line}: {message}", path.display())]
    Json {
        /// File.
        path: PathBuf,
        /// Line, from 1; 0 when the value could not be written.
        line: usize,
        /// Expected and found content.
        message: String,
    },
    /// `config.toml` is not TOML.
    #[error("{}: {message}", path.display())]
    Toml {
        /// File.
        path: PathBuf,
        /// Expected and found content.
        message: String,
    },
    /// The epochs of `metrics.jsonl` do not count up from 0.
    #[error("{}, line {line}: epoch {found}, expected {}", path.display(), line - 1)]
    Epoch {
        /// File.
        path: PathBuf,
        /// Line, from 1.
        line: usize,
        /// Epoch on this line.
        found: usize,
    },
    /// Unknown name of a tier.
    #[error("unknown tier `{name}`; expected smoke, standard or full")]
    UnknownTier {
        /// Name that was given.
        name: String,
    },
}

/// Result of this crate's functions.
pub type Result<T, E = Error> = std::result::Result<T, E>;

impl Error {
    /// For `map_err`: an operating system error about `path`.
    pub(crate) fn io(path: &Path) -> impl FnOnce(std::io::Error) -> Self {
        let path = path.to_path_buf();
        move |source| Self::Io { path, source }
    }

    /// For `map_err`: JSON of `path` that could not be read or written.
    pub(crate) fn json(path: &Path) -> impl FnOnce(serde_json::Error) -> Self {
        let path = path.to_path_buf();
        move |error| Self::Json {
            path,
            line: error.line(),
            message: error.to_string(),
        }
    }
}

/// Error and its sources as one line, without a source that the text before it already contains.
pub fn error_message(error: &dyn std::error::Error) -> String {
    let mut message = error.to_string();
    let mut source = error.source();
    while let Some(cause) = source {
        let text = cause.to_string();
        if !message.contains(&text) {
            message.push_str(": ");
            message.push_str(&text);
        }
        source = cause.source();
    }
    message
}

fn listed(names: &[String]) -> String {
    match names {
        [] => "none".to_string(),
        names => names.join(", "),
    }
}
