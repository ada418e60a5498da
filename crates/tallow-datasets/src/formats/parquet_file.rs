//! Parquet in the layout of the Hugging Face hub: encoded images in a column `img` or `image`, a struct (`bytes`, `path`) or plain
//! bytes, and integer labels.

use std::fs::File;
use std::path::Path;

use image::ImageFormat;
use parquet::basic::Type;
use parquet::column::reader::{ColumnReader, ColumnReaderImpl};
use parquet::data_type::{ByteArray, ByteArrayType, DataType};
use parquet::errors::ParquetError;
use parquet::file::reader::{FileReader, RowGroupReader, SerializedFileReader};
use rayon::prelude::*;

use crate::contain::contained;
use crate::error::{Error, Result};
use crate::formats::cell::{Bad, into_planes};
use crate::formats::parquet_pages::{Budget, check, check_footer};
use crate::storage::{Contents, Encoding, Reading};

const IMAGE_COLUMNS: [&str; 4] = ["img.bytes", "image.bytes", "img", "image"];

/// Largest ratio by which a compressed page may grow, and the bytes that any file may have besides.
const MAX_RATIO: u64 = 1032;
const SLACK: u64 = 1 << 20;

/// Rows read at a time.
const BATCH: usize = 1024;

impl Encoding {
    fn of(format: ImageFormat, bytes: &[u8]) -> Self {
        match format {
            ImageFormat::Jpeg => Encoding::Lossy(tallow_jpeg::quality(bytes)),
            // WebP may be either, and telling needs its contents.
            ImageFormat::WebP => Encoding::Lossy(None),
            _ => Encoding::Lossless,
        }
    }

    fn and(self, other: Self) -> Self {
        if self == other {
            self
        } else {
            Encoding::Lossy(None)
        }
    }
}

/// Reads shards in order, at most [`Reading::most`] rows in all.
pub(crate) fn read(reading: &Reading) -> Result<Contents> {
    let (shape, classes, most) = (reading.shape, reading.classes, reading.most);
    let mut out = Contents::lossless(Vec::new(), Vec::new());
    let mut first = true;
    for path in reading.files {
        let io = |e| Error::io(path, e);
        let mut file = File::open(path).map_err(io)?;
        let length = file.metadata().map_err(io)?.len();
        let mut budget = budget(reading, length);
        let mut cells = budget.bytes;
        check_footer(&mut file, length).map_err(|found| unsound(path, found))?;
        let handle = file.try_clone().map_err(io)?;
        let reader = parsed(path, || SerializedFileReader::new(handle))?;
        let schema = reader.metadata().file_metadata().schema_descr_ptr();
        let names: Vec<String> = schema.columns().iter().map(|c| c.path().string()).collect();
        let image_column = find(path, &names, &IMAGE_COLUMNS, "an image")?;
        let label_column = find(
            path,
            &names,
            label_columns(reading.labels.column),
            "a label",
        )?;
        for (i, group) in reader.metadata().row_groups().iter().enumerate() {
            let at = out.labels.len();
            let left = most - at;
            if group.num_rows() > left as i64 {
                let found = format!("more, from row {most} on");
                return Err(Error::invalid(path, format!("{most} rows at most"), found));
            }
            for column in [image_column, label_column] {
                check(&mut file, length, group, column, &mut budget)
                    .map_err(|found| unsound(path, format!("{found} (row group {i})")))?;
            }
            let (images, labels) = contained(|| {
                let group = reader.get_row_group(i).map_err(|e| broken(path, e))?;
                let images = images(path, &*group, image_column, left, at)?;
                Ok((
                    images,
                    labels(path, &*group, label_column, left, classes, at)?,
                ))
            })
            .unwrap_or_else(|panic| Err(unsound(path, stopped(&panic))))?;
            if images.len() != labels.len() {
                return Err(Error::invalid(
                    path,
                    format!("{} labels, one per image", images.len()),
                    format!("{} labels in row group {i}", labels.len()),
                ));
            }
            // A dictionary can give the bytes of one image to every row.
            let size = images.iter().map(|image| image.len() as u64).sum();
            cells = cells
                .checked_sub(size)
                .ok_or_else(|| unsound(path, format!("images of {size} bytes in row group {i}")))?;
            let encoding = decode(path, &images, shape, at, &mut out.pixels)?;
            if let Some(encoding) = encoding {
                out.encoding = if first {
                    encoding
                } else {
                    out.encoding.and(encoding)
                };
                first = false;
            }
            out.labels.extend(labels);
        }
    }
    if out.labels.is_empty() {
        let path = reading.files.first().cloned().unwrap_or_default();
        return Err(Error::invalid(path, "images", "no rows"));
    }
    Ok(out)
}

