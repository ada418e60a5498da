//! Readers of the file formats. Each makes a [`Storage`](crate::storage::Storage) for the entries of the catalog.

#[cfg(feature = "parquet")]
mod cell;
pub(crate) mod cifar;
#[cfg(feature = "sample")]
pub(crate) mod embedded;
pub(crate) mod idx;
#[cfg(feature = "parquet")]
mod parquet_file;

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
