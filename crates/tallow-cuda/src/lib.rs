#![doc = include_str!("../README.md")]
#![cfg_attr(
    not(test),
    warn(clippy::unwrap_used, clippy::expect_used, clippy::panic)
)]

mod call;
pub mod calls;
pub mod partition;
pub mod source;

pub use call::{Address, Arg, Call, count};
