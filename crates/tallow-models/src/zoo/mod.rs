//! Built-in networks.

mod catalogue;
mod cnn;
mod convnet;
mod convnext;
mod digits;
mod efficientnet;
mod inverted;
mod lenet;
mod mlp;
mod mobilenet;
mod nin;
mod resnet;
mod speedrun;
mod vgg;

pub use catalogue::{find, registry};
pub use resnet::{Block, Naming, ResNet, Stem};
