//! CIFAR's binary format.

use tallow_datasets::{Dataset, Split};
use tar::{Builder, Header};

use crate::sets::make::*;

/// Records of the given label bytes and the pictures of the PNG fixtures.
pub fn records(labels: &[&[u8]]) -> Vec<u8> {
    let pixels = fixture_bytes("cifar-png.bin");
    let record = |(i, l): (usize, &&[u8])| [l, &pixels[i * 3072..][..3072]].concat();
    labels.iter().enumerate().flat_map(record).collect()
}

pub const FIVE: [&[u8]; 5] = [&[3], &[0], &[9], &[3], &[7]];
pub const FIVE_OF_100: [&[u8]; 5] = [&[10, 49], &[4, 0], &[13, 99], &[10, 49], &[7, 7]];

pub fn archive(files: &[(&str, Vec<u8>)]) -> Vec<u8> {
    let mut tar = Builder::new(Vec::new());
    for (name, bytes) in files {
        let mut header = Header::new_gnu();
        header.set_size(bytes.len() as u64);
        header.set_mode(0o644);
        tar.append_data(&mut header, name, &bytes[..]).unwrap();
    }
    tar.into_inner().unwrap()
}

pub fn ten() -> Vec<(&'static str, Vec<u8>)> {
    vec![
        ("cifar-10-batches-bin/readme.html", b"hello".to_vec()),
        ("cifar-10-batches-bin/data_batch_1.bin", records(&FIVE[..1])),
        ("cifar-10-batches-bin/data_batch_3.bin", records(&FIVE)),
        ("cifar-10-batches-bin/data_batch_2.bin", records(&FIVE[..2])),
        ("cifar-10-batches-bin/data_batch_4.bin", records(&FIVE[..1])),
        ("cifar-10-batches-bin/data_batch_5.bin", records(&FIVE[..1])),
        ("cifar-10-batches-bin/test_batch.bin", records(&FIVE)),
    ]
}

const ARCHIVE: &str = "cifar10/cifar-10-binary.tar.gz";

#[test]
fn the_archive_and_its_files_give_the_same_set() {
    let packed = Dir::new();
    packed.write(ARCHIVE, gz(archive(&ten())));
    let unpacked = Dir::new();
    for (name, bytes) in ten() {
        unpacked.write(&format!("cifar10/{name}"), bytes);
    }
    for split in Split::ALL {
        let (a, b) = (
            packed.load("cifar10", split).unwrap(),
            unpacked.load("cifar10", split).unwrap(),
        );
        assert_eq!(a.info(), b.info());
        assert_eq!(a.info().provenance, "cifar10 (CIFAR binary, unverified)");
    }
    // In the order of the batches' numbers, not of the archive.
    assert_eq!(
        labels(&*packed.train("cifar10")),
        [3, 3, 0, 3, 0, 9, 3, 7, 3, 3]
    );
}

/// The fixture's first picture: red grows downwards, green to the right.
fn assert_upright(set: &dyn Dataset) {
    let mut scratch = Vec::new();
    let image = set.image(0, &mut scratch).unwrap();
    assert_eq!((image.channels, image.height, image.width), (3, 32, 32));
    let at = |c: usize, y: usize, x: usize| image.data[(c * 32 + y) * 32 + x];
    assert_eq!(
        [at(0, 0, 31), at(0, 31, 0)],
        [0, 200],
        "red grows downwards"
    );
    assert_eq!(
        [at(1, 0, 31), at(1, 31, 0)],
        [160, 0],
        "green grows to the right"
    );
}

#[test]
fn height_and_width_are_in_order() {
    let dir = Dir::new();
    dir.write("cifar10/test_batch.bin", records(&FIVE));
    let binary = dir.load("cifar10", Split::Test).unwrap();
    assert_upright(&*binary);
    if cfg!(not(feature = "parquet")) {
        return;
    }
    dir.write(
        "cifar10/train.parquet",
        fixture_bytes("cifar10-png.parquet"),
    );
    let parquet = dir.train("cifar10");
    assert_upright(&*parquet);
    assert_eq!(planes(&*binary), planes(&*parquet));
    assert_eq!(
        binary.info().digest,
        parquet.info().digest,
        "the format does not show in the digest"
    );
}

