//! MNIST-format datasets.

use std::io::{Cursor, Write};

use tallow_datasets::{LoadOptions, Split, load};
use zip::ZipWriter;
use zip::write::SimpleFileOptions;

use crate::sets::make::*;

const IMAGES: &str = "mnist/train-images-idx3-ubyte";
const LABELS: &str = "mnist/train-labels-idx1-ubyte";

/// Three images with the labels 5, 0, 9.
fn mnist(zipped: bool) -> Dir {
    let dir = Dir::new();
    let images = idx_images(3, 28, 28, &pixels(3, 784));
    let labels = idx_labels(3, &[5, 0, 9]);
    match zipped {
        true => dir
            .write(&format!("{IMAGES}.gz"), gz(images))
            .write(&format!("{LABELS}.gz"), gz(labels)),
        false => dir.write(IMAGES, images).write(LABELS, labels),
    };
    dir
}

#[test]
fn plain_and_gzipped_files_give_the_same_set() {
    let (plain, zipped) = (mnist(false).train("mnist"), mnist(true).train("mnist"));
    assert_eq!(plain.shape(), Some((1, 28, 28)));
    assert_eq!(planes(&*plain), pixels(3, 784));
    assert_eq!(labels(&*plain), [5, 0, 9]);
    assert_eq!(plain.info(), zipped.info());
    assert_eq!(plain.info().provenance, "mnist (IDX, unverified)");
    assert_eq!(plain.info().classes.len(), 10);
}

#[test]
fn the_directory_may_be_the_datasets_own() {
    let dir = mnist(true);
    let own = LoadOptions {
        data_dir: Some(dir.path("mnist")),
        ..Default::default()
    };
    let own = load("mnist", Split::Train, &own).unwrap();
    assert_eq!(own.info(), dir.train("mnist").info());
}

#[test]
fn wrong_kinds_of_file_are_named() {
    let images = || idx_images(3, 28, 28, &pixels(3, 784));
    let cases: [(&str, Vec<u8>, &[&str]); 7] = [
        (
            IMAGES,
            idx_labels(3, &[5, 0, 9]),
            &["an IDX file of images", "an IDX file of labels"],
        ),
        (
            LABELS,
            images(),
            &["an IDX file of labels", "found an IDX file of images"],
        ),
        (
            IMAGES,
            b"\x89PNG\r\n\x1a\n and so on".to_vec(),
            &["found a PNG image"],
        ),
        (
            IMAGES,
            b"version https://git-lfs".to_vec(),
            &["a Git LFS pointer"],
        ),
        (
            IMAGES,
            b"<!DOCTYPE html><html>".to_vec(),
            &["found an HTML page"],
        ),
        (
            IMAGES,
            b"\0\0\x0d\x03 floats".to_vec(),
            &["starts with the bytes 00000d03"],
        ),
        (IMAGES, Vec::new(), &["found an empty file"]),
    ];
    for (file, bytes, parts) in cases {
        let dir = mnist(false);
        dir.write(file, bytes).fails("mnist", file, parts);
    }
    let (dir, name) = (mnist(true), format!("{IMAGES}.gz"));
    dir.write(&name, b"\x89PNG\r\n\x1a\n and so on");
    dir.fails("mnist", &name, &["expected a gzip file, found a PNG image"]);
}

