//! Differentiable vision operators for candle: convolution, pooling, batch norm, losses, with right gradients and fast CPU paths.
#![cfg_attr(not(test), warn(clippy::unwrap_used, clippy::expect_used, clippy::panic))]

mod conv;
mod cpu;
mod error;
mod generator;
pub mod gradcheck;
mod init;
mod kernels;
mod layout;
mod linear;
pub mod reference;
mod store;

pub use conv::{Conv2dConfig, conv2d};
pub use error::{Error, Result};
pub use generator::{Generator, GeneratorState};
pub use init::Init;
pub use layout::Layout;
pub use linear::linear;
pub use store::{LoadReport, MisShaped, ParamPath, ParamStore};
