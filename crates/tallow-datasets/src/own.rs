//! Datasets of one's own, whose names contain a path.

use std::path::Path;
use std::sync::Arc;

use crate::dataset::{Dataset, Split};
use crate::error::{Error, Result};
use crate::load::load;
use crate::options::LoadOptions;

/// Beginnings of their names.
const KINDS: [&str; 4] = ["folder:", "csv:", "npz:", "parquet:"];

/// Path in the name of a dataset of one's own: `PATH` of `folder:PATH`, `csv:PATH`, `npz:PATH` or `parquet:PATH`. `None` for other names.
///
/// ```
/// use std::path::Path;
/// use tallow_datasets::own_path;
///
/// assert_eq!(own_path("folder:letters"), Some(Path::new("letters")));
/// assert_eq!(own_path("mnist"), None);
/// ```
pub fn own_path(name: &str) -> Option<&Path> {
    let path = KINDS.iter().find_map(|kind| name.strip_prefix(kind));
    path.map(Path::new)
}

/// Training and test split of a dataset of one's own, of which there may be one alone.
pub(crate) fn own_splits(
    name: &str,
    options: &LoadOptions,
) -> Result<Vec<(Split, Arc<dyn Dataset>)>> {
    let train = load(name, Split::Train, options);
    let test = load(name, Split::Test, options);
    match (train, test) {
        (Ok(train), Ok(test)) => Ok(vec![(Split::Train, train), (Split::Test, test)]),
        (Ok(train), Err(error)) if lacks(name, &error) => Ok(vec![(Split::Train, train)]),
        (Err(error), Ok(test)) if lacks(name, &error) => Ok(vec![(Split::Test, test)]),
        (Err(error), _) | (_, Err(error)) => Err(error),
    }
}

/// Whether the error is that of a split that is not there: it is about the folder or the archive, not about something in it.
fn lacks(name: &str, error: &Error) -> bool {
    let root = own_path(name);
    matches!(error, Error::Invalid { path, .. } if root == Some(path.as_path()))
}
