#![doc = include_str!("../README.md")]

mod error;
mod pickle;

pub use error::{Error, Result};
pub use pickle::{Id, Limits, Pickle, Value};
