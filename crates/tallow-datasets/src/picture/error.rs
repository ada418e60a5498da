//! Errors of pictures, without the names of their files.

/// Formats that are read, as error messages list them.
const KINDS: &str = "JPEG, PNG, WebP, BMP, GIF, TIFF or PNM";

/// Reason for which a picture is not read.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum PictureError {
    /// The bytes are no image.
    #[error("is no image but {0}; expected a {KINDS} image")]
    NotAnImage(String),
    /// The image is of a kind that is not read: a description with its article.
    #[error("is {0}, which is not read here; expected a {KINDS} image")]
    Unsupported(String),
    /// The header promises more pixels than the limit. Nothing was allocated for them.
    #[error(
        "has {width}x{height} pixels (width x height), more than the limit of {limit}; scale it down, or raise the limit (`max_pixels`)"
    )]
    TooLarge {
        /// Height in pixels.
        height: usize,
        /// Width in pixels.
        width: usize,
        /// Largest number of pixels.
        limit: u64,
    },
    /// The header gives a height or width of zero.
    #[error("has no pixels")]
    Empty,
    /// The file ends before the image does.
    #[error("is cut off before its end; get the file again")]
    Truncated,
    /// The contents are damaged.
    #[error("is damaged or cut off ({0}); get the file again")]
    Damaged(String),
}
