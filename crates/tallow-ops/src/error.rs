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
}

/// Result with this crate's [`Error`].
pub type Result<T, E = Error> = std::result::Result<T, E>;

impl From<Error> for candle_core::Error {
    fn from(error: Error) -> Self {
        match error {
            Error::Candle(inner) => inner,
            other => candle_core::Error::wrap(other),
        }
    }
}
