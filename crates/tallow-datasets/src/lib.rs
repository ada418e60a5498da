// The example of the README reads the embedded sample.
#![cfg_attr(feature = "sample", doc = include_str!("../README.md"))]
#![cfg_attr(
    not(feature = "sample"),
    doc = "Image classification datasets for candle; see the README."
)]
#![cfg_attr(
    not(test),
    warn(clippy::unwrap_used, clippy::expect_used, clippy::panic)
)]

mod arrays;
mod block_sampler;
mod blocks;
mod catalog;
mod chunks;
#[cfg(feature = "pictures")]
mod contain;
mod dataset;
mod digest;
#[cfg(feature = "download")]
mod download;
mod entry;
mod error;
#[cfg(feature = "pictures")]
mod export;
mod fetch;
#[cfg(feature = "pictures")]
mod folder;
mod formats;
#[cfg(feature = "download")]
mod http;
#[cfg(feature = "download")]
mod hub;
mod inspect;
#[cfg(feature = "candle-datasets")]
mod interop;
mod load;
mod loader;
mod near;
mod options;
mod own;
#[cfg(feature = "parquet")]
mod pack;
#[cfg(feature = "parquet")]
mod parquet_set;
#[cfg(feature = "pictures")]
mod picture;
mod places;
mod read;
#[cfg(feature = "pictures")]
mod said;
mod sampler;
#[cfg(all(test, feature = "download"))]
mod server;
mod shards;
mod source;
mod storage;
mod subset;
#[cfg(feature = "pictures")]
mod unfinished;

pub use block_sampler::BlockSampler;
pub use blocks::Blocks;
pub use catalog::{catalog, entry};
pub use chunks::chunk_range;
pub use dataset::{Dataset, DatasetInfo, ImageSet, Split};
pub use entry::Entry;
pub use error::{Error, NotFound, Place, Result};
#[cfg(feature = "pictures")]
pub use export::{Exported, export};
pub use fetch::{Fetched, fetch, locate};
#[cfg(feature = "pictures")]
pub use folder::{ImageFolder, picture_files};
#[cfg(feature = "download")]
pub use hub::fetch_model_file;
pub use inspect::{
    Broken, DigestCheck, FileCheck, Inspection, SplitCheck, SplitInfo, Verification, inspect,
    verify,
};
#[cfg(feature = "candle-datasets")]
pub use interop::to_candle;
pub use load::{load, load_validation};
pub use loader::{ArrangedBatch, Batch, BatchSlice, DataLoader, Epoch, LoaderConfig};
pub use options::{Alpha, LoadOptions, PictureOptions, Progress, ProgressFn, Streaming};
pub use own::own_path;
#[cfg(feature = "parquet")]
pub use pack::{PackOptions, Packed, pack};
#[cfg(feature = "parquet")]
pub use parquet_set::{ParquetSet, is_parquet};
#[cfg(feature = "pictures")]
pub use picture::error::PictureError;
#[cfg(feature = "pictures")]
pub use picture::{Picture, PictureNote, decode_picture};
pub use places::cache_dir;
pub use sampler::{RandomSampler, Sampler, SequentialSampler, ShardedSampler};
pub use storage::Format;
pub use subset::{
    Fold, Sizes, Subset, class_filter, k_fold, sort_by_class, stratified_split, take,
    take_stratified,
};
pub use tallow_transforms::ImageRef;
