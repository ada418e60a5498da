//! CIFAR's Python version and NumPy archives, from files that the tests make.

use std::io::{Cursor, Write};

use tallow_datasets::Split;

use crate::sets::make::*;

/// A byte string as Python 2 pickles it.
pub fn text(bytes: &[u8]) -> Vec<u8> {
    let mut out = vec![b'T'];
    out.extend((bytes.len() as u32).to_le_bytes());
    out.extend(bytes);
    out
}

pub fn integers(labels: &[u8]) -> Vec<u8> {
    let items = labels.iter().flat_map(|&n| [b'K', n]).collect::<Vec<_>>();
    [b"](", &items[..], b"e"].concat()
}

/// `numpy.dtype("u1")`.
const BYTES: &[u8] =
    b"cnumpy\ndtype\nU\x02u1K\0K\x01\x87R(K\x03U\x01|NNNJ\xff\xff\xff\xffJ\xff\xff\xff\xffK\0tb";

/// Array of shape (n, 3072) of Python 2; `data` is pickled bytes.
pub fn array(n: u8, data: &[u8]) -> Vec<u8> {
    [
        b"cnumpy.core.multiarray\n_reconstruct\ncnumpy\nndarray\nK\0\x85U\x01b\x87R(K\x01K",
        &[n][..],
        b"M\x00\x0c\x86",
        BYTES,
        b"\x89",
        data,
        b"tb",
    ]
    .concat()
}

pub fn dict(entries: &[(&str, Vec<u8>)]) -> Vec<u8> {
    let mut out = b"\x80\x02}(".to_vec();
    for (key, value) in entries {
        out.extend(text(key.as_bytes()));
        out.extend(value);
    }
    out.extend(b"u.");
    out
}

pub fn batch(pixels: &[u8], key: &str, labels: &[u8]) -> Vec<u8> {
    dict(&[
        ("batch_label", text(b"a batch")),
        (key, integers(labels)),
        ("data", array(labels.len() as u8, &text(pixels))),
    ])
}

pub fn tar_gz(files: &[(&str, Vec<u8>)]) -> Vec<u8> {
    let mut tar = tar::Builder::new(Vec::new());
    for (name, bytes) in files {
        let mut header = tar::Header::new_gnu();
        header.set_size(bytes.len() as u64);
        tar.append_data(&mut header, name, &bytes[..]).unwrap();
    }
    gz(tar.into_inner().unwrap())
}

pub fn five() -> Vec<(String, Vec<u8>)> {
    let all = pixels(5, 3072);
    (0..5)
        .map(|i| {
            let own = &all[i * 3072..][..3072];
            let name = format!("cifar-10-batches-py/data_batch_{}", i + 1);
            (name, batch(own, "labels", &[9 - i as u8]))
        })
        .collect()
}

#[test]
fn cifar10_is_read_from_the_folder_of_torchvision() {
    let dir = Dir::new();
    for (name, bytes) in five() {
        dir.write(&name, bytes);
    }
    dir.write(
        "cifar-10-batches-py/test_batch",
        batch(&[7; 3072], "labels", &[3]),
    );
    let set = dir.train("cifar10");
    assert_eq!(labels(&*set), [9, 8, 7, 6, 5]);
    assert_eq!(planes(&*set), pixels(5, 3072));
    assert_eq!(set.info().provenance, "cifar10 (CIFAR Python, unverified)");
    let test = dir.load("cifar10", Split::Test).unwrap();
    assert_eq!((labels(&*test), planes(&*test)), (vec![3], vec![7; 3072]));
}

#[test]
fn cifar_is_read_from_the_archive() {
    let dir = Dir::new();
    let files = five();
    let files: Vec<_> = files.iter().map(|(n, b)| (&n[..], b.clone())).collect();
    dir.write("cifar10/cifar-10-python.tar.gz", tar_gz(&files));
    assert_eq!(planes(&*dir.train("cifar10")), pixels(5, 3072));
    let error = dir.load("cifar10", Split::Test).err().unwrap().to_string();
    assert!(error.contains("an archive with test_batch"), "{error}");
}

