//! Datasets from files: what is read, what is refused and how that is said.

mod cifar;
mod damage;
mod folder;
mod idx;
mod make;
mod parquet;
mod real;
#[cfg(feature = "sample")]
mod sample;
mod verify;
