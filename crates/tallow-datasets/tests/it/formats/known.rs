//! Kinds of files in which others keep the known datasets.

use tallow_datasets::{Error, Split};

use crate::formats::table::{Outcome, Table};
use crate::sets::cifar::{FIVE, archive, records, ten};
use crate::sets::make::{Dir, fixture_bytes, gz, idx_images, idx_labels, labels, pixels, planes};
use crate::sets::python::{array, dict, five, integers, tar_gz, text};

/// Files below the folder that holds all datasets, with their contents.
type Files = Vec<(String, Vec<u8>)>;

/// Content that a dataset must have if its files are read: labels and pixels.
struct Expected {
    labels: Vec<u32>,
    pixels: Vec<u8>,
}

/// Three images of 28 x 28, and their labels in an IDX file.
fn digits() -> ([Vec<u8>; 2], Expected) {
    let pixels = pixels(3, 784);
    let files = [idx_images(3, 28, 28, &pixels), idx_labels(3, &[5, 0, 9])];
    let labels = vec![5, 0, 9];
    (files, Expected { labels, pixels })
}

/// The images and the labels of `digits` under these two names; those in `.gz` are packed.
fn idx(names: &str) -> Files {
    let (files, _) = digits();
    let pack = |(name, bytes): (&str, Vec<u8>)| match name.ends_with(".gz") {
        true => (name.to_string(), gz(bytes)),
        false => (name.to_string(), bytes),
    };
    names.split(' ').zip(files).map(pack).collect()
}

/// The two images of a fixture of `make_kinds.py`, in colour of 32 x 32 or grey of 28 x 28.
fn kinds(side: usize) -> Expected {
    let size = side * side;
    let image = |i: u8| match side {
        28 => vec![40 * i + 10; size],
        _ => [10, 20, 30]
            .iter()
            .flat_map(|c| vec![40 * i + c; size])
            .collect(),
    };
    Expected {
        labels: vec![3, 8],
        pixels: [image(0), image(1)].concat(),
    }
}

fn fixture(name: &str) -> Vec<u8> {
    fixture_bytes(&format!("kinds/{name}"))
}

fn one(name: &str, bytes: Vec<u8>) -> Files {
    vec![(name.to_string(), bytes)]
}

/// The whole of `kinds/plain.parquet` under these names: each is a shard.
fn shards(names: &str) -> Files {
    let parts = names.split(' ');
    parts
        .map(|name| (name.to_string(), fixture("snappy.parquet")))
        .collect()
}

/// Row for the training split of `dataset`, whose files are below `given` of the folder.
fn row(table: &mut Table, kind: &str, dataset: &str, files: Files, expected: &Expected) {
    let dir = Dir::new();
    for (name, bytes) in files {
        dir.write(&name, bytes);
    }
    let (outcome, details) = match dir.load(dataset, Split::Train) {
        Ok(set) => {
            assert_eq!(labels(&*set), expected.labels, "{kind}");
            assert!(planes(&*set) == expected.pixels, "{kind}");
            (Outcome::Read, format!("`{dataset}`"))
        }
        Err(Error::NotFound(error)) => {
            let findings: Vec<_> = error
                .looked
                .iter()
                .map(|place| &place.finding[..])
                .collect();
            let near = findings
                .iter()
                .find_map(|f| Some(f.split_once("found there: ")?.1));
            match near.or(findings
                .iter()
                .find(|f| f.starts_with("has ") && !f.starts_with("has no"))
                .copied())
            {
                Some(near) => (Outcome::Refused, format!("`{dataset}`: {near}")),
                None => (Outcome::Unknown, format!("`{dataset}`: not found")),
            }
        }
        Err(error) => {
            let root = format!("{}/", dir.path("").display()).replace("//", "/");
            (Outcome::Refused, error.to_string().replace(&root, ""))
        }
    };
    table.row(kind, outcome, &details);
}

#[test]
fn known_datasets_are_as_the_page_says() {
    // Where a kind is refused, the search would go on to the real data of this variable.
    if std::env::var_os("TALLOW_DATA").is_some() {
        let name = "formats::known::known_datasets_are_as_the_page_says";
        let mut again = std::process::Command::new(std::env::current_exe().unwrap());
        let again = again.args(["--exact", name]).env_remove("TALLOW_DATA");
        assert!(again.status().unwrap().success());
        return;
    }
    let mut table = Table::new("known");
    mnist(&mut table);
    cifar(&mut table);
    hub(&mut table);
    table.check();
}

