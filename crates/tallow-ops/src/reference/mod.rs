//! Reference operators, composed of candle tensor operations. CUDA and Metal run them, and tests compare the kernels with them.

pub(crate) mod activation;
mod batch_norm;
pub(crate) mod conv;
pub(crate) mod layer_norm;
mod layout;
pub(crate) mod linear;
mod loss;
mod pool;
mod relu;
pub(crate) mod squeeze_excite;
mod wide;

pub use activation::{gelu, gelu_tanh, hard_sigmoid, hard_swish, sigmoid, silu};
pub use batch_norm::{batch_norm_eval, batch_norm_train};
pub use conv::conv2d;
pub use layer_norm::{layer_norm, layer_norm_2d};
pub use layout::{flatten, to_layout};
pub use linear::linear;
pub use loss::{cross_entropy, cross_entropy_soft};
pub use pool::{adaptive_avg_pool2d, avg_pool2d, max_pool2d};
pub(crate) use relu::masked;
pub use relu::relu;
pub use squeeze_excite::squeeze_excite;
