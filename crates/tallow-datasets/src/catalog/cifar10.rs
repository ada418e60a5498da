//! CIFAR-10: the SHA-256 of the archive is that of TensorFlow Datasets, those of the `.bin` files are from torchvision for Ruby, those
//! of the Parquet files are stated by the hub.

use crate::entry::{Entry, Host, HubFiles, published};
use crate::formats::{PARQUET, cifar, cifar_python};
use crate::storage::Labels;

const CLASSES: &[&str] = &[
    "airplane",
    "automobile",
    "bird",
    "cat",
    "deer",
    "dog",
    "frog",
    "horse",
    "ship",
    "truck",
];

const TRAIN: &[&str] = &[
    "data_batch_1.bin",
    "data_batch_2.bin",
    "data_batch_3.bin",
    "data_batch_4.bin",
    "data_batch_5.bin",
];

const TEST: &[&str] = &["test_batch.bin"];

const PYTHON_TRAIN: &[&str] = &[
    "data_batch_1",
    "data_batch_2",
    "data_batch_3",
    "data_batch_4",
    "data_batch_5",
];

const PYTHON_TEST: &[&str] = &["test_batch"];

pub(super) const ENTRY: Entry = Entry {
    name: "cifar10",
    description: "CIFAR-10: small colour photographs in 10 classes",
    shape: (3, 32, 32),
    classes: CLASSES,
    train_len: 50_000,
    test_len: 10_000,
    storage: &[
        cifar::archive(&["cifar-10-binary.tar.gz"], TRAIN, TEST),
        cifar::files(TRAIN, TEST),
        cifar_python::archive(&["cifar-10-python.tar.gz"], PYTHON_TRAIN, PYTHON_TEST),
        cifar_python::archive(&["cifar-10-batches-py.tar.gz"], PYTHON_TRAIN, PYTHON_TEST),
        cifar_python::files(PYTHON_TRAIN, PYTHON_TEST),
        PARQUET,
    ],
    source: "https://www.cs.toronto.edu/~kriz/cifar.html",
    licence: "none stated; cite Krizhevsky 2009",
    digests: None,
    folder: "cifar10",
    inner: &[
        "cifar-10-batches-bin",
        "plain_text",
        "data",
        "default",
        "cifar10",
    ],
    elsewhere: &[
        "cifar-10-batches-py",
        "cifar-10-batches-py-target/cifar-10-batches-py",
    ],
    labels: Labels::PLAIN,
    transposed: false,
    published: &[
        published(
            "cifar-10-binary.tar.gz",
            170052171,
            "c4a38c50a1bc5f3a1c5537f2155ab9d68f9f25eb1ed8d9ddda3db29a59bca1dd",
        ),
        published(
            "cifar-10-python.tar.gz",
            170498071,
            "6d958be074577803d12ecdefd02955f39262c83c16fe9348329d7fe0b5c001ce",
        ),
        published(
            "data_batch_1.bin",
            30730000,
            "cee916563c9f80d84e3cc88e17fdc0941787f1244f00a67874d45b261883ada5",
        ),
        published(
            "data_batch_2.bin",
            30730000,
            "a591ca11fa1708a91ee40f54b3da4784ccd871ecf2137de63f51ada8b3fa57ed",
        ),
        published(
            "data_batch_3.bin",
            30730000,
            "bbe8596564c0f86427f876058170b84dac6670ddf06d79402899d93ceea26f67",
        ),
        published(
            "data_batch_4.bin",
            30730000,
            "014e562d6e23c72197cc727519169a60359f5eccd8945ad5a09d710285ff4e48",
        ),
        published(
            "data_batch_5.bin",
            30730000,
            "755304fc0b379caeae8c14f0dac912fbc7d6cd469eb67a1029a08a39453a9add",
        ),
        published(
            "test_batch.bin",
            30730000,
            "8e2eb146ae340b09e24670f29cabc6326dba54da8789dab6768acf480273f65b",
        ),
        published(
            "train-00000-of-00001.parquet",
            119705255,
            "8428b53a88a11ac374111006708df51469e315a22ac6d66470afd9c78d2ae883",
        ),
        published(
            "test-00000-of-00001.parquet",
            23940850,
            "841389e6f2d64f28bf17310e430aebac20ec3ba611a3c5e231dc93c645ce84de",
        ),
    ],
    hub: Some(HubFiles {
        owner: "uoft-cs",
        name: "cifar10",
        files: &[
            "plain_text/train-00000-of-00001.parquet",
            "plain_text/test-00000-of-00001.parquet",
        ],
    }),
    hosts: &[Host {
        base: "https://www.cs.toronto.edu/~kriz/",
        files: &["cifar-10-binary.tar.gz"],
    }],
};
