//! Parquet in the layout of the Hugging Face hub, written by pyarrow and by hand.

use std::sync::Arc;

use parquet::basic::{BrotliLevel, Compression, GzipLevel};
use parquet::data_type::{ByteArray, ByteArrayType, Int64Type};
use parquet::file::properties::WriterProperties;
use parquet::file::writer::SerializedFileWriter;
use parquet::schema::parser::parse_message_type;
use tallow_datasets::Split;

use crate::sets::make::*;

const FILE: &str = "cifar10/train.parquet";

fn cifar10(fixture: &str) -> Dir {
    let dir = Dir::new();
    dir.write(FILE, fixture_bytes(fixture));
    dir
}

type Images = Vec<Option<Vec<u8>>>;
type Labels = Vec<Option<i64>>;

/// One row group of images and labels; a `None` is a null.
fn file(images: &[Option<Vec<u8>>], labels: &[Option<i64>]) -> Vec<u8> {
    let columns = "optional group img { optional binary bytes; } optional int64 label;";
    file_of(columns, Compression::UNCOMPRESSED, images, labels)
}

/// As [`file()`], with other columns and a compression; an image column that is no struct has one level less.
fn file_of(
    columns: &str,
    compression: Compression,
    images: &[Option<Vec<u8>>],
    labels: &[Option<i64>],
) -> Vec<u8> {
    let schema = Arc::new(parse_message_type(&format!("message m {{ {columns} }}")).unwrap());
    let deepest = schema_depth(&schema);
    let properties = WriterProperties::builder().set_compression(compression);
    let properties = Arc::new(properties.build());
    let mut writer = SerializedFileWriter::new(Vec::new(), schema, properties).unwrap();
    let mut group = writer.next_row_group().unwrap();
    let values: Vec<_> = images
        .iter()
        .flatten()
        .cloned()
        .map(ByteArray::from)
        .collect();
    let levels: Vec<_> = images
        .iter()
        .map(|i| deepest - i16::from(i.is_none()))
        .collect();
    let mut column = group.next_column().unwrap().unwrap();
    column
        .typed::<ByteArrayType>()
        .write_batch(&values, Some(&levels), None)
        .unwrap();
    column.close().unwrap();
    let values: Vec<_> = labels.iter().flatten().copied().collect();
    let levels: Vec<_> = labels.iter().map(|l| l.is_some() as i16).collect();
    let mut column = group.next_column().unwrap().unwrap();
    column
        .typed::<Int64Type>()
        .write_batch(&values, Some(&levels), None)
        .unwrap();
    column.close().unwrap();
    group.close().unwrap();
    writer.into_inner().unwrap()
}

/// Definition level of an image that is there.
fn schema_depth(schema: &parquet::schema::types::Type) -> i16 {
    match schema.get_fields()[0].is_group() {
        true => 2,
        false => 1,
    }
}

fn png(width: u32, height: u32) -> Vec<u8> {
    let mut bytes = std::io::Cursor::new(Vec::new());
    image::RgbImage::new(width, height)
        .write_to(&mut bytes, image::ImageFormat::Png)
        .unwrap();
    bytes.into_inner()
}

#[test]
fn png_is_read_as_pillow_reads_it() {
    let set = cifar10("cifar10-png.parquet").train("cifar10");
    assert_eq!(planes(&*set), fixture_bytes("cifar-png.bin"));
    assert_eq!(labels(&*set), [3, 0, 9, 3, 7]);
    assert_eq!(set.info().provenance, "cifar10 (parquet, unverified)");

    let dir = Dir::new();
    dir.write(
        "mnist/train-00000-of-00001.parquet",
        fixture_bytes("mnist-png.parquet"),
    );
    let set = dir.train("mnist");
    assert_eq!(planes(&*set), fixture_bytes("mnist-png.bin"));
    assert_eq!(labels(&*set), [5, 0, 4]);

    let dir = Dir::new();
    dir.write(
        "cifar100/cifar100/train-00000-of-00001.parquet",
        fixture_bytes("cifar100-png.parquet"),
    );
    assert_eq!(labels(&*dir.train("cifar100")), [49, 0, 99, 49, 7]);
    assert_eq!(labels(&*dir.train("cifar100-coarse")), [10, 4, 13, 10, 7]);
}

#[test]
fn jpeg_is_never_taken_for_the_original() {
    let set = cifar10("cifar10-jpeg75.parquet").train("cifar10");
    assert_eq!(set.info().provenance, "cifar10 jpeg-q75 (parquet)");
    let set = cifar10("cifar10-mixed.parquet").train("cifar10");
    assert_eq!(set.info().provenance, "cifar10 lossy (parquet)");
}

#[test]
fn jpeg_is_what_pillow_decodes_to_the_bit() {
    for name in ["jpeg75-444", "jpeg75"] {
        let set = cifar10(&format!("cifar10-{name}.parquet")).train("cifar10");
        assert_eq!(set.info().provenance, "cifar10 jpeg-q75 (parquet)");
        assert!(
            planes(&*set) == fixture_bytes(&format!("cifar-{name}.bin")),
            "{name}"
        );
    }
}

