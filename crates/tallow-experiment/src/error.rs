//! Errors of this crate.

use std::io;
use std::path::{Path, PathBuf};

use crate::unknown_name;

/// Result with this crate's [`Error`].
pub type Result<T, E = Error> = std::result::Result<T, E>;

/// Error of an experiment: of its TOML, its data, its training or its files.
///
/// `Display` shows one level; the causes are [`source`](std::error::Error::source)s.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// Experiment or recipe with an unknown key, a wrong value, or a contradiction.
    #[error("{0}")]
    Recipe(String),
    /// Assignment `key=value` that cannot be applied to a recipe.
    #[error("{0}")]
    Set(String),
    /// Name that is not known.
    #[error("{message}")]
    Unknown {
        /// Kind of name, such as `experiment` or `variant`.
        kind: &'static str,
        /// The name.
        name: String,
        /// Full message with the nearest known name and all known names.
        message: String,
    },
    /// Device that is unknown or cannot be used.
    #[error("{message}")]
    Device {
        /// Name of the device.
        name: String,
        /// Full message.
        message: String,
        /// Error of the driver, if there is one.
        source: Option<Box<candle_core::Error>>,
    },
    /// File of weights that is missing, or that does not say what it was trained on.
    #[error("{0}")]
    Weights(String),
    /// Image file that cannot be decoded or used.
    #[error("{0}")]
    Image(String),
    /// Folder that is no finished run record.
    #[error("{0}")]
    RunRecord(String),
    /// Data that is empty, or a folder that does not exist.
    #[error("{0}")]
    Data(String),
    /// File or folder that cannot be read or written.
    #[error("cannot {action} {}", path.display())]
    Io {
        /// `read`, `write` or `create`.
        action: &'static str,
        /// The file or folder.
        path: PathBuf,
        /// Error of the operating system.
        source: io::Error,
    },
    /// Error with the name of the file, variant or run that it is about.
    #[error("{context}")]
    Context {
        /// The file, variant or run.
        context: String,
        /// The error.
        source: Box<Error>,
    },
    /// Claim that cannot be parsed.
    #[error(transparent)]
    Claim(#[from] tallow_regress::Error),
    /// Run record or results file that cannot be read or written.
    #[error(transparent)]
    Record(#[from] tallow_record::Error),
    /// Report that cannot be made.
    #[error(transparent)]
    Report(#[from] tallow_report::Error),
    /// Error of a dataset or data loader.
    #[error(transparent)]
    Dataset(Box<tallow_datasets::Error>),
    /// Error of a transform.
    #[error(transparent)]
    Transform(#[from] tallow_transforms::Error),
    /// Error of a model or its weights.
    #[error(transparent)]
    Model(Box<tallow_models::Error>),
    /// Error of training.
    #[error(transparent)]
    Train(Box<tallow_train::Error>),
    /// Error of an operator.
    #[error(transparent)]
    Ops(#[from] tallow_ops::Error),
    /// Error of a metric.
    #[error(transparent)]
    Metric(#[from] tallow_metrics::Error),
    /// Error of candle.
    #[error(transparent)]
    Candle(#[from] candle_core::Error),
    /// PNG file that cannot be encoded.
    #[error(transparent)]
    Png(#[from] image::ImageError),
    /// JSON that cannot be read or written.
    #[error(transparent)]
    Json(#[from] serde_json::Error),
    /// Recipe that cannot be written as TOML.
    #[error(transparent)]
    Toml(#[from] toml::ser::Error),
}

impl From<tallow_datasets::Error> for Error {
    fn from(error: tallow_datasets::Error) -> Self {
        Self::Dataset(Box::new(error))
    }
}

impl From<tallow_datasets::PictureError> for Error {
    fn from(error: tallow_datasets::PictureError) -> Self {
        Self::Image(error.to_string())
    }
}

impl From<tallow_models::Error> for Error {
    fn from(error: tallow_models::Error) -> Self {
        Self::Model(Box::new(error))
    }
}

impl From<tallow_train::Error> for Error {
    fn from(error: tallow_train::Error) -> Self {
        Self::Train(Box::new(error))
    }
}

impl Error {
    /// Error for a name that is not among the `known` ones, with the nearest of them.
    pub(crate) fn unknown(kind: &'static str, name: &str, known: &[&str]) -> Self {
        Self::Unknown {
            kind,
            name: name.to_string(),
            message: unknown_name::unknown(kind, name, known),
        }
    }

    /// Error of the operating system about a file.
    pub(crate) fn io(action: &'static str, path: &Path) -> impl FnOnce(io::Error) -> Self {
        move |source| Self::Io {
            action,
            path: path.to_path_buf(),
            source,
        }
    }

    /// Whether training stopped because the loss was not finite.
    pub fn is_non_finite_loss(&self) -> bool {
        match self {
            Self::Train(error) => matches!(
                **error,
                tallow_train::Error::NonFiniteLoss { .. }
                    | tallow_train::Error::NonFiniteGradient { .. }
            ),
            Self::Context { source, .. } => source.is_non_finite_loss(),
            _ => false,
        }
    }

    /// The error and its causes as one line, without a cause that the text before it already contains.
    pub fn message(&self) -> String {
        tallow_record::error_message(self)
    }
}

/// Adds the name of a file, a variant or a run to an error.
pub(crate) trait Context<T> {
    /// Adds `context` to the error.
    fn context(self, context: impl FnOnce() -> String) -> Result<T>;
}

impl<T, E: Into<Error>> Context<T> for Result<T, E> {
    fn context(self, context: impl FnOnce() -> String) -> Result<T> {
        self.map_err(|error| Error::Context {
            context: context(),
            source: Box::new(error.into()),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_message_names_each_cause_once() {
        let error: Result<()> = Err(Error::Data("data.gz: no such file".into()));
        let error = error.context(|| "mnist: data.gz: no such file".into());
        let error = error.context(|| "run 1".into()).unwrap_err();
        assert_eq!(error.message(), "run 1: mnist: data.gz: no such file");
        assert_eq!(error.to_string(), "run 1");
    }

    #[test]
    fn a_loss_that_is_not_finite_is_found_below_its_context() {
        let loss = tallow_train::Error::NonFiniteLoss {
            epoch: 0,
            step: 3,
            loss: f64::NAN,
            names: Vec::new(),
        };
        let error = Err::<(), _>(loss).context(|| "[1/2] cnn seed 0".into());
        assert!(error.unwrap_err().is_non_finite_loss());
        assert!(!Error::Data("empty".into()).is_non_finite_loss());
    }
}
