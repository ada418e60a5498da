//! Fashion-MNIST, and its embedded sample.

use crate::entry::{Entry, Host, HubFiles, published};
use crate::formats::{PARQUET, idx};
use crate::storage::Labels;

use super::mnist::{FILES, TEST, TRAIN};

const FASHION: &[&str] = &[
    "T-shirt/top",
    "Trouser",
    "Pullover",
    "Dress",
    "Coat",
    "Sandal",
    "Shirt",
    "Sneaker",
    "Bag",
    "Ankle boot",
];

pub(super) const ENTRY: Entry = Entry {
    name: "fashion-mnist",
    description: "Fashion-MNIST: pictures of clothes, a drop-in for MNIST",
    shape: (1, 28, 28),
    classes: FASHION,
    train_len: 60_000,
    test_len: 10_000,
    storage: &[idx::files(TRAIN, TEST), PARQUET],
    source: "https://github.com/zalandoresearch/fashion-mnist",
    licence: "MIT, Copyright (c) 2017 Zalando SE",
    digests: Some([
        "913b43a783879a550c68f83c18892a1d6fd424310754c378485aa4d589ee6fe0",
        "ce18b71889546cddd133f2ee68c32d63804ef7de5679666ebf782b3c1a2480f8",
    ]),
    folder: "fashion-mnist",
    inner: &["raw", "fashion_mnist", "data", "default"],
    elsewhere: &["FashionMNIST/raw"],
    labels: Labels::PLAIN,
    transposed: false,
    published: &[
        published(
            "train-images-idx3-ubyte.gz",
            26421880,
            "3aede38d61863908ad78613f6a32ed271626dd12800ba2636569512369268a84",
        ),
        published(
            "train-labels-idx1-ubyte.gz",
            29515,
            "a04f17134ac03560a47e3764e11b92fc97de4d1bfaf8ba1a3aa29af54cc90845",
        ),
        published(
            "t10k-images-idx3-ubyte.gz",
            4422102,
            "346e55b948d973a97e58d2351dde16a484bd415d4595297633bb08f03db6a073",
        ),
        published(
            "t10k-labels-idx1-ubyte.gz",
            5148,
            "67da17c76eaffca5446c3361aaab5c3cd6d1c2608764d35dfb1850b086bf8dd5",
        ),
    ],
    hub: Some(HubFiles {
        owner: "zalando-datasets",
        name: "fashion_mnist",
        files: &[
            "fashion_mnist/train-00000-of-00001.parquet",
            "fashion_mnist/test-00000-of-00001.parquet",
        ],
    }),
    hosts: &[Host {
        base: "http://fashion-mnist.s3-website.eu-central-1.amazonaws.com/",
        files: FILES,
    }],
};

/// The first images of each class, embedded in the program.
#[cfg(feature = "sample")]
pub(super) const SAMPLE: Entry = Entry {
    name: "fashion-mnist-sample",
    description: "Fashion-MNIST, the first 1,000 training and 200 test images of each class; built in",
    shape: (1, 28, 28),
    classes: FASHION,
    train_len: 10_000,
    test_len: 2_000,
    storage: &[crate::formats::embedded::FASHION_MNIST],
    source: "https://github.com/zalandoresearch/fashion-mnist",
    licence: "MIT, Copyright (c) 2017 Zalando SE",
    digests: Some([
        "41d84ee5d85d10f0e946aa5b1c5fae2b33eb905d4e5a85b76b522419c8f91f72",
        "cf11d8c3a2ca7716ecec776a63e5ed9958dc00b625a012b090d24d9ee8b7dcc9",
    ]),
    folder: "fashion-mnist-sample",
    inner: &[],
    elsewhere: &[],
    labels: Labels::PLAIN,
    transposed: false,
    published: &[],
    hub: None,
    hosts: &[],
};
