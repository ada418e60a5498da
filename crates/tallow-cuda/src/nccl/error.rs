//! Errors.

/// Result with the [`Error`] of NCCL.
pub type Result<T, E = Error> = std::result::Result<T, E>;

/// Error of NCCL.
#[derive(Clone, Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// NCCL that is missing or cannot be used.
    #[error("{0}")]
    Missing(String),
    /// A function of NCCL failed.
    #[error(
        "NCCL, {call}: {text} (result {status}){}; NCCL_DEBUG=WARN prints more",
        if detail.is_empty() { String::new() } else { format!(": {detail}") }
    )]
    Call {
        /// Function of NCCL.
        call: &'static str,
        /// Its result.
        status: i32,
        /// Text of NCCL for the result.
        text: String,
        /// Last error that NCCL tells; empty if there is none.
        detail: String,
    },
    /// Nothing has come from another process for too long.
    #[error(
        "NCCL, {call}: rank {rank} has waited {seconds} s for the other GPUs: a process has stopped, or its machine cannot be reached"
    )]
    Silent {
        /// Call that was waited for.
        call: &'static str,
        /// Rank that has waited.
        rank: usize,
        /// Time that it has waited.
        seconds: u64,
    },
    /// An error before has ended the connection.
    #[error("the connection of the GPUs was ended by an error before")]
    Ended,
}
