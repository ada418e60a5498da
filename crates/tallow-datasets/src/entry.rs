//! Description of a dataset known by name.

use serde::{Serialize, Serializer};

use crate::dataset::Split;
use crate::error::{Error, Result};
use crate::storage::{Format, Labels, Storage};

/// Dataset known by name: contents, formats and origin.
#[derive(Debug, Serialize)]
pub struct Entry {
    /// Name for [`load`](crate::load).
    pub name: &'static str,
    /// Description in one line.
    pub description: &'static str,
    /// `(C, H, W)` of every image.
    pub shape: (usize, usize, usize),
    /// Class names in label order.
    pub classes: &'static [&'static str],
    /// Number of images in the published training split.
    pub train_len: usize,
    /// Number of images in the published test split.
    pub test_len: usize,
    /// Ways it is stored, in order of preference.
    #[serde(rename = "formats", serialize_with = "formats")]
    pub(crate) storage: &'static [Storage],
    /// Page where it was published.
    pub source: &'static str,
    /// Terms of use.
    pub licence: &'static str,
    /// Digests of the published training and test splits (see
    /// [`ImageSet::from_parts`](crate::ImageSet::from_parts)), where known.
    pub digests: Option<[&'static str; 2]>,
    /// Folder that holds it under `TALLOW_DATA`, the user cache and the system directory.
    pub folder: &'static str,
    /// Subfolders that are searched too: other tools unpack into them.
    #[serde(skip)]
    pub(crate) inner: &'static [&'static str],
    /// Folders beside that folder, where other tools put it: searched in each place, and in a given directory.
    #[serde(skip)]
    pub(crate) elsewhere: &'static [&'static str],
    #[serde(skip)]
    pub(crate) labels: Labels,
    /// The files hold every image transposed.
    #[serde(skip)]
    pub(crate) transposed: bool,
    /// Published files; a set read only from these is `original`.
    #[serde(skip)]
    pub(crate) published: &'static [Published],
    #[serde(skip)]
    pub(crate) hub: Option<HubFiles>,
    #[serde(skip)]
    pub(crate) hosts: &'static [Host],
}

/// File as it was published.
#[derive(Debug)]
pub(crate) struct Published {
    /// File name, for messages and [`Host`]. Size and content are compared, not the name.
    #[cfg_attr(not(feature = "download"), allow(dead_code))]
    pub name: &'static str,
    pub size: u64,
    /// SHA-256 in hexadecimal.
    pub sha256: &'static str,
}

/// Files of a dataset repository on the Hugging Face hub.
#[derive(Debug, Clone, Copy)]
pub(crate) struct HubFiles {
    pub owner: &'static str,
    pub name: &'static str,
    pub files: &'static [&'static str],
}

/// Original host of published files.
#[derive(Debug)]
pub(crate) struct Host {
    /// Address that ends with a slash; the file name follows.
    pub base: &'static str,
    /// Names in [`Entry::published`].
    pub files: &'static [&'static str],
}

pub(crate) const fn published(name: &'static str, size: u64, sha256: &'static str) -> Published {
    Published { name, size, sha256 }
}

impl Entry {
    /// Number of images in the published split.
    pub fn len(&self, split: Split) -> usize {
        match split {
            Split::Train => self.train_len,
            Split::Test => self.test_len,
            Split::Validation => 0,
        }
    }

    /// Digest of the published split, where known.
    pub fn digest(&self, split: Split) -> Option<&'static str> {
        self.digests?.get(split as usize).copied()
    }

    /// Refuses a split that no dataset of the catalogue has.
    pub(crate) fn check_split(&self, split: Split) -> Result<()> {
        match Split::ALL.contains(&split) {
            true => Ok(()),
            false => Err(Error::Argument(format!(
                "`{}` has no {split} split: expected `train` or `test`; `stratified_split` takes validation data from the training split",
                self.name
            ))),
        }
    }

    /// Formats that are read, in order of preference.
    pub fn formats(&self) -> Vec<Format> {
        let mut formats: Vec<_> = self.storage.iter().map(|s| s.format).collect();
        formats.dedup();
        formats
    }

    pub(crate) fn class_names(&self) -> Vec<String> {
        self.classes.iter().map(|c| c.to_string()).collect()
    }
}

fn formats<S: Serializer>(
    storage: &&'static [Storage],
    serializer: S,
) -> std::result::Result<S::Ok, S::Error> {
    let mut formats: Vec<_> = storage.iter().map(|s| s.format).collect();
    formats.dedup();
    formats.serialize(serializer)
}
