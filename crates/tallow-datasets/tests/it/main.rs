//! Integration tests, in one program: the data loader, subsets, and datasets from files.

mod features;
mod formats;
mod loader;
mod sets;
#[cfg(feature = "parquet")]
mod streaming;
mod subset;
