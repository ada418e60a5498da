//! EMNIST, in six ways to split and label it: the SHA-256 of the archive is that of TensorFlow Datasets.

use crate::entry::{Entry, Host, published};
use crate::formats::idx;
use crate::storage::{Labels, Storage};

use super::mnist;

/// Digits, capitals, small letters.
const ALPHANUMERIC: &[&str] = &[
    "0", "1", "2", "3", "4", "5", "6", "7", "8", "9", "A", "B", "C", "D", "E", "F", "G", "H", "I",
    "J", "K", "L", "M", "N", "O", "P", "Q", "R", "S", "T", "U", "V", "W", "X", "Y", "Z", "a", "b",
    "c", "d", "e", "f", "g", "h", "i", "j", "k", "l", "m", "n", "o", "p", "q", "r", "s", "t", "u",
    "v", "w", "x", "y", "z",
];

/// Digits, capitals, and the small letters that do not look like their capitals.
const MERGED: &[&str] = &[
    "0", "1", "2", "3", "4", "5", "6", "7", "8", "9", "A", "B", "C", "D", "E", "F", "G", "H", "I",
    "J", "K", "L", "M", "N", "O", "P", "Q", "R", "S", "T", "U", "V", "W", "X", "Y", "Z", "a", "b",
    "d", "e", "f", "g", "h", "n", "q", "r", "t",
];

const ALPHABET: &[&str] = &[
    "a", "b", "c", "d", "e", "f", "g", "h", "i", "j", "k", "l", "m", "n", "o", "p", "q", "r", "s",
    "t", "u", "v", "w", "x", "y", "z",
];

/// IDX files of one of the six, plain or inside NIST's archive.
macro_rules! storage {
    ($name:literal) => {{
        const STORAGE: &[Storage] = &[
            idx::files(storage!($name, "", "train"), storage!($name, "", "test")),
            idx::in_zip(
                &["gzip.zip"],
                storage!($name, "gzip/", "train"),
                storage!($name, "gzip/", "test"),
            ),
        ];
        STORAGE
    }};
    ($name:literal, $folder:literal, $split:literal) => {
        &[
            concat!(
                $folder,
                "emnist-",
                $name,
                "-",
                $split,
                "-images-idx3-ubyte.gz"
            ),
            concat!(
                $folder,
                "emnist-",
                $name,
                "-",
                $split,
                "-labels-idx1-ubyte.gz"
            ),
        ]
    };
}

/// The fields that all six share.
const EMNIST: Entry = Entry {
    name: "",
    description: "",
    shape: (1, 28, 28),
    classes: &[],
    train_len: 0,
    test_len: 0,
    storage: &[],
    source: "https://www.nist.gov/itl/products-and-services/emnist-dataset",
    licence: "none stated; work of the United States government (NIST)",
    digests: None,
    folder: "emnist",
    inner: &["gzip", "raw"],
    elsewhere: &["EMNIST/raw", "EMNIST/raw/gzip"],
    labels: Labels::PLAIN,
    transposed: true,
    published: &[published(
        "gzip.zip",
        561753746,
        "fb9bb67e33772a9cc0b895e4ecf36d2cf35be8b709693c3564cea2a019fcda8e",
    )],
    hub: None,
    hosts: &[Host {
        base: "https://biometrics.nist.gov/cs_links/EMNIST/",
        files: &["gzip.zip"],
    }],
};

pub(super) const BYCLASS: Entry = Entry {
    name: "emnist-byclass",
    description: "EMNIST by class: digits, capitals and small letters",
    classes: ALPHANUMERIC,
    train_len: 697_932,
    test_len: 116_323,
    storage: storage!("byclass"),
    ..EMNIST
};

pub(super) const BYMERGE: Entry = Entry {
    name: "emnist-bymerge",
    description: "EMNIST by merge: as by class, look-alike letters merged",
    classes: MERGED,
    train_len: 697_932,
    test_len: 116_323,
    storage: storage!("bymerge"),
    ..EMNIST
};

pub(super) const BALANCED: Entry = Entry {
    name: "emnist-balanced",
    description: "EMNIST balanced: as by merge, equal classes",
    classes: MERGED,
    train_len: 112_800,
    test_len: 18_800,
    storage: storage!("balanced"),
    ..EMNIST
};

pub(super) const LETTERS: Entry = Entry {
    name: "emnist-letters",
    description: "EMNIST letters: capitals and small letters merged; labels 0 to 25",
    classes: ALPHABET,
    train_len: 124_800,
    test_len: 20_800,
    storage: storage!("letters"),
    // Numbered from 1.
    labels: Labels {
        first: 1,
        ..Labels::PLAIN
    },
    ..EMNIST
};

pub(super) const DIGITS: Entry = Entry {
    name: "emnist-digits",
    description: "EMNIST digits: 280,000 handwritten digits",
    classes: mnist::DIGITS,
    train_len: 240_000,
    test_len: 40_000,
    storage: storage!("digits"),
    ..EMNIST
};

pub(super) const MNIST: Entry = Entry {
    name: "emnist-mnist",
    description: "EMNIST MNIST: MNIST made anew by EMNIST's procedure",
    classes: mnist::DIGITS,
    train_len: 60_000,
    test_len: 10_000,
    storage: storage!("mnist"),
    ..EMNIST
};