#[test]
fn cifar100_has_fine_and_coarse_labels() {
    let dir = Dir::new();
    let all = pixels(2, 3072);
    let bytes = dict(&[
        ("coarse_labels", integers(&[19, 3])),
        ("fine_labels", integers(&[0, 99])),
        ("data", array(2, &text(&all))),
    ]);
    dir.write("cifar-100-python/train", bytes);
    assert_eq!(labels(&*dir.train("cifar100")), [0, 99]);
    assert_eq!(labels(&*dir.train("cifar100-coarse")), [19, 3]);
    assert_eq!(planes(&*dir.train("cifar100")), all);
}

#[test]
fn other_versions_of_python_and_numpy_are_read() {
    // Protocol 2 of Python 3: bytes as text in Latin-1, keys as text.
    let latin: String = pixels(1, 3072).iter().map(|&b| char::from(b)).collect();
    let mut encoded = b"c_codecs\nencode\nX".to_vec();
    encoded.extend((latin.len() as u32).to_le_bytes());
    encoded.extend(latin.as_bytes());
    encoded.extend(b"X\x06\0\0\0latin1\x86R");
    let old = dict(&[
        ("fine_labels", integers(&[5])),
        ("data", array(1, &encoded)),
    ]);
    // Protocol 5: a bytearray, and labels as an array of 64-bit integers.
    let from_buffer = |data: &[u8], kind: &[u8; 2], shape: &[u8]| {
        let mut out = b"\x8c\x13numpy._core.numeric\x8c\x0b_frombuffer\x93(\x96".to_vec();
        out.extend((data.len() as u64).to_le_bytes());
        out.extend(data);
        out.extend(b"\x8c\x05numpy\x8c\x05dtype\x93\x8c\x02");
        out.extend(kind);
        out.extend(b"\x89\x88\x87R");
        out.extend(shape);
        out.extend(b"\x8c\x01CtR");
        out
    };
    let new = [
        b"\x80\x05}(C\x0bfine_labels".to_vec(),
        from_buffer(&5i64.to_le_bytes(), b"i8", b"K\x01\x85"),
        b"C\x04data".to_vec(),
        from_buffer(&pixels(1, 3072), b"u1", b"K\x01M\x00\x0c\x86"),
        b"u.".to_vec(),
    ]
    .concat();
    for bytes in [old, new] {
        let dir = Dir::new();
        dir.write("cifar100/train", bytes);
        let set = dir.train("cifar100");
        assert_eq!((labels(&*set), planes(&*set)), (vec![5], pixels(1, 3072)));
    }
}

#[test]
fn wrong_pickles_are_named_and_nothing_is_run() {
    let file = "cifar100/train";
    let good = batch(&[1; 3072], "fine_labels", &[4]);
    let cases: [(Vec<u8>, &[&str]); 9] = [
        (
            b"cos\nsystem\nU\x04true\x85R.".to_vec(),
            &["`os.system`, which is code and was not executed"],
        ),
        (good[..good.len() / 2].to_vec(), &["bytes announced"]),
        (Vec::new(), &["a CIFAR batch as Python pickle"]),
        (b"\x80\x02K\x01.".to_vec(), &["a pickle of something else"]),
        (
            batch(&[1; 3072], "labels", &[4]),
            &["no fine_labels; its keys are batch_label, labels, data"],
        ),
        (
            batch(&[1; 3072], "fine_labels", &[100]),
            &["labels from 0 to 99", "label 100 at record 0"],
        ),
        (
            batch(&[1; 3072], "fine_labels", &[4, 4]),
            &["data of shape [2, 3072] and type u1 in 3072 bytes"],
        ),
        (
            dict(&[
                ("fine_labels", integers(&[1, 2])),
                ("data", array(1, &text(&[0; 3072]))),
            ]),
            &["1 images and 2 labels"],
        ),
        (
            [&good[..good.len() - 2], &b"N".repeat(900_000)[..], b"u."].concat(),
            &["more instructions than are read"],
        ),
    ];
    for (bytes, parts) in cases {
        let dir = Dir::new();
        dir.write(file, bytes).fails("cifar100", file, parts);
    }
    let dir = Dir::new();
    let sparse = std::fs::File::create({
        dir.write(file, b"");
        dir.path(file)
    });
    sparse.unwrap().set_len(1 << 40).unwrap();
    dir.fails("cifar100", file, &["a batch of 50000 records"]);
}

