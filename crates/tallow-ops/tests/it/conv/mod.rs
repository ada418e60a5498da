//! The convolution against its reference, PyTorch and finite differences.

mod agreement;
mod case;
mod edges;
mod errors;
mod gradients;
mod pytorch;
mod threads;
mod winograd;
