//! Built-in networks.

mod catalogue;
mod cnn;
mod convnet;
mod digits;
mod lenet;
mod mlp;
mod nin;
mod resnet;
mod vgg;

pub use catalogue::{find, registry};
pub use resnet::{Block, Naming, ResNet, Stem};
