//! From a name to a dataset.

use std::path::Path;
use std::sync::Arc;

use crate::arrays;
use crate::catalog::entry;
use crate::dataset::{Dataset, Split};
use crate::error::{Error, Result};
use crate::fetch::fetch_missing;
use crate::options::LoadOptions;
use crate::read::read;

/// Loads a split of a dataset of the [`catalog`](crate::catalog) into memory, or opens `folder:PATH`, an
/// `ImageFolder` in the subfolder `train`, or `test`, `val`, `valid` or `validation`, of `PATH` (feature `pictures`). Both splits have one
/// list of classes. `csv:PATH` is a folder with lists of pictures and labels, `ImageFolder::open_list`. `npz:PATH` is an archive or a folder
/// of NumPy arrays: `x_train`, `y_train`, `x_test` and `y_test`, or MedMNIST's `train_images`, `train_labels`, `test_images` and `test_labels`, where
/// `val` stands for a test split that is not there; images are bytes of shape `(N, H, W)`, `(N, H, W, C)` or `(N, C, H, W)`, labels whole numbers from 0.
///
/// The places are searched in this order: [`LoadOptions::data_dir`], the environment variable `TALLOW_DATA` (a directory
/// with a folder for each dataset), the user cache, `/usr/share/datasets`. If none has the dataset and
/// [`LoadOptions::download`] is set, it is downloaded into the user cache.
///
/// # Errors
/// [`Error::NotFound`] names every place searched. A file that is damaged or of another kind is an
/// [`Error::Invalid`]; the search does not go on past it. [`Error::Feature`] for a format that this build does not read.
pub fn load(name: &str, split: Split, options: &LoadOptions) -> Result<Arc<dyn Dataset>> {
    if let Some(root) = name.strip_prefix("folder:") {
        return open_folder(root, split, options);
    }
    if let Some(root) = name.strip_prefix("csv:") {
        return open_list(root, split, options);
    }
    if let Some(path) = name.strip_prefix("npz:") {
        return Ok(Arc::new(arrays::open(Path::new(path), split)?));
    }
    let entry = entry(name)?;
    let found = match options.places().find(entry, split) {
        Err(Error::NotFound(not_found)) if options.download => {
            fetch_missing(entry, options, *not_found)?;
            options.places().find(entry, split)?
        }
        found => found?,
    };
    let set = read(entry, split, &found, options.emnist_as_stored)?;
    Ok(Arc::new(set))
}

#[cfg(feature = "pictures")]
fn open_folder(root: &str, split: Split, options: &LoadOptions) -> Result<Arc<dyn Dataset>> {
    let folder = crate::folder::ImageFolder::open_split(root, split, options.pictures)?;
    Ok(Arc::new(folder))
}

#[cfg(feature = "pictures")]
fn open_list(root: &str, split: Split, options: &LoadOptions) -> Result<Arc<dyn Dataset>> {
    let list = crate::folder::ImageFolder::open_list(root, split, options.pictures)?;
    Ok(Arc::new(list))
}

#[cfg(not(feature = "pictures"))]
fn open_folder(root: &str, _: Split, _: &LoadOptions) -> Result<Arc<dyn Dataset>> {
    Err(Error::Feature {
        feature: "pictures",
        needed_for: format!("reading the pictures of {root}"),
    })
}

#[cfg(not(feature = "pictures"))]
use open_folder as open_list;
