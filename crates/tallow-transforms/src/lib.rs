#![doc = include_str!("../README.md")]
#![cfg_attr(
    not(test),
    warn(clippy::unwrap_used, clippy::expect_used, clippy::panic)
)]

mod arrangement;
mod compose;
mod error;
mod frame;
pub mod functional;
mod fused;
mod image;
mod moves;
mod options;
mod policy;
mod resample;
mod rng;
mod transform;
mod transforms;
mod values;

pub use arrangement::Arrangement;
pub use compose::Compose;
pub use error::{Error, Problem, Result};
pub use image::{Image, ImageRef};
pub use moves::Move;
pub use options::{Interpolation, Interval, MAX_SIDE, PadMode, Padding, Size};
pub use rng::{SampleRng, permutation};
pub use transform::{Kind, Stage, Transform};
pub use transforms::*;
