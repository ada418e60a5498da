//! Datasets from files: contents, refused files, messages.

mod arrays;
pub mod cifar;
mod damage;
#[cfg(feature = "pictures")]
mod folder;
mod idx;
#[cfg(feature = "pictures")]
mod lists;
pub mod make;
#[cfg(feature = "parquet")]
pub mod parquet;
#[cfg(feature = "pictures")]
pub mod pictures;
pub mod python;
mod real;
#[cfg(feature = "sample")]
mod sample;
mod verify;
