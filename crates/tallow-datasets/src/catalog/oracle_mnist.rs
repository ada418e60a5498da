//! Oracle-MNIST.

use crate::entry::Entry;
use crate::formats::idx;
use crate::storage::Labels;

use super::mnist::{TEST, TRAIN};

pub(super) const ENTRY: Entry = Entry {
    name: "oracle-mnist",
    description: "Oracle-MNIST: characters from oracle bones, a drop-in for MNIST",
    shape: (1, 28, 28),
    classes: &[
        "big", "sun", "moon", "cattle", "next", "field", "not", "arrow", "time", "wood",
    ],
    train_len: 27_222,
    test_len: 3_000,
    storage: &[idx::files(TRAIN, TEST)],
    source: "https://github.com/wm-bupt/oracle-mnist",
    licence: "see the source",
    digests: None,
    folder: "oracle-mnist",
    inner: &["raw", "oracle"],
    elsewhere: &[],
    labels: Labels::PLAIN,
    transposed: false,
    published: &[],
    hub: None,
    hosts: &[],
};