fn mnist(t: &mut Table) {
    let (files, expected) = digits();
    for (kind, dataset, names) in [
        (
            "IDX as published, gzipped or not",
            "mnist",
            "mnist/train-images-idx3-ubyte.gz mnist/train-labels-idx1-ubyte",
        ),
        (
            "torchvision: `MNIST/raw`",
            "mnist",
            "MNIST/raw/train-images-idx3-ubyte MNIST/raw/train-labels-idx1-ubyte",
        ),
        (
            "torchvision: `FashionMNIST/raw`",
            "fashion-mnist",
            "FashionMNIST/raw/train-images-idx3-ubyte.gz FashionMNIST/raw/train-labels-idx1-ubyte.gz",
        ),
        (
            "torchvision: `KMNIST/raw`",
            "kmnist",
            "KMNIST/raw/train-images-idx3-ubyte KMNIST/raw/train-labels-idx1-ubyte",
        ),
        (
            "names with a dot, as archivers on Windows write them",
            "mnist",
            "mnist/train-images.idx3-ubyte mnist/train-labels.idx1-ubyte",
        ),
        (
            "a folder of its own name for each file, as from Kaggle",
            "mnist",
            "mnist/train-images-idx3-ubyte/train-images-idx3-ubyte mnist/train-labels-idx1-ubyte/train-labels-idx1-ubyte",
        ),
        (
            "a split without its labels",
            "mnist",
            "mnist/train-images-idx3-ubyte.gz",
        ),
        (
            "a folder that is not searched",
            "mnist",
            "old/copy/train-images-idx3-ubyte old/copy/train-labels-idx1-ubyte",
        ),
        (
            "an unfinished download",
            "mnist",
            "mnist/train-images-idx3-ubyte.gz.part mnist/train-labels-idx1-ubyte.gz.part",
        ),
    ] {
        row(t, kind, dataset, idx(names), &expected);
    }
    let [images, label_file] = &files;
    let (start, end) = images.split_at(900);
    let members = vec![
        (
            "mnist/train-images-idx3-ubyte.gz".into(),
            [gz(start), gz(end)].concat(),
        ),
        ("mnist/train-labels-idx1-ubyte.gz".into(), gz(label_file)),
    ];
    row(t, "gzip of several members", "mnist", members, &expected);
    for (kind, name) in [
        ("Keras: `mnist.npz` (`numpy.savez`)", "keras.npz"),
        (
            "`mnist.npz`, compressed (`numpy.savez_compressed`)",
            "keras-compressed.npz",
        ),
    ] {
        let files = one("mnist/mnist.npz", fixture(name));
        row(t, kind, "mnist", files, &kinds(28));
    }
    emnist(t);
    for (kind, name) in [
        (
            "torchvision before 0.9: `MNIST/processed/training.pt`",
            "MNIST/processed/training.pt",
        ),
        ("CSV of pixels, as from Kaggle", "mnist/mnist_train.csv"),
        ("MATLAB", "mnist/mnist.mat"),
        (
            "TFRecord, as of TensorFlow Datasets",
            "mnist/3.0.1/mnist-train.tfrecord-00000-of-00001",
        ),
        ("an archive of another name", "mnist/mnist.zip"),
        ("a pickle of another name", "mnist/mnist.pkl"),
    ] {
        row(t, kind, "mnist", one(name, vec![7; 40]), &expected);
    }
    let html = b"<!DOCTYPE html><title>503</title>".to_vec();
    let files = vec![
        ("mnist/train-images-idx3-ubyte".into(), html),
        ("mnist/train-labels-idx1-ubyte".into(), label_file.clone()),
    ];
    row(
        t,
        "an HTML page in place of a file",
        "mnist",
        files,
        &expected,
    );
}

