#![doc = include_str!("../README.md")]
#![cfg_attr(
    not(test),
    warn(clippy::unwrap_used, clippy::expect_used, clippy::panic)
)]

mod call;
pub mod calls;
#[cfg(feature = "cuda")]
mod clock;
#[cfg(feature = "cuda")]
mod comm_stream;
#[cfg(feature = "cuda")]
pub mod compile;
#[cfg(feature = "cuda")]
mod cudnn;
#[cfg(feature = "cuda")]
mod device;
#[cfg(feature = "cuda")]
mod engine;
#[cfg(feature = "cuda")]
mod error;
#[cfg(feature = "cuda")]
pub mod graph;
#[cfg(any(feature = "cuda", test))]
mod loader;
#[cfg(feature = "cuda")]
mod lt;
#[cfg(feature = "cuda")]
pub mod memory;
#[cfg(any(feature = "cuda", test))]
pub mod nccl;
#[cfg(feature = "cuda")]
pub mod ops;
pub mod partition;
#[cfg(feature = "cuda")]
mod recordings;
pub mod source;
#[cfg(feature = "cuda")]
pub mod times;
#[cfg(feature = "cuda")]
mod view;
#[cfg(feature = "cuda")]
mod workspace;

pub use call::{Address, Arg, Call, Numbers, Precision, count};
#[cfg(feature = "cuda")]
pub use comm_stream::{CommStream, Mark};
#[cfg(feature = "cuda")]
pub use device::{Description, count as device_count, describe, open, uuid};
#[cfg(feature = "cuda")]
pub use error::{Error, Result};
#[cfg(feature = "cuda")]
pub use view::View;
