//! The embedded sample of Fashion-MNIST (see `data/fashion-mnist-sample/README.md`).

use crate::dataset::Split;
use crate::error::Result;
use crate::formats::idx::read_sources;
use crate::source::Source;
use crate::storage::{Contents, Format, Reading, Storage};

macro_rules! file {
    ($name:literal) => {
        (
            concat!("embedded:fashion-mnist-sample/", $name),
            include_bytes!(concat!("../../data/fashion-mnist-sample/", $name)).as_slice(),
        )
    };
}

/// The sample of Fashion-MNIST.
pub(crate) const FASHION_MNIST: Storage = Storage {
    format: Format::Embedded,
    files: [&[], &[]],
    members: [&[], &[]],
    read,
};

fn read(reading: &Reading) -> Result<Contents> {
    let (images, labels) = match reading.split {
        Split::Train => (
            file!("train-images-idx3-ubyte.gz"),
            file!("train-labels-idx1-ubyte.gz"),
        ),
        // `Places::find` has refused validation.
        Split::Test | Split::Validation => (
            file!("t10k-images-idx3-ubyte.gz"),
            file!("t10k-labels-idx1-ubyte.gz"),
        ),
    };
    let source =
        |(name, bytes): (&str, &'static [u8])| Source::new(name.into(), bytes, bytes.len() as u64);
    read_sources(reading, source(images)?, source(labels)?)
}