/// EMNIST, whose images are stored transposed.
fn emnist(t: &mut Table) {
    use std::io::{Cursor, Write};

    let stored = pixels(3, 784);
    let upright = |i: usize| {
        let (image, row, column) = (i / 784, i % 784 / 28, i % 28);
        stored[image * 784 + column * 28 + row]
    };
    let expected = Expected {
        labels: vec![5, 0, 9],
        pixels: (0..3 * 784).map(upright).collect(),
    };
    let name = |kind: &str| format!("emnist-digits-train-{kind}-ubyte");
    let (files, _) = digits();
    let mut zip = zip::ZipWriter::new(Cursor::new(Vec::new()));
    for (kind, bytes) in ["images-idx3", "labels-idx1"].iter().zip(&files) {
        let options = zip::write::SimpleFileOptions::default();
        zip.start_file(format!("gzip/{}.gz", name(kind)), options)
            .unwrap();
        zip.write_all(&gz(bytes)).unwrap();
    }
    let zip = zip.finish().unwrap().into_inner();
    row(
        t,
        "NIST's `gzip.zip`",
        "emnist-digits",
        one("emnist/gzip.zip", zip),
        &expected,
    );
    for (kind, folder, end) in [
        ("`gzip.zip`, unpacked", "emnist/gzip", ".gz"),
        ("torchvision: `EMNIST/raw`", "EMNIST/raw", ""),
    ] {
        let names =
            ["images-idx3", "labels-idx1"].map(|kind| format!("{folder}/{}{end}", name(kind)));
        row(t, kind, "emnist-digits", idx(&names.join(" ")), &expected);
    }
}

fn cifar(t: &mut Table) {
    let fixture = fixture_bytes("cifar-png.bin");
    let image = |i: usize| &fixture[i * 3072..][..3072];
    // The batches in the order of their numbers: 1, 2, 5, 1 and 1 pictures.
    let order = [0, 0, 1, 0, 1, 2, 3, 4, 0, 0];
    let binary = Expected {
        labels: vec![3, 3, 0, 3, 0, 9, 3, 7, 3, 3],
        pixels: order.map(image).concat(),
    };
    let tar = archive(&ten());
    for (kind, files) in [
        (
            "CIFAR's binary version: `cifar-10-binary.tar.gz`",
            one("cifar10/cifar-10-binary.tar.gz", gz(&tar)),
        ),
        ("the same, `.tar`", one("cifar10/cifar-10-binary.tar", tar)),
        (
            "the same, unpacked",
            ten()
                .into_iter()
                .map(|(n, b)| (format!("cifar10/{n}"), b))
                .collect(),
        ),
    ] {
        row(t, kind, "cifar10", files, &binary);
    }
    let python = Expected {
        labels: vec![9, 8, 7, 6, 5],
        pixels: pixels(5, 3072),
    };
    let batches = five();
    let batches: Vec<_> = batches.iter().map(|(n, b)| (&n[..], b.clone())).collect();
    let packed = tar_gz(&batches);
    for (kind, files) in [
        ("torchvision: `cifar-10-batches-py`", five()),
        (
            "CIFAR's Python version: `cifar-10-python.tar.gz`",
            one("cifar10/cifar-10-python.tar.gz", packed.clone()),
        ),
        (
            "Keras: `cifar-10-batches-py.tar.gz`",
            one("cifar10/cifar-10-batches-py.tar.gz", packed.clone()),
        ),
        (
            "Keras 3: `cifar-10-batches-py-target/cifar-10-batches-py`",
            five()
                .into_iter()
                .map(|(n, b)| (format!("cifar-10-batches-py-target/{n}"), b))
                .collect(),
        ),
        (
            "`cifar-10-batches-py` without one of its batches",
            five().into_iter().take(4).collect(),
        ),
    ] {
        row(t, kind, "cifar10", files, &python);
    }
    let hundred = dict(&[
        ("coarse_labels", integers(&[19, 3])),
        ("fine_labels", integers(&[0, 99])),
        ("data", array(2, &text(&pixels(2, 3072)))),
    ]);
    for (kind, dataset, labels) in [
        (
            "torchvision: `cifar-100-python`, fine labels",
            "cifar100",
            [0, 99],
        ),
        ("the same, coarse labels", "cifar100-coarse", [19, 3]),
    ] {
        let expected = Expected {
            labels: labels.to_vec(),
            pixels: pixels(2, 3072),
        };
        let files = one("cifar-100-python/train", hundred.clone());
        row(t, kind, dataset, files, &expected);
    }
    let code = b"cos\nsystem\nU\x04true\x85R.".to_vec();
    row(
        t,
        "a pickle that names code",
        "cifar100",
        one("cifar-100-python/train", code),
        &python,
    );
    for (kind, name) in [
        (
            "CIFAR's MATLAB version",
            "cifar100/cifar-100-matlab/train.mat",
        ),
        ("a data batch of another name", "cifar100/data_batch.bin"),
    ] {
        row(t, kind, "cifar100", one(name, records(&FIVE)), &python);
    }
}

