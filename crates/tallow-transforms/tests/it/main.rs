//! Integration tests of tallow-transforms.

mod augmentation;
mod config;
mod errors;
mod own_transform;
mod paths;
mod random;
mod torchvision;
