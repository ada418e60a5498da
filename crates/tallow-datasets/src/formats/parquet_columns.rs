//! Columns of images and labels of a Parquet file in the layout of the Hugging Face hub, and their values.

use std::fs::File;
use std::path::Path;

use parquet::basic::Type;
use parquet::column::reader::{ColumnReader, ColumnReaderImpl};
use parquet::data_type::DataType;
use parquet::errors::ParquetError;
use parquet::file::reader::{FileReader, RowGroupReader, SerializedFileReader};

use crate::contain::contained;
use crate::error::{Error, Result};
use crate::formats::parquet_pages::check_footer;

const IMAGE_COLUMNS: [&str; 4] = ["img.bytes", "image.bytes", "img", "image"];

/// Largest ratio by which a compressed page may grow, and the bytes that any file may have besides.
pub(crate) const MAX_RATIO: u64 = 1032;
pub(crate) const SLACK: u64 = 1 << 20;

/// Rows read at a time.
const BATCH: usize = 1024;

/// Parquet file whose footer is read.
pub(crate) struct Table {
    pub file: File,
    /// Size of the file in bytes.
    pub length: u64,
    pub reader: SerializedFileReader<File>,
    /// Number of the column of images.
    pub images: usize,
    /// Number of the column of labels.
    pub labels: usize,
}

impl Table {
    /// Opens a file. Its labels are in the first of the columns `labels` that it has.
    pub fn open(path: &Path, labels: &[&str]) -> Result<Self> {
        let io = |e| Error::io(path, e);
        let mut file = File::open(path).map_err(io)?;
        let length = file.metadata().map_err(io)?.len();
        check_footer(&mut file, length).map_err(|found| unsound(path, found))?;
        let handle = file.try_clone().map_err(io)?;
        let reader = parsed(path, || SerializedFileReader::new(handle))?;
        let schema = reader.metadata().file_metadata().schema_descr_ptr();
        let names: Vec<String> = schema.columns().iter().map(|c| c.path().string()).collect();
        let images = find(path, &names, &IMAGE_COLUMNS, "an image")?;
        let labels = find(path, &names, labels, "a label")?;
        Ok(Self {
            file,
            length,
            reader,
            images,
            labels,
        })
    }
}

pub(crate) fn unsound(path: &Path, found: impl Into<String>) -> Error {
    Error::invalid(path, "a sound Parquet file", found)
}

/// Description of a file on which a decoder panicked.
pub(crate) fn stopped(panic: &str) -> String {
    format!("damage on which its decoder stopped: {panic}")
}

fn parsed<T>(path: &Path, work: impl FnOnce() -> Result<T, ParquetError>) -> Result<T> {
    match contained(work) {
        Ok(result) => result.map_err(|e| broken(path, e)),
        Err(panic) => Err(unsound(path, stopped(&panic))),
    }
}

pub(crate) fn broken(path: &Path, error: ParquetError) -> Error {
    #[cfg(not(feature = "zstd"))]
    if error.to_string().contains("zstd") {
        return Error::Feature {
            feature: "zstd",
            needed_for: format!("reading {}, compressed with zstd,", path.display()),
        };
    }
    unsound(path, error.to_string())
}

fn find(path: &Path, names: &[String], wanted: &[&str], what: &str) -> Result<usize> {
    wanted
        .iter()
        .find_map(|w| names.iter().position(|n| n == w))
        .ok_or_else(|| {
            Error::invalid(
                path,
                format!("{what} column called {}", wanted.join(" or ")),
                format!("columns {}", names.join(", ")),
            )
        })
}

/// All values of a column, none of which may be null; `left` at most. The first is of row `at`.
pub(crate) fn values<T: DataType>(
    path: &Path,
    mut reader: ColumnReaderImpl<T>,
    left: usize,
    at: usize,
) -> Result<Vec<T::T>> {
    let mut values = Vec::new();
    loop {
        let mut definition = Vec::new();
        let mut repetition = Vec::new();
        let before = values.len();
        let (records, read, _) = reader
            .read_records(
                BATCH,
                Some(&mut definition),
                Some(&mut repetition),
                &mut values,
            )
            .map_err(|e| broken(path, e))?;
        if records != read {
            let deepest = definition.iter().max();
            let null = definition
                .iter()
                .position(|d| Some(d) != deepest)
                .unwrap_or(0);
            let found = format!("nothing at row {}", at + before + null);
            return Err(Error::invalid(
                path,
                "an image and a label in every row",
                found,
            ));
        }
        if values.len() > left {
            let found = format!("more, from row {} on", at + left);
            return Err(Error::invalid(
                path,
                format!("{} rows at most", at + left),
                found,
            ));
        }
        if records == 0 {
            return Ok(values);
        }
    }
}

/// Labels of a row group, each below `classes`.
pub(crate) fn labels(
    path: &Path,
    group: &dyn RowGroupReader,
    column: usize,
    left: usize,
    classes: usize,
    at: usize,
) -> Result<Vec<u32>> {
    let labels: Vec<i64> = match group
        .get_column_reader(column)
        .map_err(|e| broken(path, e))?
    {
        ColumnReader::Int64ColumnReader(r) => values(path, r, left, at)?,
        ColumnReader::Int32ColumnReader(r) => values(path, r, left, at)?
            .into_iter()
            .map(i64::from)
            .collect(),
        _ => {
            let found = group.metadata().column(column).column_type();
            return Err(kind(path, found, "integers for labels"));
        }
    };
    let check = |(i, label)| match u32::try_from(label) {
        Ok(l) if (l as usize) < classes => Ok(l),
        _ => Err(Error::invalid(
            path,
            format!("labels from 0 to {}", classes - 1),
            format!("label {label} at row {}", at + i),
        )),
    };
    labels.into_iter().enumerate().map(check).collect()
}

/// Error of a column of another type.
pub(crate) fn kind(path: &Path, found: Type, expected: &str) -> Error {
    Error::invalid(path, expected, format!("a column of {found}"))
}
