//! Parquet in the layout of the Hugging Face hub: encoded images in a column `img` or `image`, a struct (`bytes`, `path`) or plain
//! bytes, and integer labels.

use std::path::Path;

use image::ImageFormat;
use parquet::column::reader::ColumnReader;
use parquet::data_type::{ByteArray, ByteArrayType};
use parquet::file::reader::{FileReader, RowGroupReader};
use rayon::prelude::*;

use crate::contain::contained;
use crate::error::{Error, Result};
use crate::formats::cell::{Bad, into_planes};
use crate::formats::parquet_columns::{
    MAX_RATIO, SLACK, Table, broken, kind, labels, stopped, unsound, values,
};
use crate::formats::parquet_pages::{Budget, check};
use crate::storage::{Contents, Encoding, Reading};

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
        let mut table = Table::open(path, label_columns(reading.labels.column))?;
        let (image_column, label_column) = (table.images, table.labels);
        let mut budget = budget(reading, table.length);
        let mut cells = budget.bytes;
        for (i, group) in table.reader.metadata().row_groups().iter().enumerate() {
            let at = out.labels.len();
            let left = most - at;
            if group.num_rows() > left as i64 {
                let found = format!("more, from row {most} on");
                return Err(Error::invalid(path, format!("{most} rows at most"), found));
            }
            for column in [image_column, label_column] {
                check(&mut table.file, table.length, group, column, &mut budget)
                    .map_err(|found| unsound(path, format!("{found} (row group {i})")))?;
            }
            let (images, labels) = contained(|| {
                let group = table.reader.get_row_group(i).map_err(|e| broken(path, e))?;
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
        _ => {
            let found = group.metadata().column(column).column_type();
            Err(kind(path, found, "bytes for images"))
        }
    }
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