#[test]
fn wrong_sizes_are_named() {
    let data = pixels(3, 784);
    let cases: [(&str, Vec<u8>, &[&str]); 8] = [
        (
            IMAGES,
            idx_images(3, 28, 28, &data[1..]),
            &["expected 2368 bytes, found 2367 bytes"],
        ),
        (
            IMAGES,
            idx_images(2, 28, 28, &data),
            &["expected 1584 bytes, found 2368 bytes"],
        ),
        (
            IMAGES,
            idx_images(3, 28, 28, &data)[..11].to_vec(),
            &["the end of the file after"],
        ),
        (
            IMAGES,
            idx_images(3, 32, 32, &data),
            &["images of 28x28", "images of 32x32"],
        ),
        (
            IMAGES,
            idx_images(0, 28, 28, &[]),
            &["1 to 60000 samples", "says 0"],
        ),
        (
            IMAGES,
            idx_images(1 << 31, 28, 28, &data),
            &["says 2147483648"],
        ),
        (
            LABELS,
            idx_labels(u32::MAX, &[5, 0, 9]),
            &["says 4294967295"],
        ),
        (
            LABELS,
            idx_labels(2, &[5, 0]),
            &["expected 3 labels, one per image, found 2 labels"],
        ),
    ];
    for (file, bytes, parts) in cases {
        let dir = mnist(false);
        dir.write(file, &bytes).fails("mnist", file, parts);
    }
}

#[test]
fn damaged_gzip_is_named() {
    let whole = gz(idx_images(3, 28, 28, &pixels(3, 784)));
    let mut wrong_sum = whole.clone();
    let end = wrong_sum.len();
    wrong_sum[end - 5] ^= 0x40;
    let mut wrong_middle = whole.clone();
    wrong_middle[end / 2] ^= 0xff;
    let long = gz(idx_images(3, 28, 28, &pixels(4, 784)));
    // A small file that claims the largest size the catalog allows, and one that has it.
    let hollow = gz(idx_images(60_000, 28, 28, &[]));
    let bomb = gz(idx_images(3, 28, 28, &vec![0; 50_000_000]));
    let cases: [(Vec<u8>, &[&str]); 7] = [
        (wrong_sum, &["checksum"]),
        (wrong_middle, &["expected 2368 bytes, found"]),
        (
            whole[..end / 2].to_vec(),
            &["a file that ends in the middle"],
        ),
        (
            [&whole[..], b"more"].concat(),
            &["expected 2368 bytes, found"],
        ),
        (long, &["expected 2368 bytes, found more bytes after these"]),
        (
            hollow,
            &["expected 47040016 bytes", "too small to hold them"],
        ),
        (bomb, &["expected 2368 bytes, found more bytes after these"]),
    ];
    let name = format!("{IMAGES}.gz");
    for (bytes, parts) in cases {
        let dir = mnist(true);
        dir.write(&name, bytes).fails("mnist", &name, parts);
    }
}

#[test]
fn labels_out_of_range_are_named() {
    let dir = mnist(false);
    dir.write(LABELS, idx_labels(3, &[5, 10, 9]));
    dir.fails(
        "mnist",
        LABELS,
        &["labels from 0 to 9", "label 10 at sample 1"],
    );
}

/// An asymmetric image as EMNIST stores it, and upright.
fn letter() -> (Vec<u8>, Vec<u8>) {
    let stored = pixels(1, 784);
    let upright = (0..784).map(|i| stored[i % 28 * 28 + i / 28]).collect();
    (stored, upright)
}

#[test]
fn emnist_is_turned_upright_and_letters_count_from_zero() {
    let (stored, upright) = letter();
    let dir = Dir::new();
    let stem = "emnist/emnist-letters-train";
    dir.write(
        &format!("{stem}-images-idx3-ubyte"),
        idx_images(1, 28, 28, &stored),
    );
    dir.write(&format!("{stem}-labels-idx1-ubyte"), idx_labels(1, &[26]));
    let set = dir.train("emnist-letters");
    assert_eq!(planes(&*set), upright);
    assert_eq!(labels(&*set), [25]);
    assert_eq!(set.info().classes[25], "z");

    let options = LoadOptions {
        emnist_as_stored: true,
        ..dir.options()
    };
    let set = load("emnist-letters", Split::Train, &options).unwrap();
    assert_eq!(planes(&*set), stored);

    let labels = format!("{stem}-labels-idx1-ubyte");
    dir.write(&labels, idx_labels(1, &[0]));
    dir.fails(
        "emnist-letters",
        &labels,
        &["labels from 1 to 26", "label 0 at sample 0"],
    );
}

