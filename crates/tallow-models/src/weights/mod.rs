//! Weights from files: safetensors, and checkpoints of PyTorch, which are read as data and never executed.

mod checkpoint;
mod code;
pub(crate) mod error;
mod file;
mod known;
mod load;
mod names;
mod pickle;
mod pretrained;
mod read;
mod save;
mod sets;
mod shards;
mod tensors;
mod timm;

pub use error::WeightsProblem;
pub use known::{Checkpoint, checkpoints};
pub use load::{LoadWeights, LoadedWeights, load_weights};
pub use pretrained::{Pretrained, ResizeFilter, pretrained};
pub use read::read_weights;
pub use shards::shards;
