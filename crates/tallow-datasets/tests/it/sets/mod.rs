//! Datasets from files: contents, refused files, messages.

mod cifar;
mod damage;
#[cfg(feature = "pictures")]
mod folder;
mod idx;
pub mod make;
#[cfg(feature = "parquet")]
mod parquet;
#[cfg(feature = "pictures")]
mod pictures;
mod python;
mod real;
#[cfg(feature = "sample")]
mod sample;
mod verify;
