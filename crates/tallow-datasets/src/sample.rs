//! The built-in sample of Fashion-MNIST (see `data/fashion-mnist-sample/README.md`).

use crate::catalog::Entry;
use crate::dataset::Split;
use crate::error::Result;
use crate::load::read_idx;
use crate::source::Source;

macro_rules! file {
    ($name:literal) => {
        (
            concat!("embedded:fashion-mnist-sample/", $name),
            include_bytes!(concat!("../data/fashion-mnist-sample/", $name)).as_slice(),
        )
    };
}

pub(crate) fn read(entry: &Entry, split: Split) -> Result<(Vec<u8>, Vec<u32>)> {
    let (images, labels) = match split {
        Split::Train => (
            file!("train-images-idx3-ubyte.gz"),
            file!("train-labels-idx1-ubyte.gz"),
        ),
        Split::Test => (
            file!("t10k-images-idx3-ubyte.gz"),
            file!("t10k-labels-idx1-ubyte.gz"),
        ),
    };
    let source =
        |(name, bytes): (&str, &'static [u8])| Source::new(name.into(), bytes, bytes.len() as u64);
    read_idx(entry, split, source(images)?, source(labels)?)
}
