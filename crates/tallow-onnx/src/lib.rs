#![doc = include_str!("../README.md")]
#![cfg_attr(
    not(test),
    warn(clippy::unwrap_used, clippy::expect_used, clippy::panic)
)]

mod array;
mod error;
mod graph;
mod layer;
mod operators;
mod pool;
pub mod proto;
mod value;

pub use array::Array;
pub use error::{Error, Result};
pub use graph::{Graph, ModelInfo};
pub use layer::{Attribute, Layer};
pub use operators::Conv;
pub use pool::Pool;
pub use value::{Dim, ElementType, Value};

/// Version of ONNX's operators that a graph is written with, of 2022. Every operator here means the same in later versions.
pub const OPSET: i64 = 17;
