/// Invalid argument of an update or a merge.
#[derive(Clone, Debug, PartialEq, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// Number of classes that is zero, or too large for a matrix of classes x classes counts.
    #[error("the number of classes must be from 1 to {max}, found {found}")]
    Classes {
        /// Largest number accepted.
        max: usize,
        /// Number given.
        found: usize,
    },
    /// Zero where a count must be at least one (`k` of a top-k accuracy, bins of a calibration error).
    #[error("{what} must be at least 1")]
    Zero {
        /// Name of the argument.
        what: &'static str,
    },
    /// Slices whose lengths do not fit.
    #[error("expected {expected} {what} for {labels} labels, found {found}")]
    Length {
        /// Content of the slice.
        what: &'static str,
        /// Number of labels.
        labels: usize,
        /// Length expected.
        expected: usize,
        /// Length found.
        found: usize,
    },
    /// Label or prediction that is not a class index.
    #[error("{what} {value} at position {position} is not below the number of classes, {classes}")]
    OutOfRange {
        /// `label` or `prediction`.
        what: &'static str,
        /// Position in the slice.
        position: usize,
        /// Index found.
        value: u32,
        /// Number of classes.
        classes: usize,
    },
    /// Probability outside `[0, 1]`, or NaN.
    #[error("probability {value} at position {position} is not in [0, 1]")]
    Probability {
        /// Position in the slice.
        position: usize,
        /// Value found.
        value: f32,
    },
    /// Merge of metrics with different parameters, or logits with another number of classes.
    #[error("this metric has {what} {expected}, found {found}")]
    Unlike {
        /// Parameter that differs.
        what: &'static str,
        /// Value of the metric being updated.
        expected: usize,
        /// Value of the argument.
        found: usize,
    },
}

/// Result with this crate's [`Error`].
pub type Result<T, E = Error> = std::result::Result<T, E>;
