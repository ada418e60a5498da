#![doc = include_str!("../README.md")]
#![cfg_attr(
    not(test),
    warn(clippy::unwrap_used, clippy::expect_used, clippy::panic)
)]

mod error;
mod image;
mod wire;
mod writer;

pub use error::{Error, Result};
pub use image::Image;
pub use writer::EventWriter;
