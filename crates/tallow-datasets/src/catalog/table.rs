//! The facts: sizes, digests and addresses.
//!
//! The SHA-256 of MNIST, KMNIST, EMNIST and the CIFAR archives are those of TensorFlow Datasets, the CIFAR
//! `.bin` files' those of the torchvision port to Ruby, the CIFAR Parquet files' those the hub states.

use super::{Cifar, Entry, Files, Format, Host, Hub, Published};
use crate::classes;

const fn published(name: &'static str, size: u64, sha256: &'static str) -> Published {
    Published { name, size, sha256 }
}

const MNIST_FILES: &[&str] = &[
    "train-images-idx3-ubyte.gz",
    "train-labels-idx1-ubyte.gz",
    "t10k-images-idx3-ubyte.gz",
    "t10k-labels-idx1-ubyte.gz",
];

const EMNIST: Entry = Entry {
    name: "",
    description: "",
    shape: (1, 28, 28),
    classes: &[],
    train_len: 0,
    test_len: 0,
    formats: &[Format::Idx, Format::IdxZip],
    source: "https://www.nist.gov/itl/products-and-services/emnist-dataset",
    licence: "none stated; work of the United States government (NIST)",
    digests: None,
    folder: "emnist",
    inner: &["gzip", "raw"],
    files: Files::Emnist(""),
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

const CIFAR100: Entry = Entry {
    name: "cifar100",
    description: "CIFAR-100: small colour photographs in 100 classes",
    shape: (3, 32, 32),
    classes: classes::CIFAR100,
    train_len: 50_000,
    test_len: 10_000,
    formats: &[Format::CifarBinary, Format::Parquet],
    source: "https://www.cs.toronto.edu/~kriz/cifar.html",
    licence: "none stated; cite Krizhevsky 2009",
    digests: None,
    folder: "cifar100",
    inner: &["cifar-100-binary", "cifar100", "data"],
    files: Files::Cifar(Cifar::HundredFine),
    published: &[
        published(
            "cifar-100-binary.tar.gz",
            168513733,
            "58a81ae192c23a4be8b1804d68e518ed807d710a4eb253b1f2a199162a40d8ec",
        ),
        published(
            "train.bin",
            153700000,
            "f31298fc616915fa142368359df1c4ca2ae984d6915ca468b998a5ec6aeebf29",
        ),
        published(
            "test.bin",
            30740000,
            "d8b1e6b7b3bee4020055f0699b111f60b1af1e262aeb93a0b659061746f8224a",
        ),
        published(
            "train-00000-of-00001.parquet",
            118518617,
            "694865d6b990e234804f01268586c41e88bcbbb75e20858432c05ad4081aca23",
        ),
        published(
            "test-00000-of-00001.parquet",
            23772751,
            "98776c529bb146a9c791229df74a5cf076be9b43d82dbbd334b6a7788d73dc68",
        ),
    ],
    hub: Some(Hub {
        owner: "uoft-cs",
        name: "cifar100",
        files: &[
            "cifar100/train-00000-of-00001.parquet",
            "cifar100/test-00000-of-00001.parquet",
        ],
    }),
    hosts: &[Host {
        base: "https://www.cs.toronto.edu/~kriz/",
        files: &["cifar-100-binary.tar.gz"],
    }],
};

pub(super) static CATALOG: &[Entry] = &[
    #[cfg(feature = "sample")]
    Entry {
        name: "fashion-mnist-sample",
        description: "Fashion-MNIST, the first 1,000 training and 200 test images of each class; built in",
        shape: (1, 28, 28),
        classes: classes::FASHION,
        train_len: 10_000,
        test_len: 2_000,
        formats: &[Format::Embedded],
        source: "https://github.com/zalandoresearch/fashion-mnist",
        licence: "MIT, Copyright (c) 2017 Zalando SE",
        digests: Some([
            "41d84ee5d85d10f0e946aa5b1c5fae2b33eb905d4e5a85b76b522419c8f91f72",
            "cf11d8c3a2ca7716ecec776a63e5ed9958dc00b625a012b090d24d9ee8b7dcc9",
        ]),
        folder: "fashion-mnist-sample",
        inner: &[],
        files: Files::Sample,
        published: &[],
        hub: None,
        hosts: &[],
    },
    Entry {
        name: "mnist",
        description: "MNIST: handwritten digits",
        shape: (1, 28, 28),
        classes: classes::DIGITS,
        train_len: 60_000,
        test_len: 10_000,
        formats: &[Format::Idx, Format::Parquet],
        source: "http://yann.lecun.com/exdb/mnist/",
        licence: "CC BY-SA 3.0, LeCun and Cortes",
        digests: Some([
            "c8b3cab443435d7dfb106e8dfba9a933cd0a413598e4a636208d181222bacbb3",
            "e45e883191c1bcd4d79138d442509f5a3d5a1c7e6da8d2edab682f88789dccc0",
        ]),
        folder: "mnist",
        inner: &["raw", "mnist", "data"],
        files: Files::Mnist,
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
        hub: Some(Hub {
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
                files: MNIST_FILES,
            },
            Host {
                base: "https://storage.googleapis.com/cvdf-datasets/mnist/",
                files: MNIST_FILES,
            },
        ],
    },
    Entry {
        name: "fashion-mnist",
        description: "Fashion-MNIST: pictures of clothes, a drop-in for MNIST",
        shape: (1, 28, 28),
        classes: classes::FASHION,
        train_len: 60_000,
        test_len: 10_000,
        formats: &[Format::Idx, Format::Parquet],
        source: "https://github.com/zalandoresearch/fashion-mnist",
        licence: "MIT, Copyright (c) 2017 Zalando SE",
        digests: Some([
            "913b43a783879a550c68f83c18892a1d6fd424310754c378485aa4d589ee6fe0",
            "ce18b71889546cddd133f2ee68c32d63804ef7de5679666ebf782b3c1a2480f8",
        ]),
        folder: "fashion-mnist",
        inner: &["raw", "fashion_mnist", "data"],
        files: Files::Mnist,
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
        hub: Some(Hub {
            owner: "zalando-datasets",
            name: "fashion_mnist",
            files: &[
                "fashion_mnist/train-00000-of-00001.parquet",
                "fashion_mnist/test-00000-of-00001.parquet",
            ],
        }),
        hosts: &[Host {
            base: "http://fashion-mnist.s3-website.eu-central-1.amazonaws.com/",
            files: MNIST_FILES,
        }],
    },
    Entry {
        name: "kmnist",
        description: "Kuzushiji-MNIST: cursive Japanese characters, a drop-in for MNIST",
        shape: (1, 28, 28),
        classes: classes::KANA,
        train_len: 60_000,
        test_len: 10_000,
        formats: &[Format::Idx, Format::Parquet],
        source: "https://github.com/rois-codh/kmnist",
        licence: "CC BY-SA 4.0, ROIS-DS Center for Open Data in the Humanities",
        digests: None,
        folder: "kmnist",
        inner: &["raw", "kmnist", "data"],
        files: Files::Mnist,
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
        hub: Some(Hub {
            owner: "tanganke",
            name: "kmnist",
            files: &[
                "kmnist/train-00000-of-00001.parquet",
                "kmnist/test-00000-of-00001.parquet",
            ],
        }),
        hosts: &[Host {
            base: "http://codh.rois.ac.jp/kmnist/dataset/kmnist/",
            files: MNIST_FILES,
        }],
    },
    Entry {
        name: "emnist-byclass",
        description: "EMNIST by class: digits, capitals and small letters",
        classes: classes::ALPHANUMERIC,
        train_len: 697_932,
        test_len: 116_323,
        files: Files::Emnist("byclass"),
        ..EMNIST
    },
    Entry {
        name: "emnist-bymerge",
        description: "EMNIST by merge: as by class, look-alike letters merged",
        classes: classes::MERGED,
        train_len: 697_932,
        test_len: 116_323,
        files: Files::Emnist("bymerge"),
        ..EMNIST
    },
    Entry {
        name: "emnist-balanced",
        description: "EMNIST balanced: as by merge, equal classes",
        classes: classes::MERGED,
        train_len: 112_800,
        test_len: 18_800,
        files: Files::Emnist("balanced"),
        ..EMNIST
    },
    Entry {
        name: "emnist-letters",
        description: "EMNIST letters: capitals and small letters merged; labels 0 to 25",
        classes: classes::LETTERS,
        train_len: 124_800,
        test_len: 20_800,
        files: Files::Emnist("letters"),
        ..EMNIST
    },
    Entry {
        name: "emnist-digits",
        description: "EMNIST digits: 280,000 handwritten digits",
        classes: classes::DIGITS,
        train_len: 240_000,
        test_len: 40_000,
        files: Files::Emnist("digits"),
        ..EMNIST
    },
    Entry {
        name: "emnist-mnist",
        description: "EMNIST MNIST: MNIST made anew by EMNIST's procedure",
        classes: classes::DIGITS,
        train_len: 60_000,
        test_len: 10_000,
        files: Files::Emnist("mnist"),
        ..EMNIST
    },
    Entry {
        name: "cifar10",
        description: "CIFAR-10: small colour photographs in 10 classes",
        shape: (3, 32, 32),
        classes: classes::CIFAR10,
        train_len: 50_000,
        test_len: 10_000,
        formats: &[Format::CifarBinary, Format::Parquet],
        source: "https://www.cs.toronto.edu/~kriz/cifar.html",
        licence: "none stated; cite Krizhevsky 2009",
        digests: None,
        folder: "cifar10",
        inner: &["cifar-10-batches-bin", "plain_text", "data"],
        files: Files::Cifar(Cifar::Ten),
        published: &[
            published(
                "cifar-10-binary.tar.gz",
                170052171,
                "c4a38c50a1bc5f3a1c5537f2155ab9d68f9f25eb1ed8d9ddda3db29a59bca1dd",
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
        hub: Some(Hub {
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
    },
    CIFAR100,
    Entry {
        name: "cifar100-coarse",
        description: "CIFAR-100 with its 20 superclasses for labels",
        classes: classes::CIFAR100_COARSE,
        files: Files::Cifar(Cifar::HundredCoarse),
        ..CIFAR100
    },
];
