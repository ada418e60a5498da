/// Result of this crate's functions.
pub type Result<T, E = Error> = std::result::Result<T, E>;

/// Why a pipeline could not be built or a sample not be transformed.
#[derive(Debug, Clone, PartialEq, thiserror::Error)]
pub enum Error {
    /// One transform is wrong in itself, in its place, or for the image it was given.
    #[error("transform {} ({name}): {problem}", position + 1)]
    Transform {
        /// Place in the pipeline, from 0.
        position: usize,
        /// The transform's name as written in a configuration.
        name: &'static str,
        /// What is wrong with it.
        problem: Problem,
    },
    /// The pipeline never turns bytes into floats.
    #[error("the pipeline has no to-tensor: put one after the last transform of the u8 image")]
    NoToTensor,
    /// The image's bytes do not fill its stated shape, or a side is 0 or beyond [`MAX_SIDE`](crate::MAX_SIDE).
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
    /// The caller's output slice does not have the pipeline's output length.
    #[error("the output slice holds {found} values, the pipeline gives {expected}")]
    OutputLength {
        /// Values the pipeline writes for this image.
        expected: usize,
        /// Length of the slice given.
        found: usize,
    },
}

/// What is wrong with one transform.
#[derive(Debug, Clone, PartialEq, thiserror::Error)]
pub enum Problem {
    /// A size of 0, or beyond [`MAX_SIDE`](crate::MAX_SIDE).
    #[error("size {0} is outside 1..={max}", max = crate::MAX_SIDE)]
    Size(usize),
    /// A padding beyond [`MAX_SIDE`](crate::MAX_SIDE).
    #[error("padding {0} is above {max}", max = crate::MAX_SIDE)]
    Padding(usize),
    /// A probability outside `[0, 1]`.
    #[error("probability {0} is outside [0, 1]")]
    Probability(f64),
    /// A fill that a u8 image cannot hold.
    #[error("fill {0} is not a whole number in 0..=255 (before to-tensor the image is u8)")]
    FillU8(f32),
    /// A fill that is infinite or not a number.
    #[error("fill {0} is not finite")]
    Fill(f32),
    /// `mean` and `std` are empty or of unlike lengths.
    #[error(
        "mean has {mean} values and std {std}: both need one for each channel, or a single one"
    )]
    Lengths {
        /// Length of `mean`.
        mean: usize,
        /// Length of `std`.
        std: usize,
    },
    /// A mean that is infinite or not a number.
    #[error("mean {0} is not finite")]
    Mean(f32),
    /// A standard deviation that cannot be divided by.
    #[error("std {0} cannot be divided by")]
    Std(f32),
    /// Grayscale to a number of channels other than 1 or 3.
    #[error("num_output_channels is {0}, it must be 1 or 3")]
    GrayChannels(usize),
    /// Needs floats, stands before to-tensor.
    #[error("it works on floats: put it after to-tensor")]
    BeforeToTensor,
    /// Needs bytes, stands after to-tensor.
    #[error("it works on the u8 image: put it before to-tensor")]
    AfterToTensor,
    /// A second to-tensor.
    #[error("the image is a float tensor already")]
    SecondToTensor,
    /// The channel count does not suit the transform.
    #[error("it is for {expected} channels, the image has {found}")]
    Channels {
        /// Channels the transform is made for.
        expected: usize,
        /// Channels of the image that reaches it.
        found: usize,
    },
    /// The crop does not fit into the (padded) image.
    #[error(
        "a crop of {crop_height} x {crop_width} does not fit into {height} x {width} (after padding): \
         pad more, or set pad_if_needed"
    )]
    CropTooLarge {
        /// Rows asked for.
        crop_height: usize,
        /// Columns asked for.
        crop_width: usize,
        /// Rows there are, padding included.
        height: usize,
        /// Columns there are, padding included.
        width: usize,
    },
    /// More pixels than a permutation numbers.
    #[error("{0} pixels are more than a permutation can hold")]
    TooManyPixels(usize),
    /// Mirrored padding wider than the image it mirrors.
    #[error("{mode} padding of {padding} is too wide for a side of {side}")]
    MirrorTooWide {
        /// `reflect` or `symmetric`.
        mode: &'static str,
        /// Padding asked for on one side.
        padding: usize,
        /// The image's extent in that direction.
        side: usize,
    },
}
