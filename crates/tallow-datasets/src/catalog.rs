//! The datasets known by name.

mod table;

use serde::Serialize;

use crate::dataset::Split;
use crate::error::{Error, Result};

/// A way a dataset is stored.
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
    /// Hugging Face Parquet: a struct column of encoded images (PNG or JPEG) and integer labels.
    Parquet,
    /// A folder of image files, one subfolder a class.
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
            Format::Parquet => "parquet",
            Format::ImageFolder => "image folder",
        }
    }
}

/// A dataset known by name: what it holds, how it may be stored, where it comes from.
#[derive(Debug, Serialize)]
pub struct Entry {
    /// Name for [`load`](crate::load).
    pub name: &'static str,
    /// One line on what it is.
    pub description: &'static str,
    /// `(C, H, W)` of every image.
    pub shape: (usize, usize, usize),
    /// Class names in label order.
    pub classes: &'static [&'static str],
    /// Images in the published training split.
    pub train_len: usize,
    /// Images in the published test split.
    pub test_len: usize,
    /// Formats that are read, in order of preference.
    pub formats: &'static [Format],
    /// Where it was published.
    pub source: &'static str,
    /// Terms of use.
    pub licence: &'static str,
    /// Digests of the published training and test splits (see
    /// [`ImageSet::from_parts`](crate::ImageSet::from_parts)), where known.
    pub digests: Option<[&'static str; 2]>,
    /// Folder that holds it under `TALLOW_DATA`, the user cache and the system directory.
    pub folder: &'static str,
    /// Subfolders of it that are searched too: those other tools unpack into.
    #[serde(skip)]
    pub(crate) inner: &'static [&'static str],
    #[serde(skip)]
    pub(crate) files: Files,
    /// Published files; reading only these makes a set `original`.
    #[serde(skip)]
    pub(crate) published: &'static [Published],
    #[serde(skip)]
    pub(crate) hub: Option<Hub>,
    #[serde(skip)]
    pub(crate) hosts: &'static [Host],
}

/// How the files of a dataset are called.
#[derive(Debug)]
pub(crate) enum Files {
    #[cfg(feature = "sample")]
    Sample,
    Mnist,
    /// The split's part of the file names, `balanced` in `emnist-balanced-train-images-idx3-ubyte`.
    Emnist(&'static str),
    Cifar(Cifar),
}

/// Which CIFAR, and which of its labels.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Cifar {
    Ten,
    HundredFine,
    HundredCoarse,
}

/// A file as it was published.
#[derive(Debug)]
pub(crate) struct Published {
    /// File name, for messages and [`Host`]. What is compared is size and content.
    pub name: &'static str,
    pub size: u64,
    pub sha256: &'static str,
}

/// Parquet files on the Hugging Face hub.
#[derive(Debug)]
pub(crate) struct Hub {
    pub owner: &'static str,
    pub name: &'static str,
    pub files: &'static [&'static str],
}

/// The original host of published files.
#[derive(Debug)]
pub(crate) struct Host {
    /// Ends with a slash; the file name follows.
    pub base: &'static str,
    /// Names in [`Entry::published`].
    pub files: &'static [&'static str],
}

impl Entry {
    /// Images in the published split.
    pub fn len(&self, split: Split) -> usize {
        match split {
            Split::Train => self.train_len,
            Split::Test => self.test_len,
        }
    }

    /// Digest of the published split, where known.
    pub fn digest(&self, split: Split) -> Option<&'static str> {
        self.digests.map(|[train, test]| match split {
            Split::Train => train,
            Split::Test => test,
        })
    }

    pub(crate) fn class_names(&self) -> Vec<String> {
        self.classes.iter().map(|c| c.to_string()).collect()
    }
}

/// All datasets known by name.
pub fn catalog() -> &'static [Entry] {
    table::CATALOG
}

/// The entry of a name. [`Error::UnknownDataset`] lists the known ones.
pub fn entry(name: &str) -> Result<&'static Entry> {
    catalog()
        .iter()
        .find(|e| e.name == name)
        .ok_or_else(|| Error::UnknownDataset {
            name: name.to_string(),
            known: catalog().iter().map(|e| e.name).collect(),
        })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_unique_and_found() {
        for (i, e) in catalog().iter().enumerate() {
            assert_eq!(entry(e.name).unwrap().name, e.name);
            assert!(catalog()[..i].iter().all(|other| other.name != e.name));
        }
        let error = entry("cifar-10").unwrap_err().to_string();
        assert!(
            error.contains("`cifar-10`") && error.contains("cifar10"),
            "{error}"
        );
    }

    #[test]
    fn classes_have_their_published_number() {
        let expected = [
            ("mnist", 10),
            ("fashion-mnist", 10),
            ("kmnist", 10),
            ("emnist-byclass", 62),
            ("emnist-bymerge", 47),
            ("emnist-balanced", 47),
            ("emnist-letters", 26),
            ("emnist-digits", 10),
            ("cifar10", 10),
            ("cifar100", 100),
            ("cifar100-coarse", 20),
        ];
        for (name, n) in expected {
            let classes = entry(name).unwrap().classes;
            let distinct: std::collections::BTreeSet<_> = classes.iter().collect();
            assert_eq!((classes.len(), distinct.len()), (n, n), "{name}");
        }
    }

    #[test]
    fn hosts_name_published_files() {
        for e in catalog() {
            for file in e.hosts.iter().flat_map(|h| h.files) {
                assert!(
                    e.published.iter().any(|p| p.name == *file),
                    "{}: {file}",
                    e.name
                );
            }
            for p in e.published {
                assert_eq!(p.sha256.len(), 64, "{}: {}", e.name, p.name);
            }
        }
    }
}
