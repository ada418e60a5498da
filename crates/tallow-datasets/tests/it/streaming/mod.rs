//! Datasets that are larger than memory: Parquet files that are streamed, and folders.

mod damage;
mod memory;
mod order;
mod pack;
mod ranks;

use std::ops::Range;
use std::path::Path;
use std::sync::Arc;

use parquet::basic::{Compression, Encoding};
use parquet::data_type::{ByteArray, ByteArrayType, Int64Type};
use parquet::file::metadata::KeyValue;
use parquet::file::properties::{WriterProperties, WriterVersion};
use parquet::file::writer::SerializedFileWriter;
use parquet::schema::parser::parse_message_type;
use tallow_datasets::{
    DataLoader, Dataset, LoadOptions, LoaderConfig, Result, Split, Streaming, load,
};
use tallow_transforms::{Compose, TransformConfig};

/// Number of classes of [`label`].
const CLASSES: i64 = 5;

/// PPM of 3 x 4 pixels that tell the number of the sample.
fn ppm(sample: usize) -> Vec<u8> {
    let mut bytes = b"P6 4 3 255\n".to_vec();
    bytes.extend((0..36).map(|i| (sample * 7 + sample / 256 + i * 5) as u8));
    bytes
}

/// Red plane of [`ppm`].
fn red(sample: usize) -> Vec<u8> {
    let of = |i: usize| (sample * 7 + sample / 256 + 3 * i * 5) as u8;
    (0..12).map(of).collect()
}

fn label(sample: usize) -> i64 {
    (sample * 3 % 7) as i64 % CLASSES
}

/// Way to write a file.
#[derive(Clone)]
struct How {
    /// Bytes of a page.
    page: usize,
    /// Rows of a row group.
    group: usize,
    compression: Compression,
    version: WriterVersion,
    /// Bytes of a dictionary, or none.
    dictionary: usize,
    /// Names of the classes in the metadata.
    names: bool,
}

impl Default for How {
    fn default() -> Self {
        Self {
            page: 300,
            group: 60,
            compression: Compression::UNCOMPRESSED,
            version: WriterVersion::PARQUET_1_0,
            dictionary: 0,
            names: true,
        }
    }
}

/// Metadata of `datasets` with the names of the classes.
fn names() -> KeyValue {
    let text = r#"{"info": {"features": {"image": {"_type": "Image"}, "label": {"names": ["a", "b", "c", "d", "e"], "_type": "ClassLabel"}}}}"#;
    KeyValue::new("huggingface".to_string(), text.to_string())
}

/// Writes a file of these pictures and labels, a row for each.
fn write_rows(path: &Path, rows: &[(Vec<u8>, i64)], how: &How) {
    let schema = "message schema {
        optional group image { optional binary bytes; optional binary path (UTF8); }
        optional int64 label;
    }";
    let schema = Arc::new(parse_message_type(schema).unwrap());
    let properties = WriterProperties::builder()
        .set_data_page_size_limit(how.page)
        .set_write_batch_size(1)
        .set_encoding(Encoding::PLAIN)
        .set_compression(how.compression)
        .set_writer_version(how.version)
        .set_dictionary_enabled(how.dictionary > 0)
        .set_dictionary_page_size_limit(how.dictionary.max(1))
        .set_key_value_metadata(how.names.then(|| vec![names()]));
    std::fs::create_dir_all(path.parent().unwrap()).unwrap();
    let file = std::fs::File::create(path).unwrap();
    let mut writer = SerializedFileWriter::new(file, schema, Arc::new(properties.build())).unwrap();
    for rows in rows.chunks(how.group) {
        let mut group = writer.next_row_group().unwrap();
        let bytes = rows.iter().map(|(bytes, _)| ByteArray::from(bytes.clone()));
        let paths = rows.iter().map(|_| ByteArray::from("x.ppm"));
        for values in [bytes.collect::<Vec<_>>(), paths.collect()] {
            let mut column = group.next_column().unwrap().unwrap();
            let levels = vec![2i16; values.len()];
            column
                .typed::<ByteArrayType>()
                .write_batch(&values, Some(&levels), None)
                .unwrap();
            column.close().unwrap();
        }
        let labels: Vec<i64> = rows.iter().map(|(_, label)| *label).collect();
        let levels = vec![1i16; labels.len()];
        let mut column = group.next_column().unwrap().unwrap();
        column
            .typed::<Int64Type>()
            .write_batch(&labels, Some(&levels), None)
            .unwrap();
        column.close().unwrap();
        group.close().unwrap();
    }
    writer.close().unwrap();
}

/// Writes a file of the samples of a range.
fn write(path: &Path, samples: Range<usize>, how: &How) {
    let rows: Vec<_> = samples.map(|i| (ppm(i), label(i))).collect();
    write_rows(path, &rows, how);
}

/// Writes shards of these numbers of samples, which continue one another.
fn write_shards(dir: &Path, sizes: &[usize], how: &How) {
    let mut first = 0;
    for (number, size) in sizes.iter().enumerate() {
        let name = format!("train-{number:05}-of-{:05}.parquet", sizes.len());
        write(&dir.join(name), first..first + size, how);
        first += size;
    }
}

/// Options that stream in windows of so many bytes.
fn streamed(window: u64) -> LoadOptions {
    LoadOptions {
        streaming: Streaming {
            on: Some(true),
            window,
        },
        ..LoadOptions::default()
    }
}

fn in_memory() -> LoadOptions {
    LoadOptions {
        streaming: Streaming {
            on: Some(false),
            ..Streaming::default()
        },
        ..LoadOptions::default()
    }
}

fn train(path: &Path, options: &LoadOptions) -> Result<Arc<dyn Dataset>> {
    load(
        &format!("parquet:{}", path.display()),
        Split::Train,
        options,
    )
}

/// Loader with a random transform, so that what follows from the index of a sample is compared too.
fn loader(set: Arc<dyn Dataset>, seed: u64, workers: usize) -> DataLoader {
    let transform = Compose::new(vec![
        TransformConfig::random_crop(3, 1),
        TransformConfig::random_horizontal_flip(0.5),
        TransformConfig::to_tensor(),
    ]);
    let config = LoaderConfig {
        batch_size: 9,
        shuffle: true,
        num_workers: workers,
        seed,
        ..LoaderConfig::default()
    };
    DataLoader::new(set, transform.unwrap(), config).unwrap()
}
