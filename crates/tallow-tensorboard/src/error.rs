use std::path::PathBuf;

/// Error of this crate.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// The event file could not be created or written.
    #[error("{path}: {source}")]
    Io {
        /// Path of the event file.
        path: PathBuf,
        /// Error of the operating system.
        source: std::io::Error,
    },
    /// The size, the number of channels and the number of bytes of an image do not fit together.
    #[error(
        "image of {width} x {height} pixels with {channels} channels: expected a width and height from 1 to 2^31 - 1, 1 or 3 \
         channels, and width * height * channels bytes; found {bytes} bytes"
    )]
    ImageSize {
        /// Width in pixels.
        width: usize,
        /// Height in pixels.
        height: usize,
        /// Channels of a pixel.
        channels: usize,
        /// Bytes given.
        bytes: usize,
    },
    /// The PNG encoder failed.
    #[error("image is not encoded as PNG: {0}")]
    Png(#[from] png::EncodingError),
}

/// Result of this crate's functions.
pub type Result<T, E = Error> = std::result::Result<T, E>;
