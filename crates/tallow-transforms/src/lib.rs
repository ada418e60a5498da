#![doc = include_str!("../README.md")]
#![cfg_attr(
    not(test),
    warn(clippy::unwrap_used, clippy::expect_used, clippy::panic)
)]

mod check;
mod compose;
mod error;
mod fused;
mod geometry;
mod image;
mod planes;
mod resize;
mod rng;
mod transform;

pub use compose::Compose;
pub use error::{Error, Problem, Result};
pub use image::ImageRef;
pub use rng::{SampleRng, permutation};
pub use transform::{Interpolation, PadMode, Padding, Size, Transform};

/// The longest side, crop or padding that is accepted.
pub const MAX_SIDE: usize = 65_535;
