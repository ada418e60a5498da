#![doc = include_str!("../README.md")]

mod error;
mod pickle;
mod write;

pub use error::{Error, Result};
pub use pickle::{Id, Limits, Pickle, Value};
pub use write::Object;
