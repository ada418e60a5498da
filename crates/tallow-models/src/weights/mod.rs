//! Weights from files: safetensors, and checkpoints of PyTorch, which are read as data and never executed.

mod checkpoint;
pub(crate) mod error;
mod known;
mod load;
mod pickle;
mod read;
mod tensors;

pub use error::WeightsProblem;
pub use known::{Checkpoint, checkpoints};
pub use load::{LoadWeights, load_weights};
pub use read::read_weights;
