//! Files damaged at random: whatever happens, an error and not a panic, and no set that claims to be sound.

use std::panic::{AssertUnwindSafe, catch_unwind};

use rand_chacha::ChaCha8Rng;
use rand_core::{RngCore, SeedableRng};

use crate::sets::make::*;

/// Changes, removes or doubles a few bytes.
fn damage(bytes: &mut Vec<u8>, rng: &mut ChaCha8Rng) {
    for _ in 0..1 + rng.next_u32() % 4 {
        let at = rng.next_u32() as usize % bytes.len();
        match rng.next_u32() % 5 {
            0 => bytes[at] ^= 1 << (rng.next_u32() % 8),
            1 => bytes[at] = rng.next_u32() as u8,
            2 => bytes[at] = 0xff,
            3 => bytes.truncate(at.max(1)),
            _ => bytes.insert(at, rng.next_u32() as u8),
        }
    }
}

fn survives(name: &str, file: &str, whole: &[u8], rounds: u64) {
    for seed in 0..rounds {
        let dir = Dir::new();
        let mut bytes = whole.to_vec();
        damage(&mut bytes, &mut ChaCha8Rng::seed_from_u64(seed));
        dir.write(file, &bytes);
        let load = || dir.load(name, tallow_datasets::Split::Train);
        match catch_unwind(AssertUnwindSafe(load)) {
            Err(_) => panic!("{file}: seed {seed} panics"),
            Ok(Err(error)) => assert!(error.to_string().contains(file), "{error}"),
            Ok(Ok(set)) => assert!(!set.info().provenance.contains("original")),
        }
    }
}

#[cfg(feature = "parquet")]
#[test]
fn parquet() {
    for fixture in [
        "cifar10-png.parquet",
        "cifar10-jpeg75.parquet",
        "cifar10-mixed.parquet",
    ] {
        survives(
            "cifar10",
            "cifar10/train.parquet",
            &fixture_bytes(fixture),
            1000,
        );
    }
}

#[test]
fn cifar_archive() {
    let mut tar = tar::Builder::new(Vec::new());
    let mut header = tar::Header::new_gnu();
    let record = [vec![3, 4], vec![200; 3072]].concat();
    header.set_size(record.len() as u64);
    tar.append_data(&mut header, "cifar-100-binary/train.bin", &record[..])
        .unwrap();
    let file = "cifar100/cifar-100-binary.tar.gz";
    survives("cifar100", file, &gz(tar.into_inner().unwrap()), 300);
}

#[test]
fn emnist_zip() {
    use std::io::{Cursor, Write};
    let mut zip = zip::ZipWriter::new(Cursor::new(Vec::new()));
    for (name, bytes) in [
        ("images-idx3", idx_images(1, 28, 28, &pixels(1, 784))),
        ("labels-idx1", idx_labels(1, &[3])),
    ] {
        let options = zip::write::SimpleFileOptions::default();
        zip.start_file(format!("gzip/emnist-digits-train-{name}-ubyte.gz"), options)
            .unwrap();
        zip.write_all(&gz(bytes)).unwrap();
    }
    let whole = zip.finish().unwrap().into_inner();
    survives("emnist-digits", "emnist/gzip.zip", &whole, 300);
}

#[test]
fn cifar_pickle() {
    let record = [vec![b'T', 0, 12, 0, 0], vec![200; 3072]].concat();
    let kind = b"cnumpy\ndtype\nU\x02u1K\0K\x01\x87R(K\x03U\x01|NNNK\0K\0K\0tb";
    let whole = [
        b"\x80\x02}(U\x0bfine_labels](K\x05eU\x04data",
        &b"cnumpy.core.multiarray\n_reconstruct\ncnumpy\nndarray\nK\0\x85U\x01b\x87R"[..],
        b"(K\x01K\x01M\x00\x0c\x86",
        kind,
        b"\x89",
        &record,
        b"tbu.",
    ]
    .concat();
    let dir = Dir::new();
    dir.write("cifar100/train", &whole);
    assert_eq!(labels(&*dir.train("cifar100")), [5]);
    // The pixels are most of the file; what is around them is damaged.
    let at = whole.len() - record.len() - 4;
    survives("cifar100", "cifar100/train", &whole, 300);
    survives("cifar100", "cifar100/train", &whole[..at], 300);
}
