/// Error of reading a pickle.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// The pickle is truncated, corrupted, above a limit, or has an instruction that is not supported.
    #[error("{0}")]
    Damaged(String),
    /// The pickle names a function or class that the caller does not allow. Nothing was executed.
    #[error("`{module}.{name}`, which is code and was not executed")]
    Global {
        /// Module named.
        module: String,
        /// Function or class named.
        name: String,
    },
}

/// Result with this crate's [`Error`].
pub type Result<T, E = Error> = std::result::Result<T, E>;