/// A `.npy` array of bytes.
pub fn npy(kind: &str, shape: &str, data: &[u8]) -> Vec<u8> {
    let header = format!("{{'descr': '{kind}', 'fortran_order': False, 'shape': {shape}, }}\n");
    let length = (header.len() as u16).to_le_bytes();
    [b"\x93NUMPY\x01\0", &length[..], header.as_bytes(), data].concat()
}

pub fn npz(arrays: &[(&str, Vec<u8>)]) -> Vec<u8> {
    let mut zip = zip::ZipWriter::new(Cursor::new(Vec::new()));
    for (name, bytes) in arrays {
        let options = zip::write::SimpleFileOptions::default();
        zip.start_file(format!("{name}.npy"), options).unwrap();
        zip.write_all(bytes).unwrap();
    }
    zip.finish().unwrap().into_inner()
}

#[test]
fn mnist_of_keras_is_read() {
    let dir = Dir::new();
    let arrays = [
        ("x_test", npy("|u1", "(1, 28, 28)", &pixels(1, 784))),
        ("x_train", npy("|u1", "(3, 28, 28)", &pixels(3, 784))),
        ("y_train", npy("|u1", "(3,)", &[5, 0, 9])),
        ("y_test", npy("|u1", "(1,)", &[7])),
    ];
    dir.write("mnist/mnist.npz", npz(&arrays));
    let set = dir.train("mnist");
    assert_eq!(
        (labels(&*set), planes(&*set)),
        (vec![5, 0, 9], pixels(3, 784))
    );
    assert_eq!(set.info().provenance, "mnist (npz, unverified)");
    let test = dir.load("mnist", Split::Test).unwrap();
    assert_eq!(labels(&*test), [7]);

    let dir = Dir::new();
    let images = npy("|u1", "(2, 28, 28)", &pixels(2, 784));
    dir.write("kmnist/kmnist-train-imgs.npz", npz(&[("arr_0", images)]))
        .write(
            "kmnist/kmnist-train-labels.npz",
            npz(&[("arr_0", npy("|u1", "(2,)", &[1, 2]))]),
        );
    assert_eq!(labels(&*dir.train("kmnist")), [1, 2]);
}

#[test]
fn wrong_archives_of_arrays_are_named() {
    let images = || ("x_train", npy("|u1", "(1, 28, 28)", &pixels(1, 784)));
    let with = |array: Vec<u8>| npz(&[images(), ("y_train", array)]);
    let whole = with(npy("|u1", "(1,)", &[4]));
    let cases: [(Vec<u8>, &[&str]); 9] = [
        (whole[..whole.len() / 2].to_vec(), &["a NumPy archive"]),
        (b"\x93NUMPY".to_vec(), &["a NumPy archive"]),
        (
            npz(&[images()]),
            &["an archive with the array y_train", "found x_train.npy"],
        ),
        (
            with(npy("<i8", "(1,)", &[4; 8])),
            &["y_train.npy", "an array of bytes (u1), found one of i8"],
        ),
        (
            with(npy("|u1", "(1, 1)", &[4])),
            &["y_train.npy", "found one of [1, 1]"],
        ),
        (
            with(npy("|u1", "(2,)", &[4])),
            &["y_train.npy", "2 bytes of data", "found 1 bytes"],
        ),
        (
            with(npy("|u1", "(60000,)", &[4])),
            &["y_train.npy", "60000 bytes"],
        ),
        (with(npy("|u1", "(1,)", &[10])), &["labels from 0 to 9"]),
        (
            with(b"text".to_vec()),
            &["y_train.npy", "an array of NumPy"],
        ),
    ];
    for (bytes, parts) in cases {
        let dir = Dir::new();
        dir.write("mnist/mnist.npz", bytes)
            .fails("mnist", "mnist/mnist.npz", parts);
    }
}
