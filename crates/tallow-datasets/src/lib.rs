//! Finding, checking, decoding and batching image classification datasets for candle.
#![cfg_attr(not(test), warn(clippy::unwrap_used, clippy::expect_used, clippy::panic))]

mod dataset;
mod error;

pub use dataset::{Dataset, DatasetInfo, ImageSet, Split};
pub use error::{Error, NotFound, Place, Result};
pub use tallow_transforms::ImageRef;
