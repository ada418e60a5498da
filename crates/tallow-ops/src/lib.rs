//! Differentiable vision operators for candle: convolution, pooling, batch norm, losses, with right gradients and fast CPU paths.
#![cfg_attr(not(test), warn(clippy::unwrap_used, clippy::expect_used, clippy::panic))]

mod error;
mod layout;

pub use error::{Error, Result};
pub use layout::Layout;
