//! Kernels: slices in, slices out, no candle.

pub(crate) mod activation;
pub(crate) mod batch_norm;
pub(crate) mod channels;
pub(crate) mod conv;
pub(crate) mod conv_block;
pub(crate) mod elementwise;
mod exp;
pub(crate) mod float;
pub(crate) mod fresh;
mod functions;
pub(crate) mod gemm;
pub(crate) mod lanes;
pub(crate) mod layer_norm;
pub(crate) mod linear;
mod packed;
pub(crate) mod panel;
pub(crate) mod parallel;
pub(crate) mod pool;
pub(crate) mod real;
pub(crate) mod scratch;
pub(crate) mod simd;
pub(crate) mod softmax;
pub(crate) mod square;
pub(crate) mod squeeze_excite;
pub(crate) mod transpose;