#[cfg(feature = "zstd")]
#[test]
fn zstd_is_read() {
    let set = cifar10("cifar10-jpeg75-zstd.parquet").train("cifar10");
    assert!(planes(&*set) == fixture_bytes("cifar-jpeg75.bin"));
}

#[cfg(not(feature = "zstd"))]
#[test]
fn zstd_names_the_missing_feature() {
    cifar10("cifar10-jpeg75-zstd.parquet").fails("cifar10", FILE, &["the feature `zstd`"]);
}

#[test]
fn every_compression_is_read() {
    let columns = "optional group img { optional binary bytes; } optional int64 label;";
    for compression in [
        Compression::UNCOMPRESSED,
        Compression::SNAPPY,
        Compression::GZIP(GzipLevel::default()),
        Compression::BROTLI(BrotliLevel::default()),
        Compression::LZ4,
        Compression::LZ4_RAW,
        #[cfg(feature = "zstd")]
        Compression::ZSTD(Default::default()),
    ] {
        let dir = Dir::new();
        let bytes = file_of(columns, compression, &[Some(png(32, 32))], &[Some(7)]);
        let set = dir.write(FILE, bytes).train("cifar10");
        assert_eq!(labels(&*set), [7], "{compression}");
        assert_eq!(planes(&*set), vec![0; 3072], "{compression}");
    }
}

#[test]
fn columns_have_many_names() {
    for (name, columns) in [
        ("cifar10", "optional binary image; optional int64 labels;"),
        ("cifar10", "optional binary img; optional int64 label;"),
        (
            "cifar10",
            "optional group image { optional binary bytes; } optional int64 labels;",
        ),
        (
            "cifar100",
            "optional binary img; optional int64 fine_label;",
        ),
        ("cifar100", "optional binary img; optional int64 label;"),
        (
            "cifar100-coarse",
            "optional binary img; optional int64 coarse_labels;",
        ),
    ] {
        let dir = Dir::new();
        let bytes = file_of(
            columns,
            Compression::SNAPPY,
            &[Some(png(32, 32))],
            &[Some(9)],
        );
        let folder = name.trim_end_matches("-coarse");
        dir.write(&format!("{folder}/train.parquet"), bytes);
        assert_eq!(labels(&*dir.train(name)), [9], "{columns}");
    }
}

/// The fixture, whose first page is a dictionary of two images at byte 4, with other bytes from there on.
fn damaged(at: usize, bytes: &[u8]) -> Dir {
    let mut file = fixture_bytes("cifar10-png.parquet");
    file[at..at + bytes.len()].copy_from_slice(bytes);
    let dir = Dir::new();
    dir.write(FILE, file);
    dir
}

#[test]
fn page_headers_are_not_believed() {
    let whole = fixture_bytes("cifar10-png.parquet");
    let sizes = whole[5..].iter().position(|&b| b == 0x4c).unwrap() + 5;
    assert_eq!(whole[4..6], [0x15, 4]);
    assert_eq!(whole[sizes..sizes + 3], [0x4c, 0x15, 4]);
    let started = std::time::Instant::now();
    let two_gib: &[u8] = &[
        0x15, 4, 0x15, 0xfe, 0xff, 0xff, 0xff, 0x0f, 0x15, 2, 0x4c, 0x15, 10, 0x15, 0, 0, 0,
    ];
    let cases: [(usize, &[u8], &str); 6] = [
        // A list of 2^31 structs of which nothing is there.
        (
            4,
            &[0x99, 0xfc, 0xff, 0xff, 0xff, 0xff, 0x07],
            "a damaged page header at byte 4",
        ),
        (4, two_gib, "a page of 2147483647 bytes"),
        // An index in place of the dictionary.
        (5, &[2], "a dictionary that is missing"),
        // A dictionary of three values has two, and one of 8,000 would need 32,000 bytes.
        (sizes + 2, &[6], "damage on which its decoder stopped"),
        (sizes + 2, &[0x80, 0x7d], "a damaged page header at byte 4"),
        (whole.len() - 8, &[0xff; 4], "a footer of 4294967295 bytes"),
    ];
    for (at, bytes, found) in cases {
        damaged(at, bytes).fails("cifar10", FILE, &["a sound Parquet file", found]);
    }
    assert!(started.elapsed().as_secs() < 5);
}

#[test]
fn shards_are_read_in_order() {
    let dir = Dir::new();
    let one = |label| file(&[Some(png(32, 32))], &[Some(label)]);
    dir.write("cifar10/train-00001-of-00003.parquet", one(1));
    dir.write("cifar10/train-00002-of-00003.parquet", one(2));
    dir.fails(
        "cifar10",
        "cifar10",
        &["all of the 3 shards", "train-00001-of-00003.parquet"],
    );
    dir.write("cifar10/train-00000-of-00003.parquet", one(0));
    assert_eq!(labels(&*dir.train("cifar10")), [0, 1, 2]);
}

