//! KMNIST: the SHA-256 of the files are those of TensorFlow Datasets.

use crate::entry::{Entry, Host, HubFiles, published};
use crate::formats::{PARQUET, idx, npz};
use crate::storage::Labels;

use super::mnist::{FILES, TEST, TRAIN};

const KANA: &[&str] = &["o", "ki", "su", "tsu", "na", "ha", "ma", "ya", "re", "wo"];

pub(super) const ENTRY: Entry = Entry {
    name: "kmnist",
    description: "Kuzushiji-MNIST: cursive Japanese characters, a drop-in for MNIST",
    shape: (1, 28, 28),
    classes: KANA,
    train_len: 60_000,
    test_len: 10_000,
    storage: &[
        idx::files(TRAIN, TEST),
        PARQUET,
        npz::pairs(
            &["kmnist-train-imgs.npz", "kmnist-train-labels.npz"],
            &["kmnist-test-imgs.npz", "kmnist-test-labels.npz"],
        ),
    ],
    source: "https://github.com/rois-codh/kmnist",
    licence: "CC BY-SA 4.0, ROIS-DS Center for Open Data in the Humanities",
    digests: None,
    folder: "kmnist",
    inner: &["raw", "kmnist", "data", "default"],
    elsewhere: &["KMNIST/raw"],
    labels: Labels::PLAIN,
    transposed: false,
    published: &[
        published(
            "train-images-idx3-ubyte.gz",
            18165135,
            "51467d22d8cc72929e2a028a0428f2086b092bb31cfb79c69cc0a90ce135fde4",
        ),
        published(
            "train-labels-idx1-ubyte.gz",
            29497,
            "e38f9ebcd0f3ebcdec7fc8eabdcdaef93bb0df8ea12bee65224341c8183d8e17",
        ),
        published(
            "t10k-images-idx3-ubyte.gz",
            3041136,
            "edd7a857845ad6bb1d0ba43fe7e794d164fe2dce499a1694695a792adfac43c5",
        ),
        published(
            "t10k-labels-idx1-ubyte.gz",
            5120,
            "20bb9a0ef54c7db3efc55a92eef5582c109615df22683c380526788f98e42a1c",
        ),
    ],
    hub: Some(HubFiles {
        owner: "tanganke",
        name: "kmnist",
        files: &[
            "kmnist/train-00000-of-00001.parquet",
            "kmnist/test-00000-of-00001.parquet",
        ],
    }),
    hosts: &[Host {
        base: "http://codh.rois.ac.jp/kmnist/dataset/kmnist/",
        files: FILES,
    }],
};
