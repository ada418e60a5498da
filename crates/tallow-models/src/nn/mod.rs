//! The layers networks are made of, initialised as PyTorch initialises them.
//!
//! Every layer is made at a place in a parameter store ([`tallow_ops::ParamPath`]) and bears its name, those without parameters too,
//! so that summaries and feature extraction can speak of each.
//!
//! ```
//! use candle_core::{DType, Device, Tensor};
//! use tallow_models::nn::{Conv2d, Flatten, Linear, MaxPool2d, Relu, Sequential};
//! use tallow_models::{Context, Module};
//! use tallow_ops::{Layout, ParamStore};
//!
//! let store = ParamStore::new(DType::F32, &Device::Cpu, 0);
//! let p = store.root();
//! let net = Sequential::new()
//!     .add(Conv2d::new(p.pp("conv"), 1, 6, 5)?)
//!     .add(Relu::new(p.pp("relu")))
//!     .add(MaxPool2d::new(p.pp("pool"), 2))
//!     .add(Flatten::new(p.pp("flatten")))
//!     .add(Linear::new(p.pp("fc"), 6 * 12 * 12, 10)?);
//! let images = Tensor::zeros((2, 1, 28, 28), DType::F32, &Device::Cpu)?;
//! let logits = net.forward(&images, &mut Context::new(true, Layout::Nchw))?;
//! assert_eq!(logits.dims(), [2, 10]);
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```
//!
//! Blocks are layers like any other:
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

mod block;
mod conv;
mod conv_relu;
mod early;
mod init;
mod linear;
mod norm;
mod pool;
mod residual;
mod sequential;
mod shortcut;
mod simple;
mod transpose;

pub use block::{ConvBn, ConvBnRelu};
pub use conv::{Conv2d, ConvOptions};
pub use conv_relu::ConvRelu;
pub use early::{ConstantPad2d, PartialConv2d, Rbf, ScaledTanh, Subsampling, UnitBias};
pub use init::WeightInit;
pub use linear::Linear;
pub use norm::BatchNorm2d;
pub use pool::{AdaptiveAvgPool2d, AvgPool2d, MaxPool2d};
pub use residual::{BasicBlock, Bottleneck, PreActBlock, ResidualOptions};
pub use sequential::Sequential;
pub use shortcut::Shortcut;
pub use simple::{Add, Dropout, Flatten, Relu, Tanh};
pub use transpose::ConvTranspose2d;
