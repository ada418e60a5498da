//! Errors of this crate.

use std::path::{Path, PathBuf};

/// Result with this crate's [`Error`].
pub type Result<T, E = Error> = std::result::Result<T, E>;

/// Error of an implementation of [`Train`](crate::Train).
pub type TrainError = Box<dyn std::error::Error + Send + Sync>;

/// Error of a claim, a baseline or a comparison.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// Claim that cannot be parsed.
    #[error("claim `{text}`: {message}")]
    Claim {
        /// Text of the claim.
        text: String,
        /// Expected and found tokens.
        message: String,
    },
    /// File or folder that cannot be read.
    #[error("cannot read {}: {source}", path.display())]
    Io {
        /// File or folder.
        path: PathBuf,
        /// Error of the operating system.
        source: std::io::Error,
    },
    /// JSON or CSV file with a malformed line.
    #[error("{}, line {line}: {message}", path.display())]
    Line {
        /// File.
        path: PathBuf,
        /// Line, from 1.
        line: u64,
        /// Expected and found content.
        message: String,
    },
    /// File whose content cannot be used.
    #[error("{}: {message}", path.display())]
    File {
        /// File or folder.
        path: PathBuf,
        /// Expected content, and what to do.
        message: String,
    },
    /// Baseline of other data or another recipe.
    #[error("{reasons}. If this is intended, renew the baseline: {update_command}")]
    Refused {
        /// Differences.
        reasons: String,
        /// Command that renews the baseline.
        update_command: String,
    },
    /// New baseline without a metric that would be compared.
    #[error(
        "{experiment}: `{variant}` has no finite {metric} for some seed, so it could not be compared; the baseline was not changed"
    )]
    Incomplete {
        /// Name of the experiment.
        experiment: String,
        /// Name of the variant.
        variant: String,
        /// Name of the metric.
        metric: String,
    },
    /// Bitwise comparison that cannot be made.
    #[error("--exact: {0}")]
    Exact(String),
    /// Experiment without a baseline.
    #[error("there is no baseline of {experiment}.{tier}; to make one: {update_command}")]
    NoBaseline {
        /// Name of the experiment.
        experiment: String,
        /// Tier of the experiment.
        tier: tallow_record::Tier,
        /// Command that makes the baseline.
        update_command: String,
    },
    /// Comparison of traces with a baseline that has none.
    #[error("the baseline has no trace of `{variant}`; to record it: {update_command} --traces")]
    NoTrace {
        /// Name of the variant.
        variant: String,
        /// Command that renews the baseline.
        update_command: String,
    },
    /// Seeds up to `u64::MAX` are used, so that none is left for a further round.
    #[error(
        "no seeds are left for a further round: the largest seed is {}",
        u64::MAX
    )]
    NoSeeds,
    /// Training that returned no runs.
    #[error("{0}: training returned no runs")]
    NoRuns(String),
    /// Training that failed.
    #[error(transparent)]
    Train(TrainError),
    /// Run record or results file that cannot be read or written.
    #[error(transparent)]
    Record(#[from] tallow_record::Error),
    /// Results of another program from which no baseline can be made.
    #[error("{0}")]
    Results(String),
    /// Name of a metric that is not in the results, or not in the baseline.
    #[error("there is no metric `{name}`; expected one of {known}")]
    UnknownMetric {
        /// Name that was given.
        name: String,
        /// Names that are known.
        known: String,
    },
    /// Metric of which both lower and higher values are said to be better.
    #[error("`{0}` is given as --lower and as --higher; expected one of them")]
    TwoDirections(String),
    /// JUnit document that cannot be written.
    #[error("cannot write JUnit XML: {0}")]
    Junit(#[from] quick_junit::SerializeError),
}

impl Error {
    /// Error of a JSON file.
    pub(crate) fn json(path: &Path, error: &serde_json::Error) -> Self {
        Self::Line {
            path: path.to_path_buf(),
            line: error.line() as u64,
            message: error.to_string(),
        }
    }
}

/// Turns an error of the operating system into [`Error::Io`].
pub(crate) fn io(path: &Path) -> impl FnOnce(std::io::Error) -> Error {
    let path = path.to_path_buf();
    |source| Error::Io { path, source }
}
