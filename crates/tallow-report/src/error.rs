use std::path::PathBuf;

/// What can go wrong while reading run records and results, and while writing results.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// A file of the record is not there: this is no run's directory.
    #[error("{}: no such file; a run's directory holds config.toml, environment.json and metrics.jsonl", path.display())]
    Missing {
        /// The file.
        path: PathBuf,
    },
    /// A results file is not there.
    #[error("{}: no such results file", path.display())]
    NoResults {
        /// The file.
        path: PathBuf,
    },
    /// A file or directory could not be read.
    #[error("{}: {source}", path.display())]
    Io {
        /// The file or directory.
        path: PathBuf,
        /// The operating system's word.
        source: std::io::Error,
    },
    /// A JSON file does not hold what it should.
    #[error("{}, line {line}: {message}", path.display())]
    Json {
        /// The file.
        path: PathBuf,
        /// From 1.
        line: usize,
        /// What was expected and what was found.
        message: String,
    },
    /// `config.toml` is not TOML.
    #[error("{}: {message}", path.display())]
    Toml {
        /// The file.
        path: PathBuf,
        /// What was expected and what was found.
        message: String,
    },
    /// The epochs of `metrics.jsonl` do not count up from 0.
    #[error("{}, line {line}: epoch {found}, expected {}", path.display(), line - 1)]
    Epoch {
        /// The file.
        path: PathBuf,
        /// From 1.
        line: usize,
        /// The epoch found there.
        found: usize,
    },
    /// A report has no runs.
    #[error("there are no runs to report")]
    NoRuns,
    /// A chart has no value that can be drawn.
    #[error("{chart}: there is nothing to draw")]
    NothingToDraw {
        /// Its title.
        chart: String,
    },
    /// A chart could not be drawn.
    #[error("cannot draw a chart: {0}")]
    Chart(String),
}

impl<E: std::error::Error + Send + Sync> From<plotters::drawing::DrawingAreaErrorKind<E>>
    for Error
{
    fn from(error: plotters::drawing::DrawingAreaErrorKind<E>) -> Self {
        Self::Chart(error.to_string())
    }
}

/// The result of this crate's functions.
pub type Result<T, E = Error> = std::result::Result<T, E>;
