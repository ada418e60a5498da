//! MNIST: the SHA-256 of the files are those of TensorFlow Datasets.

use crate::entry::{Entry, Host, HubFiles, published};
use crate::formats::{PARQUET, idx, npz};
use crate::storage::Labels;

/// Class names of digits.
pub(super) const DIGITS: &[&str] = &["0", "1", "2", "3", "4", "5", "6", "7", "8", "9"];

/// Training files: images, labels.
pub(super) const TRAIN: &[&str; 2] = &["train-images-idx3-ubyte.gz", "train-labels-idx1-ubyte.gz"];

/// Test files: images, labels.
pub(super) const TEST: &[&str; 2] = &["t10k-images-idx3-ubyte.gz", "t10k-labels-idx1-ubyte.gz"];

/// All four, as the hosts have them.
pub(super) const FILES: &[&str] = &[TRAIN[0], TRAIN[1], TEST[0], TEST[1]];

pub(super) const ENTRY: Entry = Entry {
    name: "mnist",
    description: "MNIST: handwritten digits",
    shape: (1, 28, 28),
    classes: DIGITS,
    train_len: 60_000,
    test_len: 10_000,
    storage: &[idx::files(TRAIN, TEST), PARQUET, npz::keras(&["mnist.npz"])],
    source: "http://yann.lecun.com/exdb/mnist/",
    licence: "CC BY-SA 3.0, LeCun and Cortes",
    digests: Some([
        "c8b3cab443435d7dfb106e8dfba9a933cd0a413598e4a636208d181222bacbb3",
        "e45e883191c1bcd4d79138d442509f5a3d5a1c7e6da8d2edab682f88789dccc0",
    ]),
    folder: "mnist",
    inner: &["raw", "mnist", "data", "default"],
    elsewhere: &["MNIST/raw"],
    labels: Labels::PLAIN,
    transposed: false,
    published: &[
        published(
            "train-images-idx3-ubyte.gz",
            9912422,
            "440fcabf73cc546fa21475e81ea370265605f56be210a4024d2ca8f203523609",
        ),
        published(
            "train-labels-idx1-ubyte.gz",
            28881,
            "3552534a0a558bbed6aed32b30c495cca23d567ec52cac8be1a0730e8010255c",
        ),
        published(
            "t10k-images-idx3-ubyte.gz",
            1648877,
            "8d422c7b0a1c1c79245a5bcf07fe86e33eeafee792b84584aec276f5a2dbc4e6",
        ),
        published(
            "t10k-labels-idx1-ubyte.gz",
            4542,
            "f7ae60f92e00ec6debd23a6088c31dbd2371eca3ffa0defaefb259924204aec6",
        ),
    ],
    hub: Some(HubFiles {
        owner: "ylecun",
        name: "mnist",
        files: &[
            "mnist/train-00000-of-00001.parquet",
            "mnist/test-00000-of-00001.parquet",
        ],
    }),
    hosts: &[
        Host {
            base: "https://ossci-datasets.s3.amazonaws.com/mnist/",
            files: FILES,
        },
        Host {
            base: "https://storage.googleapis.com/cvdf-datasets/mnist/",
            files: FILES,
        },
    ],
};