fn hub(t: &mut Table) {
    let expected = kinds(32);
    let twice = Expected {
        labels: expected.labels.repeat(2),
        pixels: expected.pixels.repeat(2),
    };
    for (kind, names, expected) in [
        (
            "hub: `train-00000-of-00001.parquet`",
            "cifar10/train-00000-of-00001.parquet",
            &expected,
        ),
        (
            "hub: a fingerprint in the name",
            "cifar10/data/train-00000-of-00001-b42d7ba5d9ec5ed5.parquet",
            &expected,
        ),
        (
            "hub, converted: `plain_text/train/0000.parquet`",
            "cifar10/plain_text/train/0000.parquet",
            &expected,
        ),
        (
            "hub: several shards",
            "cifar10/plain_text/train-00000-of-00002.parquet cifar10/plain_text/train-00001-of-00002.parquet",
            &twice,
        ),
        (
            "hub: the name of the dataset before that of the split",
            "cifar10/plain_text/cifar10-train.parquet",
            &expected,
        ),
        ("`train.parquet`", "cifar10/train.parquet", &expected),
        (
            "shards of which one is missing",
            "cifar10/train-00000-of-00002.parquet",
            &expected,
        ),
        (
            "Parquet of another name",
            "cifar10/data/images.parquet",
            &expected,
        ),
    ] {
        row(t, kind, "cifar10", shards(names), expected);
    }
    for (kind, dataset, name) in [
        ("Parquet, not compressed", "cifar10", "none"),
        ("Parquet, snappy", "cifar10", "snappy"),
        ("Parquet, gzip", "cifar10", "gzip"),
        ("Parquet, brotli", "cifar10", "brotli"),
        ("Parquet, lz4", "cifar10", "lz4"),
        ("Parquet, zstd", "cifar10", "zstd"),
        ("Parquet without dictionaries", "cifar10", "no-dictionary"),
        ("Parquet, data pages of version 2", "cifar10", "pages-2"),
        ("Parquet, several row groups", "cifar10", "groups"),
        (
            "columns `img` or `image`, a struct of bytes and path; `label`",
            "cifar10",
            "snappy",
        ),
        (
            "columns `image` of plain bytes; `labels`",
            "cifar10",
            "plain-bytes",
        ),
        (
            "columns `img`; `fine_label`, `coarse_label`",
            "cifar100",
            "fine",
        ),
        ("further columns, in any order", "cifar10", "other-columns"),
        ("`large_binary`", "cifar10", "large-binary"),
        ("labels of 32 bits", "cifar10", "int32"),
        ("labels of 8 bits", "cifar10", "uint8"),
        ("labels as text", "cifar10", "text-labels"),
        ("pixels as lists of numbers (`Array2D`)", "cifar10", "lists"),
    ] {
        let file = format!("{dataset}/train.parquet");
        row(
            t,
            kind,
            dataset,
            one(&file, fixture(&format!("{name}.parquet"))),
            &expected,
        );
    }
    for (kind, name, bytes) in [
        (
            "Arrow, as `Dataset.save_to_disk` writes it",
            "data-00000-of-00001.arrow",
            fixture("data.arrow"),
        ),
        (
            "WebDataset: `train-0000.tar`",
            "train-0000.tar",
            archive(&ten()[..1]),
        ),
        (
            "JSON lines with images in base64",
            "train.jsonl",
            b"{}\n".to_vec(),
        ),
        (
            "a NumPy file of another name",
            "cifar10.npz",
            fixture("keras.npz"),
        ),
    ] {
        row(
            t,
            kind,
            "cifar10",
            one(&format!("cifar10/{name}"), bytes),
            &expected,
        );
    }
}
