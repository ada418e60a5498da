//! Writing of one Parquet file.

use std::fs::{self, File};
use std::iter::Peekable;
use std::path::{MAIN_SEPARATOR_STR, Path};
use std::sync::Arc;

use parquet::basic::Compression;
use parquet::data_type::{ByteArray, ByteArrayType, DataType, Int64Type};
use parquet::errors::ParquetError;
use parquet::file::properties::{EnabledStatistics, WriterProperties};
use parquet::file::writer::{
    SerializedColumnWriter, SerializedFileWriter, SerializedRowGroupWriter,
};
use parquet::schema::parser::parse_message_type;

use crate::dataset::Dataset;
use crate::error::{Error, Result};
use crate::folder::ImageFolder;
use crate::formats::class_names;
use crate::options::PictureOptions;
use crate::picture::Opened;

/// Columns as pyarrow writes those of `datasets`.
const SCHEMA: &str = "message schema {
    optional group image { optional binary bytes; optional binary path (UTF8); }
    optional int64 label;
}";

/// Definition levels of a picture and of a label that are there.
const PICTURE: i16 = 2;
const LABEL: i16 = 1;

/// Bytes of pictures of a row group.
const GROUP: u64 = 32 << 20;

/// Bytes of a page.
const PAGE: usize = 512 << 10;

/// Writes pictures of `set` until there are no more `rows`, or the file has `most` bytes of them.
pub(super) fn write(
    path: &Path,
    set: &ImageFolder,
    rows: &mut Peekable<impl Iterator<Item = usize>>,
    most: u64,
    options: &PictureOptions,
) -> Result<()> {
    let failed = |error: ParquetError| Error::io(path, std::io::Error::other(error));
    let schema = parse_message_type(SCHEMA).map_err(failed)?;
    // Pictures are compressed already, and each is another one.
    let properties = WriterProperties::builder()
        .set_compression(Compression::UNCOMPRESSED)
        .set_dictionary_enabled(false)
        .set_statistics_enabled(EnabledStatistics::None)
        .set_data_page_size_limit(PAGE)
        .set_created_by(concat!("tallow-datasets version ", env!("CARGO_PKG_VERSION")).to_string())
        .set_key_value_metadata(Some(vec![class_names::metadata(&set.info().classes)]))
        .build();
    let file = File::create(path).map_err(|e| Error::io(path, e))?;
    let writer = SerializedFileWriter::new(file, Arc::new(schema), Arc::new(properties));
    let mut writer = writer.map_err(failed)?;
    let mut bytes = 0;
    while bytes < most && rows.peek().is_some() {
        let mut group = writer.next_row_group().map_err(failed)?;
        let part = Part {
            set,
            options,
            bytes: (most - bytes).min(GROUP),
        };
        bytes += part.write(&mut group, rows, &failed)?;
        group.close().map_err(failed)?;
    }
    let file = writer.into_inner().map_err(failed)?;
    file.sync_all().map_err(|e| Error::io(path, e))
}

/// Part of the pictures that becomes a row group.
struct Part<'a> {
    set: &'a ImageFolder,
    options: &'a PictureOptions,
    /// Bytes of pictures after which it ends.
    bytes: u64,
}

impl Part<'_> {
    /// Writes the columns of a row group. Returns the bytes of the pictures.
    fn write(
        &self,
        group: &mut SerializedRowGroupWriter<'_, File>,
        rows: &mut impl Iterator<Item = usize>,
        failed: &impl Fn(ParquetError) -> Error,
    ) -> Result<u64> {
        let (mut names, mut labels, mut bytes) = (Vec::new(), Vec::new(), 0);
        let mut column = next(group).map_err(failed)?;
        while bytes < self.bytes
            && let Some(index) = rows.next()
        {
            let picture = self.picture(index)?;
            bytes += picture.len() as u64;
            names.push(ByteArray::from(self.name(index).as_str()));
            labels.push(i64::from(self.set.label(index)?));
            // One at a time, so that a page ends where it should.
            column
                .typed::<ByteArrayType>()
                .write_batch(&[ByteArray::from(picture)], Some(&[PICTURE]), None)
                .map_err(failed)?;
        }
        column.close().map_err(failed)?;
        write_column::<ByteArrayType>(group, &names, PICTURE).map_err(failed)?;
        write_column::<Int64Type>(group, &labels, LABEL).map_err(failed)?;
        Ok(bytes)
    }

    /// Bytes of a picture, whose header is read.
    fn picture(&self, index: usize) -> Result<Vec<u8>> {
        let path = self.set.path(index)?;
        let bytes = fs::read(&path).map_err(|e| Error::io(&path, e))?;
        match Opened::new(&bytes, self.options).map(|opened| opened.size()) {
            Ok(_) => Ok(bytes),
            Err(source) => Err(Error::Picture { path, source }),
        }
    }

    /// Path of a picture below the folder, in the same words on every system.
    fn name(&self, index: usize) -> String {
        let name = self.set.name(index).unwrap_or_default();
        name.replace(MAIN_SEPARATOR_STR, "/")
    }
}

fn next<'g>(
    group: &'g mut SerializedRowGroupWriter<'_, File>,
) -> Result<SerializedColumnWriter<'g>, ParquetError> {
    let column = group.next_column()?;
    column.ok_or_else(|| ParquetError::General("no column left".into()))
}

fn write_column<T: DataType>(
    group: &mut SerializedRowGroupWriter<'_, File>,
    values: &[T::T],
    level: i16,
) -> Result<(), ParquetError> {
    let mut column = next(group)?;
    let levels = vec![level; values.len()];
    column
        .typed::<T>()
        .write_batch(values, Some(&levels), None)?;
    column.close()
}