/// Work that a file of `length` bytes may cause: no more than the largest encoded images of the split, and in proportion to the file.
fn budget(reading: &Reading, length: u64) -> Budget {
    let (channels, height, width) = reading.shape;
    let image = 4 * (channels * height * width) as u64 + 4096;
    let split = image.saturating_mul(reading.most as u64);
    let file = length.saturating_mul(MAX_RATIO);
    Budget {
        bytes: split.min(file).saturating_add(SLACK),
    }
}

/// Names of the column of labels, the dataset's own first.
fn label_columns(name: &'static str) -> &'static [&'static str] {
    match name {
        "fine_label" => &["fine_label", "fine_labels", "label", "labels"],
        "coarse_label" => &["coarse_label", "coarse_labels"],
        _ => &["label", "labels"],
    }
}

fn unsound(path: &Path, found: impl Into<String>) -> Error {
    Error::invalid(path, "a sound Parquet file", found)
}

fn stopped(panic: &str) -> String {
    format!("damage on which its decoder stopped: {panic}")
}

fn parsed<T>(path: &Path, work: impl FnOnce() -> Result<T, ParquetError>) -> Result<T> {
    match contained(work) {
        Ok(result) => result.map_err(|e| broken(path, e)),
        Err(panic) => Err(unsound(path, stopped(&panic))),
    }
}

fn broken(path: &Path, error: ParquetError) -> Error {
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

/// All values of a column of a row group, none of which may be null; `left` at most.
fn values<T: DataType>(
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

fn images(
    path: &Path,
    group: &dyn RowGroupReader,
    column: usize,
    left: usize,
    at: usize,
) -> Result<Vec<ByteArray>> {
    match group
        .get_column_reader(column)
        .map_err(|e| broken(path, e))?
    {
        ColumnReader::ByteArrayColumnReader(r) => values::<ByteArrayType>(path, r, left, at),
        _ => Err(kind(path, group, column, "bytes for images")),
    }
}

fn labels(
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
        _ => return Err(kind(path, group, column, "integers for labels")),
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

fn kind(path: &Path, group: &dyn RowGroupReader, column: usize, expected: &str) -> Error {
    let found: Type = group.metadata().column(column).column_type();
    Error::invalid(path, expected, format!("a column of {found}"))
}

/// Decodes a row group's images in parallel onto the end of `pixels`.
fn decode(
    path: &Path,
    images: &[ByteArray],
    shape: (usize, usize, usize),
    at: usize,
    pixels: &mut Vec<u8>,
) -> Result<Option<Encoding>> {
    let size = shape.0 * shape.1 * shape.2;
    let start = pixels.len();
    pixels.resize(start + images.len() * size, 0);
    pixels[start..]
        .par_chunks_exact_mut(size)
        .zip(images)
        .enumerate()
        .map(|(i, (out, image))| match cell(image.data(), shape, out) {
            Ok(format) => Ok(Encoding::of(format, image.data())),
            Err(Bad { expected, found }) => Err(Error::invalid(
                path,
                format!("{expected} at row {}", at + i),
                found,
            )),
        })
        .try_reduce_with(|a, b| Ok(a.and(b)))
        .transpose()
}

/// Decodes a cell; a decoder that panics has met a damaged image.
fn cell(
    bytes: &[u8],
    shape: (usize, usize, usize),
    out: &mut [u8],
) -> std::result::Result<ImageFormat, Bad> {
    contained(|| into_planes(bytes, shape, out)).unwrap_or_else(|panic| {
        Err(Bad {
            expected: "a sound image".into(),
            found: stopped(&panic),
        })
    })
}
