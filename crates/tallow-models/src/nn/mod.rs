//! Layers, initialised as PyTorch initialises them, and [`Sequential`], which makes networks of them.
//!
//! Every layer is made at a place in a parameter store ([`tallow_ops::ParamPath`]) and has its name, also when it has no parameters, so
//! that summaries and feature extraction can refer to it. [`Sequential::build`] infers input shapes and names:
//!
//! ```
//! use candle_core::{DType, Device, Tensor};
//! use tallow_models::nn::Sequential;
//! use tallow_models::{Context, Module};
//! use tallow_ops::{Layout, ParamStore};
//!
//! let store = ParamStore::new(DType::F32, &Device::Cpu, 0);
//! let net = Sequential::build(&store.root(), (3, 32, 32))
//!     .sequential("features", |net| {
//!         net.conv2d(None, 16, 3).batch_norm2d(None).relu().max_pool2d(2) // features.0 to features.3
//!     })
//!     .flatten()
//!     .linear("classifier", 10)
//!     .finish()?;
//! let images = Tensor::zeros((2, 32, 32, 3), DType::F32, &Device::Cpu)?;
//!
//! // The four layers of `features` run as one operator.
//! let mut operators = Vec::new();
//! let logits = net.forward(&images, &mut Context::recording(true, Layout::Nhwc, &mut operators))?;
//! assert_eq!(logits.dims(), [2, 10]);
//! assert_eq!(operators[0].layers, ["features.0", "features.1", "features.2", "features.3"]);
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```
//!
//! Finished layers and residual blocks can be put together by hand:
//!
//! ```
//! use candle_core::{DType, Device, Tensor};
//! use tallow_models::nn::{BasicBlock, Bottleneck, ResidualOptions, Sequential, Shortcut};
//! use tallow_models::{Context, Module};
//! use tallow_ops::{Layout, ParamStore};
//!
//! let store = ParamStore::new(DType::F32, &Device::Cpu, 0);
//! let p = store.root();
//! let halving = ResidualOptions { stride: 2, shortcut: Shortcut::PooledProjection, ..Default::default() };
//! let net = Sequential::new()
//!     .add(BasicBlock::new(&p.pp("first"), 3, 16, &ResidualOptions::default())?)
//!     .add(Bottleneck::new(&p.pp("second"), 16, 8, 32, &halving)?);
//! let images = Tensor::zeros((2, 32, 32, 3), DType::F32, &Device::Cpu)?;
//! let features = net.forward(&images, &mut Context::new(true, Layout::Nhwc))?;
//! assert_eq!(features.dims(), [2, 16, 16, 32]);
//! assert_eq!(store.parameters()[0].0, "first.conv1.weight");
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```

mod activation;
mod blocks;
mod builder;
mod candle;
mod conv;
mod early;
mod fused;
mod init;
mod layer_norm;
mod layer_scale;
mod linear;
mod norm;
mod pool;
mod residual;
mod sequential;
mod shortcut;
mod simple;
mod squeeze_excite;
mod stochastic_depth;
mod transpose;
mod window;

pub use activation::{Activation, ActivationKind};
pub use builder::{Name, SequentialBuilder};
pub use candle::FromCandle;
pub use conv::{Conv2d, ConvOptions};
pub use early::{ConstantPad2d, PartialConv2d, Rbf, ScaledTanh, Subsampling, UnitBias};
pub use init::WeightInit;
pub use layer_norm::LayerNorm;
pub use layer_scale::LayerScale;
pub use linear::Linear;
pub use norm::{BatchNorm2d, NormOptions};
pub use pool::{AdaptiveAvgPool2d, AvgPool2d, MaxPool2d};
pub use residual::{BasicBlock, Bottleneck, PreActBlock, Residual};
pub use sequential::Sequential;
pub use shortcut::{ResidualOptions, Shortcut};
pub use simple::{Add, Dropout, Flatten, Relu, Tanh};
pub use squeeze_excite::SqueezeExcite;
pub use stochastic_depth::StochasticDepth;
pub use transpose::ConvTranspose2d;