#[test]
fn shards_have_had_many_names() {
    let one = |label| file(&[Some(png(32, 32))], &[Some(label)]);
    for names in [
        [
            "plain_text/train/0000.parquet",
            "plain_text/train/0001.parquet",
        ],
        [
            "data/train-00000-of-00002-b42d7ba5d9ec5ed5.parquet",
            "data/train-00001-of-00002-0123456789abcdef.parquet",
        ],
        [
            "plain_text/cifar10-train-00000-of-00002.parquet",
            "plain_text/cifar10-train-00001-of-00002.parquet",
        ],
    ] {
        let dir = Dir::new();
        for (label, name) in names.iter().enumerate() {
            dir.write(&format!("cifar10/{name}"), one(label as i64 + 3));
        }
        assert_eq!(labels(&*dir.train("cifar10")), [3, 4], "{names:?}");
    }
    let dir = Dir::new();
    dir.write("cifar10/plain_text/cifar10-train.parquet", one(8));
    assert_eq!(labels(&*dir.train("cifar10")), [8]);
}

#[test]
fn wrong_rows_are_named() {
    let good = || Some(png(32, 32));
    let cut = || Some(png(32, 32)[..60].to_vec());
    let jpeg = {
        let mut bytes = fixture_bytes("folder/quality95.jpg");
        bytes.truncate(200);
        Some(bytes)
    };
    let cases: [(Images, Labels, &[&str]); 9] = [
        (
            vec![good(), Some(png(33, 32))],
            vec![Some(0); 2],
            &["32x32 at row 1", "found 32x33"],
        ),
        (
            vec![good(), Some(png(60_000, 60_000 / 600))],
            vec![Some(0); 2],
            &["found 100x60000"],
        ),
        (
            vec![good(), cut()],
            vec![Some(0); 2],
            &["an image of 32x32 at row 1"],
        ),
        (vec![jpeg], vec![Some(0)], &["an image of 32x32 at row 0"]),
        (vec![Some(b"GIF89a".to_vec())], vec![Some(0)], &["at row 0"]),
        (
            vec![Some(b"plain text".to_vec())],
            vec![Some(0)],
            &["starts with the bytes 706c6169"],
        ),
        (
            vec![good(), None],
            vec![Some(0); 2],
            &["an image and a label", "nothing at row 1"],
        ),
        (vec![good(); 2], vec![None, Some(1)], &["nothing at row 0"]),
        (
            vec![good(); 3],
            vec![Some(0), Some(9), Some(10)],
            &["labels from 0 to 9", "label 10 at row 2"],
        ),
    ];
    for (images, labels, parts) in cases {
        let dir = Dir::new();
        dir.write(FILE, file(&images, &labels))
            .fails("cifar10", FILE, parts);
    }
    let dir = Dir::new();
    dir.write(FILE, file(&[good()], &[Some(-1)]))
        .fails("cifar10", FILE, &["label -1 at row 0"]);
}

#[test]
fn more_rows_than_published_are_refused() {
    let dir = Dir::new();
    let black = fixture_bytes("cifar10-png.parquet");
    // The test split has 10,000 rows at most: 2,001 shards of five.
    for i in 0..2001 {
        dir.write(&format!("cifar10/test-{i:05}-of-02001.parquet"), &black);
    }
    let error = dir.load("cifar10", Split::Test).err().unwrap().to_string();
    assert!(
        error.contains("10000 rows at most") && error.contains("test-02000"),
        "{error}"
    );
}

#[test]
fn wrong_files_are_named() {
    let whole = fixture_bytes("cifar10-png.parquet");
    let end = whole.len();
    let mut other_footer = whole.clone();
    other_footer[end - 8..end - 4].copy_from_slice(&u32::MAX.to_le_bytes());
    let cases: [(Vec<u8>, &[&str]); 6] = [
        (whole[..end - 1].to_vec(), &["a sound Parquet file"]),
        (whole[..end / 2].to_vec(), &["a sound Parquet file"]),
        (other_footer, &["a sound Parquet file"]),
        (Vec::new(), &["a sound Parquet file"]),
        (png(32, 32), &["a sound Parquet file"]),
        (
            fixture_bytes("cifar100-png.parquet"),
            &[
                "a label column called label",
                "img.bytes, img.path, fine_label, coarse_label",
            ],
        ),
    ];
    for (bytes, parts) in cases {
        let dir = Dir::new();
        dir.write(FILE, bytes).fails("cifar10", FILE, parts);
    }
    let dir = Dir::new();
    dir.write("mnist/train.parquet", &whole);
    dir.fails(
        "mnist",
        "mnist/train.parquet",
        &["an image of 28x28 at row 0", "found 32x32"],
    );
}
