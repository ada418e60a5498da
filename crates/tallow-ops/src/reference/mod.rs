//! The operators of this crate composed of candle tensor operations: what CUDA and Metal run, and the truth in tests.

pub(crate) mod conv;
pub(crate) mod linear;

pub use conv::conv2d;
pub use linear::linear;
