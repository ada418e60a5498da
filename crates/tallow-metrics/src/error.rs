/// What can be wrong with the arguments of an update or a merge.
#[derive(Clone, Debug, PartialEq, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// The number of classes is zero, or too large for a table of classes x classes counts.
    #[error("the number of classes must be from 1 to {max}, found {found}")]
    Classes {
        /// The largest number accepted.
        max: usize,
        /// The number given.
        found: usize,
    },
    /// A count that must be at least one (`k` of a top-k accuracy, bins of a calibration error) is zero.
    #[error("{what} must be at least 1")]
    Zero {
        /// Which argument it is.
        what: &'static str,
    },
    /// Two slices that belong together differ in length.
    #[error("expected {expected} {what} for {labels} labels, found {found}")]
    Length {
        /// What the slice holds.
        what: &'static str,
        /// The number of labels given.
        labels: usize,
        /// The length this calls for.
        expected: usize,
        /// The length found.
        found: usize,
    },
    /// A label or a prediction is not a class index.
    #[error("{what} {value} at position {position} is not below the number of classes, {classes}")]
    OutOfRange {
        /// `label` or `prediction`.
        what: &'static str,
        /// Where in the slice it stands.
        position: usize,
        /// The index found.
        value: u32,
        /// The number of classes.
        classes: usize,
    },
    /// A probability outside `[0, 1]`, or one that is not a number.
    #[error("probability {value} at position {position} is not in [0, 1]")]
    Probability {
        /// Where in the slice it stands.
        position: usize,
        /// The value found.
        value: f32,
    },
    /// Two metrics of unlike shape cannot be merged, nor can logits of another width be added.
    #[error("this metric has {what} {expected}, found {found}")]
    Unlike {
        /// Which parameter differs.
        what: &'static str,
        /// The value of the metric being updated.
        expected: usize,
        /// The value that came in.
        found: usize,
    },
}

/// A result with this crate's [`Error`].
pub type Result<T, E = Error> = std::result::Result<T, E>;
