//! Operations that the automatic augmentations choose from, and the strengths that they give them.

mod auto_augment;
mod canvas;
mod space;

pub(crate) use auto_augment::{CIFAR10, Choice, IMAGENET, SVHN};
pub(crate) use canvas::{Canvas, Look};
pub(crate) use space::Space;
