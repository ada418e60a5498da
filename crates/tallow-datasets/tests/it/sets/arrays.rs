//! Datasets of one's own in NumPy arrays.

use tallow_datasets::Split;

use crate::sets::make::*;
use crate::sets::python::{npy, npz};

/// Arrays of two training images of 2 x 3 with these labels, and the first of them to test with.
fn arrays(images: Vec<u8>, labels: Vec<u8>) -> Vec<(&'static str, Vec<u8>)> {
    vec![
        ("x_train", images),
        ("y_train", labels),
        ("x_test", npy("|u1", "(1, 2, 3)", &pixels(1, 6))),
        ("y_test", npy("|u1", "(1,)", &[0])),
    ]
}

fn grey() -> Vec<u8> {
    npy("|u1", "(2, 2, 3)", &pixels(2, 6))
}

/// The name of a dataset of these arrays in an archive.
fn archive(dir: &Dir, arrays: &[(&str, Vec<u8>)]) -> String {
    dir.write("own.npz", npz(arrays));
    format!("npz:{}", dir.path("own.npz").display())
}

#[test]
fn an_archive_and_a_folder_give_the_same_set() {
    let (packed, unpacked) = (Dir::new(), Dir::new());
    let arrays = arrays(grey(), npy("|u1", "(2,)", &[0, 2]));
    let name = archive(&packed, &arrays);
    for (name, bytes) in arrays {
        unpacked.write(&format!("own/{name}.npy"), bytes);
    }
    let folder = format!("npz:{}", unpacked.path("own").display());
    for split in Split::ALL {
        let a = packed.load(&name, split).unwrap();
        let b = unpacked.load(&folder, split).unwrap();
        assert_eq!(a.info(), b.info());
        assert_eq!(a.info().classes, ["0", "1", "2"]);
        assert_eq!(a.info().name, "own");
        assert_eq!(a.shape(), Some((1, 2, 3)));
    }
    let train = packed.train(&name);
    assert_eq!(labels(&*train), [0, 2]);
    assert_eq!(planes(&*train), pixels(2, 6));
    assert!(train.info().provenance.contains("NumPy arrays"));
}

#[test]
fn arrays_of_validation_beside_those_of_the_test_are_the_validation_split() {
    let (image, label) = (npy("|u1", "(1, 2, 3)", &[9; 6]), npy("|u1", "(1,)", &[2]));
    let mut all = arrays(grey(), npy("|u1", "(2,)", &[0, 2]));
    let dir = Dir::new();
    let name = archive(&dir, &all);
    assert!(dir.validation(&name).is_none());
    all.extend([("x_val", image), ("y_val", label)]);
    let name = archive(&dir, &all);
    let validation = dir.validation(&name).unwrap();
    assert_eq!(labels(&*validation), [2]);
    assert_eq!(planes(&*validation), [9; 6]);
    assert_eq!(validation.info().classes, dir.train(&name).info().classes);
    assert_eq!(labels(&*dir.load(&name, Split::Test).unwrap()), [0]);
    // Without a test split it is the test split.
    all.retain(|(name, _)| !name.ends_with("_test"));
    let name = archive(&dir, &all);
    assert!(dir.validation(&name).is_none());
    assert_eq!(labels(&*dir.load(&name, Split::Test).unwrap()), [2]);
}

#[test]
fn channels_are_first_or_last() {
    // Two images of 2 x 2 in three channels: the planes of the first are 0 to 3, 4 to 7 and 8 to 11.
    let planar: Vec<u8> = (0..24).collect();
    let last: Vec<u8> = (0..2)
        .flat_map(|n| (0..4).flat_map(move |i| (0..3).map(move |c| n * 12 + c * 4 + i)))
        .collect();
    let test = ("x_test", npy("|u1", "(1, 2, 2, 3)", &last[..12]));
    for (shape, data) in [("(2, 3, 2, 2)", &planar), ("(2, 2, 2, 3)", &last)] {
        let dir = Dir::new();
        let mut arrays = arrays(npy("|u1", shape, data), npy("|u1", "(2,)", &[0, 0]));
        arrays[2] = test.clone();
        let set = dir.train(&archive(&dir, &arrays));
        assert_eq!(set.shape(), Some((3, 2, 2)), "{shape}");
        assert_eq!(planes(&*set), planar, "{shape}");
    }
}

