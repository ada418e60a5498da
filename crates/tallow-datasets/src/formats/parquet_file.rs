//! Parquet in the layout of the Hugging Face hub: encoded images in a struct column `img` or `image`
//! (`bytes`, `path`) and integer labels.

use std::fs::File;
use std::path::Path;

use image::ImageFormat;
use parquet::basic::Type;
use parquet::column::reader::{ColumnReader, ColumnReaderImpl};
use parquet::data_type::{ByteArray, ByteArrayType, DataType};
use parquet::errors::ParquetError;
use parquet::file::reader::{FileReader, RowGroupReader, SerializedFileReader};
use rayon::prelude::*;

use crate::error::{Error, Result};
use crate::formats::cell::{Bad, into_planes};
use crate::storage::{Contents, Encoding, Reading};

const IMAGE_COLUMNS: [&str; 4] = ["img.bytes", "image.bytes", "img", "image"];

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
        let file = File::open(path).map_err(|e| Error::io(path, e))?;
        let broken = |e| broken(path, e);
        let reader = SerializedFileReader::new(file).map_err(broken)?;
        let schema = reader.metadata().file_metadata().schema_descr_ptr();
        let names: Vec<String> = schema.columns().iter().map(|c| c.path().string()).collect();
        let image_column = find(path, &names, &IMAGE_COLUMNS, "an image")?;
        let label_column = find(path, &names, &[reading.labels.column], "a label")?;
        for i in 0..reader.num_row_groups() {
            let group = reader.get_row_group(i).map_err(broken)?;
            let at = out.labels.len();
            let left = most - at;
            let images = images(path, &*group, image_column, left, at)?;
            let labels = labels(path, &*group, label_column, left, classes, at)?;
            if images.len() != labels.len() {
                return Err(Error::invalid(
                    path,
                    format!("{} labels, one per image", images.len()),
                    format!("{} labels in row group {i}", labels.len()),
                ));
            }
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

fn broken(path: &Path, error: ParquetError) -> Error {
    #[cfg(not(feature = "zstd"))]
    if error.to_string().contains("zstd") {
        return Error::Feature {
            feature: "zstd",
            needed_for: format!("reading {}, compressed with zstd,", path.display()),
        };
    }
    Error::invalid(path, "a sound Parquet file", error.to_string())
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
                1024,
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
        .map(
            |(i, (out, image))| match into_planes(image.data(), shape, out) {
                Ok(format) => Ok(Encoding::of(format, image.data())),
                Err(Bad { expected, found }) => Err(Error::invalid(
                    path,
                    format!("{expected} at row {}", at + i),
                    found,
                )),
            },
        )
        .try_reduce_with(|a, b| Ok(a.and(b)))
        .transpose()
}
