use tallow_ops::LoadReport;

/// What is wrong with a file of weights; [`crate::Error::Weights`] names the file.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum WeightsProblem {
    /// It could not be read.
    #[error(transparent)]
    Io(#[from] std::io::Error),
    /// It is something else.
    #[error("expected weights as safetensors or as a PyTorch checkpoint, found {found}")]
    Kind {
        /// What it seems to be.
        found: String,
    },
    /// It is of a kind that can be read, but cut short, changed or made up.
    #[error("expected a whole {format}, found {found}")]
    Damaged {
        /// What it is a piece of.
        format: &'static str,
        /// The first thing that is wrong.
        found: String,
    },
    /// Its pickle names code. Nothing was run, and nothing is loaded.
    #[error(
        "expected tensors and plain values, found `{global}`, which is code and was not run; \
         of a PyTorch model only the state dict can be read: torch.save(model.state_dict(), path)"
    )]
    Code {
        /// The Python function or class.
        global: String,
    },
    /// It holds no state dict.
    #[error("expected a state dict, alone or as one of {}, found {found}", expected.join(", "))]
    NoStateDict {
        /// The keys under which a state dict is looked for.
        expected: &'static [&'static str],
        /// What there is.
        found: String,
    },
    /// A tensor is not of a type that can be loaded.
    #[error("`{tensor}`: expected {expected}, found {found}")]
    Type {
        /// The tensor's name.
        tensor: String,
        /// The types that would do.
        expected: &'static str,
        /// Its type.
        found: String,
    },
    /// The names or shapes are not the model's.
    #[error("the weights do not fit the model: {0}")]
    Fit(LoadReport),
}

pub(super) type Result<T, E = WeightsProblem> = std::result::Result<T, E>;
