use candle_core::Shape;

/// What can go wrong in an operator or a parameter store.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// An argument has the wrong shape.
    #[error("{op}: {argument} has shape {found:?}, expected {expected}")]
    Shape {
        /// The operator.
        op: &'static str,
        /// The argument's name.
        argument: &'static str,
        /// What the operator takes.
        expected: String,
        /// What it got.
        found: Shape,
    },
    /// A setting is out of range or contradicts another.
    #[error("{op}: {message}")]
    Config {
        /// The operator.
        op: &'static str,
        /// What is wrong with the setting.
        message: String,
    },
    /// candle refused.
    #[error(transparent)]
    Candle(#[from] candle_core::Error),
    /// A file could not be read or written.
    #[error("{path}: {source}")]
    Io {
        /// The file.
        path: std::path::PathBuf,
        /// The operating system's word.
        source: std::io::Error,
    },
    /// A weight file does not fit.
    #[error("{path}: {message}")]
    Weights {
        /// The file.
        path: std::path::PathBuf,
        /// What was expected and what was found.
        message: String,
    },
}

/// The result of this crate's functions.
pub type Result<T, E = Error> = std::result::Result<T, E>;

impl From<Error> for candle_core::Error {
    fn from(error: Error) -> Self {
        match error {
            Error::Candle(inner) => inner,
            other => candle_core::Error::wrap(other),
        }
    }
}
