#![doc = include_str!("../README.md")]
#![cfg_attr(
    not(test),
    warn(clippy::unwrap_used, clippy::expect_used, clippy::panic)
)]

mod activation;
mod batch_norm;
mod cast;
mod conv;
mod conv_block;
mod conv_bn_eval;
mod conv_bn_relu;
mod conv_relu;
mod cpu;
mod cross_entropy;
#[cfg(feature = "cuda")]
mod cuda;
mod custom_op;
mod dropout;
mod error;
mod generator;
pub mod gradcheck;
mod init;
mod kernels;
mod layer_norm;
mod layout;
mod linear;
mod norm_add_relu;
mod pool;
mod precision;
pub mod reference;
mod relu;
mod route;
mod shortcut;
mod squeeze_excite;
mod store;
mod tape;
mod tensor_ops;
mod to_layout;
mod weighted;

pub use activation::{Activation, gelu, gelu_tanh, hard_sigmoid, hard_swish, sigmoid, silu};
pub use batch_norm::{
    BatchNormConfig, Norm, NormExchange, batch_norm_eval, batch_norm_train, with_norm_exchange,
    with_running_momentum,
};
pub use cast::cast;
pub use conv::{Conv2dConfig, conv2d};
pub use conv_bn_eval::{conv_bn_add_relu_eval, conv_bn_eval, conv_bn_relu_eval};
pub use conv_bn_relu::conv_bn_relu_train;
pub use conv_relu::conv_relu;
pub use cross_entropy::{CrossEntropyConfig, cross_entropy, cross_entropy_soft};
pub use dropout::dropout;
pub use error::{Error, Result};
pub use generator::{Generator, GeneratorState};
pub use init::Init;
pub use kernels::simd::instruction_set;
pub use layer_norm::{layer_norm, layer_norm_2d};
pub use layout::Layout;
pub use linear::{linear, linear_relu};
pub use norm_add_relu::{add_relu, batch_norm_add_relu_train};
pub use pool::{Pool2dConfig, adaptive_avg_pool2d, avg_pool2d, max_pool2d};
pub use precision::{Precision, with_precision};
pub use relu::relu;
pub use route::{cuda_device, has_gpu_kernels};
pub use shortcut::zero_pad_shortcut;
pub use squeeze_excite::{SqueezeExciteConfig, squeeze_excite};
pub use store::{LoadReport, MisShaped, ParamPath, ParamStore};
pub use tape::{Tape, no_grad};
pub use tensor_ops::{add, increment, pad_with_zeros};
pub use to_layout::{flatten, to_layout};
