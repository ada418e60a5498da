use tallow_ops::LoadReport;

/// Problem of a file of weights; [`Error::Weights`](crate::Error::Weights) names the file.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum WeightsProblem {
    /// The file could not be read.
    #[error(transparent)]
    Io(#[from] std::io::Error),
    /// The file is of another kind.
    #[error("expected weights as safetensors or as a PyTorch checkpoint, found {found}")]
    Kind {
        /// Kind of file found.
        found: String,
    },
    /// The file is truncated, corrupted or forged.
    #[error("expected a whole {format}, found {found}")]
    Damaged {
        /// Format expected.
        format: &'static str,
        /// First fault found.
        found: String,
    },
    /// The pickle names code. Nothing was executed, and nothing is loaded.
    #[error(
        "expected tensors and plain values, found `{global}`, which is code and was not executed; \
         only the state dict of a PyTorch model can be read: torch.save(model.state_dict(), path)"
    )]
    Code {
        /// Python function or class named.
        global: String,
    },
    /// The file contains no state dict.
    #[error("expected a state dict, alone or as one of {}, found {found}", expected.join(", "))]
    NoStateDict {
        /// Keys of a state dict.
        expected: &'static [&'static str],
        /// Content found.
        found: String,
    },
    /// A tensor has a type that cannot be loaded.
    #[error("`{tensor}`: expected {expected}, found {found}")]
    Type {
        /// Name of the tensor.
        tensor: String,
        /// Types that can be loaded.
        expected: &'static str,
        /// Type found.
        found: String,
    },
    /// Names or shapes differ from the model's.
    #[error("the weights do not fit the model: {0}")]
    Fit(LoadReport),
}

pub(super) type Result<T, E = WeightsProblem> = std::result::Result<T, E>;
