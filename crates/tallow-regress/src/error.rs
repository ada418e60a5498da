//! Errors of this crate.

/// Result with this crate's [`Error`].
pub type Result<T> = std::result::Result<T, Error>;

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
}