#[test]
fn labels_are_whole_numbers_of_any_type() {
    let big = |n: u8| [vec![0; 7], vec![n]].concat();
    for (kind, shape, data) in [
        ("|u1", "(2,)", vec![0, 2]),
        ("|i1", "(2, 1)", vec![0, 2]),
        ("<u2", "(2,)", vec![0, 0, 2, 0]),
        ("<i4", "(2, 1)", vec![0, 0, 0, 0, 2, 0, 0, 0]),
        (">i8", "(2,)", [big(0), big(2)].concat()),
    ] {
        let dir = Dir::new();
        let name = archive(&dir, &arrays(grey(), npy(kind, shape, &data)));
        assert_eq!(labels(&*dir.train(&name)), [0, 2], "{kind}");
    }
}

#[test]
fn arrays_of_medmnist_are_read_as_numpy_wrote_them() {
    let dir = Dir::new();
    dir.write("pathmnist.npz", fixture_bytes("kinds/medmnist.npz"));
    let name = format!("npz:{}", dir.path("pathmnist.npz").display());
    let set = dir.train(&name);
    assert_eq!(labels(&*set), [0, 2, 1]);
    let image = |i: u8| [10, 20, 30].map(|c| vec![40 * i + c; 20]).concat();
    assert_eq!(planes(&*set), [image(0), image(1), image(2)].concat());
    assert_eq!(labels(&*dir.load(&name, Split::Test).unwrap()), [1]);
}

#[test]
fn wrong_arrays_are_named() {
    let labels = || npy("|u1", "(2,)", &[0, 1]);
    let negative = npy("|i1", "(2,)", &[0, 255]);
    let cases: [(Vec<u8>, Vec<u8>, &[&str]); 12] = [
        (
            grey(),
            npy("<f4", "(2,)", &[0; 8]),
            &["y_train.npy", "whole numbers", "found f4"],
        ),
        (
            npy("<f4", "(2, 2, 3)", &[0; 48]),
            labels(),
            &["x_train.npy", "astype(\"uint8\")"],
        ),
        (
            npy("<u2", "(2, 2, 3)", &[0; 24]),
            labels(),
            &["images of bytes (u1), found one of u2"],
        ),
        (
            npy("|u1", "(2, 6)", &[0; 12]),
            labels(),
            &["images of shape", "found one of [2, 6]"],
        ),
        (
            npy("|u1", "(2, 2, 3, 4)", &[0; 48]),
            labels(),
            &["1 or 3 channels"],
        ),
        (
            grey(),
            npy("|u1", "(2, 2)", &[0; 4]),
            &["y_train.npy", "argmax"],
        ),
        (
            grey(),
            npy("|u1", "(3,)", &[0; 3]),
            &["as many labels as images", "2 images and 3 labels"],
        ),
        (
            grey(),
            negative,
            &["labels from 0 to 65535", "another at index 1"],
        ),
        (
            grey(),
            npy("<u4", "(2,)", &[0, 0, 0, 0, 0, 0, 1, 0]),
            &["another at index 1"],
        ),
        (
            grey(),
            npy("|u1", "(2,)", &[3, 1]),
            &["the label 0, which the training split lacks"],
        ),
        (
            npy("|u1", "(2, 2, 3)", &[0; 11]),
            labels(),
            &["12 bytes of data", "found 11 bytes"],
        ),
        (
            npy("|u1", "(4000000000, 4000000000, 4000000000)", &[0; 11]),
            labels(),
            &["x_train.npy", "an array that memory can hold"],
        ),
    ];
    for (images, labels, parts) in cases {
        let dir = Dir::new();
        let name = archive(&dir, &arrays(images, labels));
        dir.fails(&name, "own.npz", parts);
    }
    let huge = npy("|u1", "(400000, 400000)", &[0; 11]);
    let dir = Dir::new();
    let name = archive(&dir, &arrays(grey(), huge));
    dir.fails(&name, "own.npz", &["too few to hold them"]);
}

#[test]
fn archives_that_are_not_whole_are_named() {
    let whole = npz(&arrays(grey(), npy("|u1", "(2,)", &[0, 2])));
    let mut damaged = whole.clone();
    // Within the compressed data of the first array, whose header of a file has 41 bytes.
    damaged[60] ^= 0x55;
    for (bytes, parts) in [
        (whole[..whole.len() / 2].to_vec(), &["a NumPy archive"][..]),
        (damaged, &["x_train.npy"]),
        (Vec::new(), &["a NumPy archive"]),
        (b"\x89PNG\r\n".to_vec(), &["a NumPy archive"]),
        (
            npz(&[("a", grey()), ("b", grey())]),
            &["x_train and y_train", "found a, b"],
        ),
    ] {
        let dir = Dir::new();
        dir.write("own.npz", bytes);
        let name = format!("npz:{}", dir.path("own.npz").display());
        dir.fails(&name, "own.npz", parts);
    }
    let dir = Dir::new();
    let name = format!("npz:{}", dir.path("none.npz").display());
    dir.fails(&name, "none.npz", &["No such file"]);
}
