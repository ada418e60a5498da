//! Kernels: slices in, slices out, no candle.

pub(crate) mod conv;
pub(crate) mod gemm;
pub(crate) mod linear;
pub(crate) mod parallel;
pub(crate) mod real;
pub(crate) mod scratch;
