#![doc = include_str!("../README.md")]
#![cfg_attr(
    not(test),
    warn(clippy::unwrap_used, clippy::expect_used, clippy::panic)
)]

mod error;
mod model;
mod module;
pub mod nn;
mod registry;
mod summary;
mod zoo;

pub use error::{Error, Result};
pub use model::{Model, ModelConfig};
pub use module::{Context, Layer, Module};
pub use registry::{Entry, find, registry};
pub use summary::{LayerSummary, Summary};
