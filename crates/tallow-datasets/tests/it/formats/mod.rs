//! The tables of `docs/formats.md`: every kind of picture, folder and known dataset, each made here and read.

#[cfg(all(feature = "pictures", target_os = "linux"))]
mod folders;
#[cfg(all(feature = "parquet", feature = "zstd"))]
mod known;
#[cfg(feature = "pictures")]
mod own;
#[cfg(feature = "pictures")]
mod pictures;
mod table;
