use std::fmt::Display;
use std::path::Path;

use candle_core::Shape;

/// Error of an operator or a parameter store.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// Argument with a wrong shape.
    #[error("{op}: {argument} has shape {found:?}, expected {expected}")]
    Shape {
        /// Name of the operator.
        op: &'static str,
        /// Name of the argument.
        argument: &'static str,
        /// Shape expected.
        expected: String,
        /// Shape found.
        found: Shape,
    },
    /// Hyper-parameter that is out of range or contradicts another.
    #[error("{op}: {message}")]
    Config {
        /// Name of the operator.
        op: &'static str,
        /// Value expected and value found.
        message: String,
    },
    /// Error of candle.
    #[error(transparent)]
    Candle(#[from] candle_core::Error),
    /// File that could not be read or written.
    #[error("{path}: {source}")]
    Io {
        /// Path of the file.
        path: std::path::PathBuf,
        /// Error of the operating system.
        source: std::io::Error,
    },
    /// Weight file that does not match the model.
    #[error("{path}: {message}")]
    Weights {
        /// Path of the file.
        path: std::path::PathBuf,
        /// Difference between the file and the model.
        message: String,
    },
    /// Parameters of a store by [`ParamStore::skip_init`](crate::ParamStore::skip_init) that were neither loaded nor drawn.
    #[error(
        "parameters without values: {}; the model was made without drawing them: load its weights, or call \
         ParamStore::init_missing",
        listed(names)
    )]
    Uninitialized {
        /// Their names, in creation order.
        names: Vec<String>,
    },
}

/// Result with this crate's [`Error`].
pub type Result<T, E = Error> = std::result::Result<T, E>;

impl Error {
    /// Error of a file of weights.
    pub(crate) fn weights(path: &Path, message: impl Display) -> Self {
        Self::Weights {
            path: path.into(),
            message: message.to_string(),
        }
    }
}

/// The first names of a list, and the number of the others.
fn listed(names: &[String]) -> String {
    const SHOWN: usize = 3;
    match names.get(..SHOWN) {
        Some(shown) if names.len() > SHOWN => {
            format!("{} and {} more", shown.join(", "), names.len() - SHOWN)
        }
        _ => names.join(", "),
    }
}

impl From<Error> for candle_core::Error {
    fn from(error: Error) -> Self {
        match error {
            Error::Candle(inner) => inner,
            other => candle_core::Error::wrap(other),
        }
    }
}