#[test]
fn emnist_is_read_from_its_zip() {
    let (stored, upright) = letter();
    let archive = |images: Vec<u8>| {
        let mut zip = ZipWriter::new(Cursor::new(Vec::new()));
        let mut add = |name: &str, bytes: Vec<u8>| {
            zip.start_file(format!("gzip/{name}.gz"), SimpleFileOptions::default())
                .unwrap();
            zip.write_all(&gz(bytes)).unwrap();
        };
        add("emnist-balanced-test-images-idx3-ubyte", images);
        add(
            "emnist-balanced-test-labels-idx1-ubyte",
            idx_labels(1, &[46]),
        );
        zip.finish().unwrap().into_inner()
    };
    let dir = Dir::new();
    let whole = archive(idx_images(1, 28, 28, &stored));
    dir.write("emnist/gzip.zip", &whole);
    let set = dir.load("emnist-balanced", Split::Test).unwrap();
    assert_eq!(planes(&*set), upright);
    assert_eq!(labels(&*set), [46]);
    assert_eq!(
        set.info().provenance,
        "emnist-balanced (IDX in zip, unverified)"
    );

    let missing = "gzip/emnist-balanced-train-images-idx3-ubyte.gz";
    dir.fails(
        "emnist-balanced",
        "emnist/gzip.zip",
        &["an archive with", missing],
    );
    dir.write("emnist/gzip.zip", archive(idx_labels(1, &[0])));
    let error = dir
        .load("emnist-balanced", Split::Test)
        .err()
        .unwrap()
        .to_string();
    assert!(
        error.contains("gzip.zip") && error.contains("an IDX file of labels"),
        "{error}"
    );
    dir.write("emnist/gzip.zip", &whole[..whole.len() / 2]);
    dir.fails("emnist-balanced", "emnist/gzip.zip", &["EMNIST's gzip.zip"]);
}

#[test]
fn layouts_of_other_tools_are_read() {
    let pixels = pixels(3, 784);
    let (images, classes) = (idx_images(3, 28, 28, &pixels), idx_labels(3, &[5, 0, 9]));
    let members = |bytes: &[u8]| {
        let (front, back) = bytes.split_at(bytes.len() / 2);
        [gz(front), gz(back)].concat()
    };
    let (packed_images, packed_classes) = (members(&images), members(&classes));
    let cases = [
        (
            "mnist",
            "MNIST/raw/train-images-idx3-ubyte",
            "MNIST/raw/train-labels-idx1-ubyte",
        ),
        (
            "fashion-mnist",
            "FashionMNIST/raw/train-images-idx3-ubyte",
            "FashionMNIST/raw/train-labels-idx1-ubyte",
        ),
        (
            "kmnist",
            "KMNIST/raw/train-images-idx3-ubyte",
            "KMNIST/raw/train-labels-idx1-ubyte",
        ),
        (
            "mnist",
            "train-images.idx3-ubyte",
            "train-labels.idx1-ubyte",
        ),
        (
            "mnist",
            "train-images-idx3-ubyte/train-images-idx3-ubyte",
            "train-labels-idx1-ubyte/train-labels-idx1-ubyte",
        ),
        (
            "mnist",
            "mnist/train-images-idx3-ubyte.gz",
            "mnist/train-labels.idx1-ubyte.gz",
        ),
    ];
    for (name, image_file, label_file) in cases {
        let dir = Dir::new();
        if image_file.ends_with(".gz") {
            dir.write(image_file, &packed_images)
                .write(label_file, &packed_classes);
        } else {
            dir.write(image_file, &images).write(label_file, &classes);
        }
        let set = dir.train(name);
        assert_eq!(
            (planes(&*set), labels(&*set)),
            (pixels.clone(), vec![5, 0, 9]),
            "{image_file}"
        );
    }
}
