#![doc = include_str!("../README.md")]
#![cfg_attr(
    not(test),
    warn(clippy::unwrap_used, clippy::expect_used, clippy::panic)
)]

mod decode;
mod error;
mod frame;
mod huffman;
mod quality;
mod transform;
mod upsample;

pub use decode::{Image, decode, decode_into, dimensions};
pub use error::{Error, Result};
pub use quality::quality;