#[test]
fn cifar100_has_fine_and_coarse_labels() {
    let dir = Dir::new();
    dir.write("cifar100/cifar-100-binary/train.bin", records(&FIVE_OF_100));
    let (fine, coarse) = (dir.train("cifar100"), dir.train("cifar100-coarse"));
    assert_eq!(labels(&*fine), [49, 0, 99, 49, 7]);
    assert_eq!(labels(&*coarse), [10, 4, 13, 10, 7]);
    assert_eq!(planes(&*fine), fixture_bytes("cifar-png.bin"));
    assert_eq!(
        (fine.info().classes.len(), coarse.info().classes.len()),
        (100, 20)
    );
    let packed = Dir::new();
    let files = [("cifar-100-binary/train.bin", records(&FIVE_OF_100))];
    packed.write("cifar100/cifar-100-binary.tar.gz", gz(archive(&files)));
    assert_eq!(packed.train("cifar100").info(), fine.info());
}

#[test]
fn wrong_files_are_named() {
    let file = "cifar100/train.bin";
    let cases: [(Vec<u8>, &[&str]); 5] = [
        (
            records(&FIVE),
            &["records of 3074 bytes", "found 15365 bytes, 5.00 records"],
        ),
        (
            records(&FIVE_OF_100)[1..].to_vec(),
            &["records of 3074 bytes", "found 15369 bytes"],
        ),
        (Vec::new(), &["found 0 bytes"]),
        (
            records(&[&[4, 30], &[4, 100]]),
            &["labels from 0 to 99", "label 100 at record 1"],
        ),
        (gz(archive(&ten())), &["1 to 50000 records of 3074 bytes"]),
    ];
    for (bytes, parts) in cases {
        let dir = Dir::new();
        dir.write(file, bytes).fails("cifar100", file, parts);
    }
    let dir = Dir::new();
    for (name, bytes) in ten() {
        dir.write(&format!("cifar10/{name}"), bytes);
    }
    let batch = "cifar10/cifar-10-batches-bin/data_batch_4.bin";
    dir.write(batch, records(&FIVE_OF_100));
    dir.fails(
        "cifar10",
        batch,
        &["1 to 10000 records of 3073 bytes", "found 15370 bytes"],
    );
    dir.write(batch, vec![0; 10_001 * 3073]);
    dir.fails(
        "cifar10",
        batch,
        &["1 to 10000 records", "10001.00 records"],
    );
}

#[test]
fn wrong_archives_are_named() {
    let whole = gz(archive(&ten()));
    let end = whole.len();
    let mut wrong_sum = whole.clone();
    wrong_sum[end - 5] ^= 1;
    let missing: Vec<_> = ten()
        .into_iter()
        .filter(|(n, _)| !n.ends_with("_4.bin"))
        .collect();
    let mut other = ten();
    other[2].1 = records(&FIVE_OF_100);
    // The header says that a batch has 8 GiB.
    let mut huge = archive(&ten()[1..2]);
    huge[124..136].copy_from_slice(b"77777777777\0");
    huge[148..156].copy_from_slice(b"        ");
    let sum: u32 = huge[..512].iter().map(|&b| b as u32).sum();
    huge[148..156].copy_from_slice(format!("{sum:06o}\0 ").as_bytes());
    let cases: [(Vec<u8>, &[&str]); 8] = [
        (wrong_sum, &["the CIFAR archive", "checksum"]),
        (whole[..end / 2].to_vec(), &["the CIFAR archive"]),
        (gz(archive(&missing)), &["an archive with data_batch_4.bin"]),
        (
            gz(archive(&other)),
            &["data_batch_3.bin", "3073 bytes", "found 15370 bytes"],
        ),
        (
            gz(huge),
            &[
                "data_batch_1.bin",
                "1 to 10000 records of 3073 bytes",
                "8589934591 bytes",
            ],
        ),
        (gz(b"not a tar file at all"), &["the CIFAR archive"]),
        (
            b"PAR1 and so on".to_vec(),
            &["expected a gzip file, found a Parquet file"],
        ),
        (Vec::new(), &["expected a gzip file, found an empty file"]),
    ];
    for (bytes, parts) in cases {
        let dir = Dir::new();
        dir.write(ARCHIVE, bytes).fails("cifar10", ARCHIVE, parts);
    }
}
