#![doc = include_str!("../README.md")]
#![cfg_attr(
    not(test),
    warn(clippy::unwrap_used, clippy::expect_used, clippy::panic)
)]

mod abi;
mod error;
mod exchange;
mod launch;
mod library;
mod world;

pub use error::{Error, Result};
pub use launch::{Launch, detect};
pub use world::{Mpi, Options};
