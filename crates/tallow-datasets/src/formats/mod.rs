//! Readers of the file formats. Each makes a [`Storage`](crate::storage::Storage) for the entries of the catalog.

#[cfg(feature = "parquet")]
mod cell;
pub(crate) mod cifar;
pub(crate) mod cifar_python;
#[cfg(feature = "parquet")]
pub(crate) mod class_names;
#[cfg(feature = "sample")]
pub(crate) mod embedded;
pub(crate) mod idx;
pub(crate) mod npy;
pub(crate) mod npz;
#[cfg(feature = "parquet")]
pub(crate) mod parquet_columns;
#[cfg(feature = "parquet")]
mod parquet_file;
#[cfg(feature = "parquet")]
pub(crate) mod parquet_pages;
#[cfg(feature = "parquet")]
mod thrift;

use crate::storage::{Format, Storage};

/// `train.parquet` and `test.parquet`, or their shards.
pub(crate) const PARQUET: Storage = Storage {
    format: Format::Parquet,
    files: [&["train.parquet"], &["test.parquet"]],
    members: [&[], &[]],
    #[cfg(feature = "parquet")]
    read: parquet_file::read,
    #[cfg(not(feature = "parquet"))]
    read: |reading| {
        Err(crate::error::Error::Feature {
            feature: "parquet",
            needed_for: format!(
                "reading {}",
                reading.files.first().cloned().unwrap_or_default().display()
            ),
        })
    },
};
