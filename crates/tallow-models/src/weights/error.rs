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
    /// The file has several sets of weights, or none of the key asked for.
    #[error("{}", of_key(asked.as_deref(), known))]
    Key {
        /// Key asked for.
        asked: Option<String>,
        /// Keys of the sets of weights in the file.
        known: Vec<String>,
    },
    /// A tensor has NaN or infinite values.
    #[error(
        "`{tensor}`: expected finite numbers, found {count} of {len} NaN or infinite, the first at {first:?}; \
         the run that made the file has diverged, or the file is damaged"
    )]
    NonFinite {
        /// Name of the tensor in the model.
        tensor: String,
        /// Number of values that are not finite.
        count: usize,
        /// Number of values.
        len: usize,
        /// Index of the first.
        first: Vec<usize>,
    },
    /// The file is one part of the weights.
    #[error(
        "found one part of the weights of several files; expected their index, such as {index}"
    )]
    Part {
        /// Name of the index file.
        index: String,
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

fn of_key(asked: Option<&str>, known: &[String]) -> String {
    let list = known.join(", ");
    match (asked, known.is_empty()) {
        (Some(asked), true) => format!(
            "no weights with the key `{asked}`; the file has one set of weights, without a key"
        ),
        (Some(asked), false) => {
            format!("no weights with the key `{asked}`; the file has {list}")
        }
        (None, _) => format!("several sets of weights: {list}; choose one of them by its key"),
    }
}
