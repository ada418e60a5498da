/// Result with this crate's [`Error`].
pub type Result<T, E = Error> = std::result::Result<T, E>;

/// Error of building a pipeline or of transforming an image.
#[derive(Debug, Clone, PartialEq, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// Invalid hyper-parameter, position or input of one transform.
    #[error("transform {} ({name}): {problem}", position + 1)]
    Transform {
        /// Position in the pipeline, from 0.
        position: usize,
        /// Name of the transform, as in a recipe.
        name: &'static str,
        /// Cause.
        problem: Problem,
    },
    /// Pipeline without to-tensor.
    #[error(
        "the pipeline has no to-tensor: add one after the last transform that works on the u8 image"
    )]
    NoToTensor,
    /// Pipeline that does more than to move whole rows and columns and to map values.
    #[error(
        "the pipeline has no arrangement: it does more than to move whole rows and columns and to map values, or has a transform that is not built in"
    )]
    NoArrangement,
    /// Image whose length is not that of its shape, or with a side of 0 or above [`MAX_SIDE`](crate::MAX_SIDE).
    #[error("an image of shape ({channels}, {height}, {width}) cannot have {bytes} bytes")]
    Image {
        /// Stated channels.
        channels: usize,
        /// Stated height.
        height: usize,
        /// Stated width.
        width: usize,
        /// Bytes present.
        bytes: usize,
    },
    /// Output slice whose length is not that of the pipeline's output.
    #[error("the output slice has {found} values, expected {expected}")]
    OutputLength {
        /// Values that the pipeline writes for this image.
        expected: usize,
        /// Length of the slice given.
        found: usize,
    },
}

/// Error of one transform.
#[derive(Debug, Clone, PartialEq, thiserror::Error)]
#[non_exhaustive]
pub enum Problem {
    /// Size of 0, or above [`MAX_SIDE`](crate::MAX_SIDE).
    #[error("size {0} is outside 1..={max}", max = crate::options::MAX_SIDE)]
    Size(usize),
    /// Padding above [`MAX_SIDE`](crate::MAX_SIDE).
    #[error("padding {0} is above {max}", max = crate::options::MAX_SIDE)]
    Padding(usize),
    /// Probability outside `[0, 1]`.
    #[error("probability {0} is outside [0, 1]")]
    Probability(f64),
    /// Fill that is not a value of a u8 image.
    #[error("fill {0} is not a whole number in 0..=255: before to-tensor the image is u8")]
    FillU8(f32),
    /// Fill that is infinite or NaN.
    #[error("fill {0} is not finite")]
    Fill(f32),
    /// `mean` and `std` that are empty or of different lengths.
    #[error(
        "mean has {mean} values and std has {std}: give both one value per channel, or a single value for all"
    )]
    Lengths {
        /// Length of `mean`.
        mean: usize,
        /// Length of `std`.
        std: usize,
    },
    /// Mean that is infinite or NaN.
    #[error("mean {0} is not finite")]
    Mean(f32),
    /// Standard deviation that is 0, infinite or NaN.
    #[error("std {0} is not a finite number other than 0")]
    Std(f32),
    /// Grayscale with an output of neither 1 nor 3 channels.
    #[error("num_output_channels is {0}, expected 1 or 3")]
    GrayChannels(usize),
    /// Transform of f32 values before to-tensor.
    #[error("it works on f32 values: move it after to-tensor")]
    BeforeToTensor,
    /// Transform of u8 values after to-tensor.
    #[error("it works on the u8 image: move it before to-tensor")]
    AfterToTensor,
    /// Second to-tensor.
    #[error("the image is f32 already: remove the second to-tensor")]
    SecondToTensor,
    /// Number of channels that the transform does not accept.
    #[error("expected {expected} channels, the image has {found}")]
    Channels {
        /// Channels that the transform accepts.
        expected: usize,
        /// Channels of its input.
        found: usize,
    },
    /// Crop larger than the padded image.
    #[error(
        "a crop of {crop_height} x {crop_width} does not fit into {height} x {width} (after padding): \
         pad more, or set pad_if_needed"
    )]
    CropTooLarge {
        /// Rows of the crop.
        crop_height: usize,
        /// Columns of the crop.
        crop_width: usize,
        /// Rows of the image, padding included.
        height: usize,
        /// Columns of the image, padding included.
        width: usize,
    },
    /// More pixels than 32-bit indices can number.
    #[error("an image of {0} pixels is too large for a permutation: at most 2^32 - 1 pixels")]
    TooManyPixels(usize),
    /// Mirrored padding wider than the image.
    #[error("{mode} padding of {padding} is too wide for a side of {side}")]
    MirrorTooWide {
        /// `reflect` or `symmetric`.
        mode: &'static str,
        /// Padding of one side.
        padding: usize,
        /// Extent of the image in that direction.
        side: usize,
    },
    /// Crop of a [`Move`](crate::Move) that is empty or reaches beyond the image.
    #[error(
        "a crop of {crop_height} x {crop_width} at row {top}, column {left} is not inside the image of \
         {height} x {width}"
    )]
    CropOutside {
        /// First row of the crop.
        top: usize,
        /// First column of the crop.
        left: usize,
        /// Rows of the crop.
        crop_height: usize,
        /// Columns of the crop.
        crop_width: usize,
        /// Rows of the image.
        height: usize,
        /// Columns of the image.
        width: usize,
    },
    /// Output of another shape than [`Transform::channels`](crate::Transform::channels) and
    /// [`Transform::output_size`](crate::Transform::output_size) give.
    #[error("the output has shape {found:?} (C, H, W), expected {expected:?}")]
    OutputShape {
        /// Shape `(C, H, W)` given by the two methods.
        expected: (usize, usize, usize),
        /// Shape `(C, H, W)` of the image.
        found: (usize, usize, usize),
    },
    /// Permutation of another length than the number of pixels, or with an index out of range.
    #[error("the permutation is not one of the {0} pixels of a channel")]
    Permutation(usize),
    /// Setting of a transform outside its range.
    #[error("{key} is {found}, expected {expected}")]
    Parameter {
        /// Key in a recipe.
        key: &'static str,
        /// Value found.
        found: String,
        /// Values accepted.
        expected: &'static str,
    },
    /// List with neither one value nor one per channel.
    #[error(
        "{key} has {found} values and the image {expected} channels: give one value, or one per channel"
    )]
    ValuesPerChannel {
        /// Key in a recipe.
        key: &'static str,
        /// Channels of the image.
        expected: usize,
        /// Values given.
        found: usize,
    },
    /// Bicubic interpolation of a warp after to-tensor.
    #[error(
        "bicubic interpolation works on the u8 image: move it before to-tensor, or choose bilinear"
    )]
    BicubicF32,
    /// Normally distributed values for a u8 image.
    #[error(
        "value = \"random\" draws normally distributed numbers: move it after to-tensor, or give a number"
    )]
    NormalU8,
    /// Corners of a perspective map of which three are on one line.
    #[error("three of the four corners are on one line: no perspective map has them")]
    Corners,
    /// Error of a transform that is not built in.
    #[error("{0}")]
    Custom(String),
}

impl Problem {
    pub(crate) fn parameter(
        key: &'static str,
        found: impl std::fmt::Display,
        expected: &'static str,
    ) -> Self {
        Self::Parameter {
            key,
            found: found.to_string(),
            expected,
        }
    }
}
