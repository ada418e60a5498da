//! Error type.

/// Result with this crate's [`Error`].
pub type Result<T, E = Error> = std::result::Result<T, E>;

/// Error of decoding a JPEG file.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// The bytes do not start with the JPEG signature `FF D8`.
    #[error("not a JPEG file: expected the bytes FF D8 at the start")]
    NotJpeg,
    /// The file is sound as far as it was read, but of a kind that this crate does not decode.
    /// Use a general decoder for it.
    #[error("unsupported JPEG: {0}")]
    Unsupported(&'static str),
    /// The file is truncated or corrupted.
    #[error("damaged JPEG: {0}")]
    Damaged(&'static str),
    /// The image has more pixels than the caller allows. Nothing was allocated for them.
    #[error("JPEG of {height}x{width} pixels (height x width): at most {limit} pixels are allowed")]
    TooLarge {
        /// Height in pixels.
        height: usize,
        /// Width in pixels.
        width: usize,
        /// Largest number of pixels that the caller allows.
        limit: usize,
    },
    /// The output buffer does not fit the image: it needs `3 * height * width` bytes.
    #[error("output buffer of {found} bytes: the image needs {expected} (3 x height x width)")]
    Buffer {
        /// Bytes that the image needs.
        expected: usize,
        /// Bytes of the buffer.
        found: usize,
    },
}
