//! Differentiable vision operators for candle: convolution, pooling, batch norm, losses, with right gradients and fast CPU paths.
#![cfg_attr(not(test), warn(clippy::unwrap_used, clippy::expect_used, clippy::panic))]

mod error;
mod generator;
mod init;
mod layout;
mod store;

pub use error::{Error, Result};
pub use generator::{Generator, GeneratorState};
pub use init::Init;
pub use layout::Layout;
pub use store::{LoadReport, MisShaped, ParamPath, ParamStore};
