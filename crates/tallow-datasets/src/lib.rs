#![doc = include_str!("../README.md")]
#![cfg_attr(
    not(test),
    warn(clippy::unwrap_used, clippy::expect_used, clippy::panic)
)]

mod baseline_jpeg;
mod catalog;
mod cifar;
mod classes;
mod dataset;
mod decode;
#[cfg(feature = "download")]
mod download;
mod error;
mod fetch;
mod folder;
mod idx;
mod inspect;
#[cfg(feature = "candle-datasets")]
mod interop;
mod jpeg;
mod load;
mod loader;
mod parquet_file;
mod places;
#[cfg(feature = "sample")]
mod sample;
mod sampler;
mod source;
mod subset;

pub use catalog::{Entry, Format, catalog, entry};
pub use dataset::{Dataset, DatasetInfo, ImageSet, Split};
pub use error::{Error, NotFound, Place, Result};
pub use fetch::{Fetched, fetch, locate};
pub use folder::ImageFolder;
pub use inspect::{
    FileCheck, Inspection, SplitCheck, SplitInfo, Verdict, Verification, inspect, verify,
};
#[cfg(feature = "candle-datasets")]
pub use interop::to_candle;
pub use load::{LoadOptions, Progress, ProgressFn, load};
pub use loader::{Batch, DataLoader, Epoch, LoaderConfig};
pub use places::cache_dir;
pub use sampler::Sampler;
pub use subset::{
    Fold, Sizes, Subset, class_filter, k_fold, sort_by_class, stratified_split, take,
    take_stratified,
};
pub use tallow_transforms::ImageRef;
