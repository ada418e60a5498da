//! Integration tests of tallow-transforms.

mod augmentation;
mod augmentation_config;
mod augmentation_draws;
mod augmentations;
mod config;
mod errors;
mod gallery;
mod own_transform;
mod paths;
mod random;
mod torchvision;
