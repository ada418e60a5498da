//! Storage of a split as data: the file names, and the function that reads them.

use std::path::PathBuf;

use serde::Serialize;

use crate::dataset::Split;
use crate::error::Result;

/// Format of a stored dataset.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
#[non_exhaustive]
pub enum Format {
    /// Compiled into the program.
    Embedded,
    /// IDX files of images and of labels, plain or `.gz`.
    Idx,
    /// The IDX files of all of EMNIST inside NIST's `gzip.zip`.
    IdxZip,
    /// CIFAR's binary records: `cifar-*-binary.tar.gz`, or the `.bin` files from it.
    CifarBinary,
    /// CIFAR's Python version: `cifar-*-python.tar.gz`, or the pickles from it.
    CifarPython,
    /// NumPy arrays of images and labels: Keras' `mnist.npz`, the files of KMNIST.
    Npz,
    /// Hugging Face Parquet: a column of encoded images (PNG or JPEG) and integer labels.
    Parquet,
    /// A folder of image files, one subfolder per class.
    ImageFolder,
}

impl Format {
    /// Name as it appears in provenance strings.
    pub fn as_str(self) -> &'static str {
        match self {
            Format::Embedded => "embedded",
            Format::Idx => "IDX",
            Format::IdxZip => "IDX in zip",
            Format::CifarBinary => "CIFAR binary",
            Format::CifarPython => "CIFAR Python",
            Format::Npz => "npz",
            Format::Parquet => "parquet",
            Format::ImageFolder => "image folder",
        }
    }
}

/// File names of a dataset in one format, and the function that reads them.
#[derive(Debug)]
pub(crate) struct Storage {
    pub format: Format,
    /// Names of the files of the training and of the test split, all of them needed.
    pub files: [&'static [&'static str]; 2],
    /// Names inside the file, where it is an archive.
    pub members: [&'static [&'static str]; 2],
    /// Reads the files that were found.
    pub read: fn(&Reading) -> Result<Contents>,
}

impl Storage {
    /// Names of the files of a split.
    pub fn names(&self, split: Split) -> &'static [&'static str] {
        self.files.get(split as usize).copied().unwrap_or_default()
    }

    /// Names inside the archive of a split.
    pub fn members(&self, split: Split) -> &'static [&'static str] {
        (self.members.get(split as usize).copied()).unwrap_or_default()
    }
}

/// Files to read, and the expected contents.
pub(crate) struct Reading<'a> {
    #[cfg_attr(not(feature = "sample"), allow(dead_code))]
    pub split: Split,
    /// The files found, in the order of [`Storage::files`]; for Parquet, all shards in order.
    pub files: &'a [PathBuf],
    /// Names inside an archive.
    pub members: &'static [&'static str],
    /// `(C, H, W)` of every image.
    pub shape: (usize, usize, usize),
    /// Number of classes.
    pub classes: usize,
    /// Largest number of images that the split may have.
    pub most: usize,
    pub labels: Labels,
}

/// Position of the labels in the files.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Labels {
    /// Value of class 0 in an IDX file.
    pub first: u8,
    /// Number of label bytes in a CIFAR record.
    pub bytes: usize,
    /// Position of the label among them.
    pub byte: usize,
    /// Column of a Parquet file.
    #[cfg_attr(not(feature = "parquet"), allow(dead_code))]
    pub column: &'static str,
}

impl Labels {
    /// One label per image, counted from 0.
    pub const PLAIN: Labels = Labels {
        first: 0,
        bytes: 1,
        byte: 0,
        column: "label",
    };
}

/// Pixels and labels of a split.
pub(crate) struct Contents {
    /// `(N, C, H, W)`.
    pub pixels: Vec<u8>,
    pub labels: Vec<u32>,
    pub encoding: Encoding,
}

impl Contents {
    pub fn lossless(pixels: Vec<u8>, labels: Vec<u32>) -> Self {
        Contents {
            pixels,
            labels,
            encoding: Encoding::Lossless,
        }
    }
}

/// Encoding of the stored images.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Encoding {
    /// Every image is in a lossless format.
    Lossless,
    /// Some image is in a lossy format. The quality when all are JPEG and have the same standard table.
    #[cfg_attr(not(feature = "parquet"), allow(dead_code))]
    Lossy(Option<u8>),
}
