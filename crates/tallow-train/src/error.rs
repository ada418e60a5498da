use std::path::{Path, PathBuf};

/// What can go wrong while training.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// A setting is out of range or contradicts another.
    #[error("{setting}: {message}")]
    Config {
        /// The setting's name.
        setting: &'static str,
        /// What is wrong with it.
        message: String,
    },
    /// The loss is infinite or not a number; training stopped there.
    #[error(
        "the loss is {loss} in epoch {epoch}, step {step}: lower the learning rate, or look at the input"
    )]
    NonFiniteLoss {
        /// The epoch, from 0.
        epoch: usize,
        /// The step within the epoch, from 0.
        step: usize,
        /// The value.
        loss: f64,
    },
    /// No parameter of the store took part in the loss.
    #[error(
        "no parameter received a gradient: does the model draw its parameters from this store?"
    )]
    NoGradients,
    /// A data loader holds no batch.
    #[error("the {which} loader holds no batch ({samples} samples)")]
    EmptyLoader {
        /// `training` or `test`.
        which: &'static str,
        /// Samples in the data set.
        samples: usize,
    },
    /// A checkpoint, an optimizer state or a run record does not fit what it is loaded into.
    #[error("{path}: {message}")]
    Mismatch {
        /// The file.
        path: PathBuf,
        /// What was expected and what was found.
        message: String,
    },
    /// A file could not be read or written.
    #[error("{path}: {source}")]
    Io {
        /// The file or directory.
        path: PathBuf,
        /// The operating system's word.
        source: std::io::Error,
    },
    /// candle refused.
    #[error(transparent)]
    Candle(#[from] candle_core::Error),
    /// An operator or the parameter store refused.
    #[error(transparent)]
    Ops(#[from] tallow_ops::Error),
    /// A data set or its loader failed.
    #[error(transparent)]
    Data(#[from] tallow_datasets::Error),
    /// A metric refused its input.
    #[error(transparent)]
    Metrics(#[from] tallow_metrics::Error),
}

/// The result of this crate's functions.
pub type Result<T, E = Error> = std::result::Result<T, E>;

impl Error {
    pub(crate) fn config(setting: &'static str, message: impl Into<String>) -> Self {
        Error::Config {
            setting,
            message: message.into(),
        }
    }

    pub(crate) fn mismatch(path: &Path, message: impl std::fmt::Display) -> Self {
        Error::Mismatch {
            path: path.to_path_buf(),
            message: message.to_string(),
        }
    }

    /// For `map_err`: an operating system error about `path`.
    pub(crate) fn io(path: &Path) -> impl FnOnce(std::io::Error) -> Self {
        let path = path.to_path_buf();
        move |source| Error::Io { path, source }
    }
}
