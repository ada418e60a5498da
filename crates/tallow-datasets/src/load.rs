//! From a name to a dataset.

use std::path::Path;
use std::sync::Arc;

use crate::arrays;
use crate::catalog::entry;
use crate::dataset::{Dataset, Split};
use crate::error::{Error, Result};
use crate::fetch::fetch_missing;
#[cfg(feature = "pictures")]
use crate::folder::ImageFolder;
use crate::options::LoadOptions;
use crate::read::read;

/// Loads a split of a dataset of the [`catalog`](crate::catalog) into memory, or opens one of one's own:
///
/// - `folder:PATH`, with subfolders `train` and `test`: `ImageFolder::open_split` (feature `pictures`); where the folders of classes lie right
///   below `PATH`, they are the training split and there is no other;
/// - `csv:PATH`, a folder with lists of pictures and labels: `ImageFolder::open_list` (feature `pictures`);
/// - `npz:PATH`, an archive or a folder of NumPy arrays: `x_train`, `y_train`, `x_test` and `y_test`, or MedMNIST's `train_images`, `train_labels`,
///   `test_images` and `test_labels`; images are bytes of shape `(N, H, W)`, `(N, H, W, C)` or `(N, C, H, W)`, labels whole numbers from 0;
/// - `parquet:PATH`, a folder of Parquet files as the Hugging Face hub has them, or one file: `ParquetSet::open` (feature `parquet`). Where its
///   pictures do not fit into memory, they are streamed ([`LoadOptions::streaming`]).
///
/// These may have a validation split too, which is called `val` (also `valid` or `validation`); where there is no test split, it is the test
/// split. All splits have one list of classes. The datasets of the catalogue have no validation split.
///
/// The places are searched in this order: [`LoadOptions::data_dir`], the environment variable `TALLOW_DATA` (a directory
/// with a folder for each dataset), the user cache, `/usr/share/datasets`. If none has the dataset and
/// [`LoadOptions::download`] is set, it is downloaded into the user cache.
///
/// # Errors
/// [`Error::NotFound`] names every place searched. [`Error::Argument`] for a split that no dataset of the catalogue has. A file that is damaged or of another kind is an
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
    if let Some(path) = name.strip_prefix("parquet:") {
        return open_parquet(path, split, options);
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

/// Loads the validation split of a dataset of one's own; `None` if it has none, as the datasets of the catalogue.
///
/// # Errors
/// As [`load`].
pub fn load_validation(name: &str, options: &LoadOptions) -> Result<Option<Arc<dyn Dataset>>> {
    match has_validation(name)? {
        true => load(name, Split::Validation, options).map(Some),
        false => Ok(None),
    }
}

fn has_validation(name: &str) -> Result<bool> {
    if let Some(path) = name.strip_prefix("npz:") {
        return arrays::has_validation(Path::new(path));
    }
    #[cfg(feature = "parquet")]
    if let Some(path) = name.strip_prefix("parquet:") {
        return crate::parquet_set::has_validation(Path::new(path));
    }
    #[cfg(feature = "pictures")]
    {
        use crate::folder;
        if let Some(root) = name.strip_prefix("folder:") {
            return Ok(folder::has_validation(Path::new(root)));
        }
        if let Some(root) = name.strip_prefix("csv:") {
            return Ok(folder::has_validation_list(Path::new(root)));
        }
    }
    Ok(false)
}

#[cfg(feature = "pictures")]
fn open_folder(root: &str, split: Split, options: &LoadOptions) -> Result<Arc<dyn Dataset>> {
    let classes_alone = split == Split::Train
        && !ImageFolder::has_splits(root)
        && crate::folder::has_folders(Path::new(root));
    let folder = match classes_alone {
        true => ImageFolder::open_with(root, split, options.pictures),
        false => ImageFolder::open_split(root, split, options.pictures),
    }?;
    Ok(Arc::new(folder))
}

#[cfg(feature = "pictures")]
fn open_list(root: &str, split: Split, options: &LoadOptions) -> Result<Arc<dyn Dataset>> {
    let list = ImageFolder::open_list(root, split, options.pictures)?;
    Ok(Arc::new(list))
}

#[cfg(feature = "parquet")]
fn open_parquet(path: &str, split: Split, options: &LoadOptions) -> Result<Arc<dyn Dataset>> {
    use crate::parquet_set::ParquetSet;
    let set = ParquetSet::open(path, split, options.pictures, options.streaming)?;
    Ok(Arc::new(set))
}

#[cfg(not(feature = "parquet"))]
fn open_parquet(path: &str, _: Split, _: &LoadOptions) -> Result<Arc<dyn Dataset>> {
    Err(Error::Feature {
        feature: "parquet",
        needed_for: format!("reading {path}"),
    })
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
