//! Search for a dataset on this machine, and its download into the user cache.

use std::path::PathBuf;

use crate::catalog::entry;
use crate::dataset::Split;
use crate::entry::Entry;
use crate::error::{Error, NotFound, Place, Result};
use crate::options::LoadOptions;

/// Result of [`fetch`].
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Fetched {
    /// Directory of the dataset; empty for an embedded one.
    pub dir: PathBuf,
    /// True when it was downloaded now, false when it was found.
    pub downloaded: bool,
}

/// Downloads both splits of a dataset into the user cache, unless they are in one of the places of [`load`](crate::load).
/// [`LoadOptions::download`] counts as set.
///
/// The first source is the Hugging Face hub (at `HF_ENDPOINT`, if set; files in the hub's cache are taken from there; `HF_TOKEN` is
/// sent to it), then the original hosts. Every file is compared with the SHA-256 known for it, then decoded
/// once, and only then moved into place: a broken or interrupted download leaves nothing that a later run could
/// read. `SHA256SUMS` beside the files lets [`verify`](crate::verify) find damage later.
///
/// # Errors
/// [`Error::NotFound`] with the failure of every source, when none has it. [`Error::Io`] when the cache
/// cannot be written.
pub fn fetch(name: &str, options: &LoadOptions) -> Result<Fetched> {
    match locate(name, options) {
        Ok(dir) => Ok(Fetched {
            dir,
            downloaded: false,
        }),
        Err(Error::NotFound(not_found)) => {
            let dir = fetch_missing(entry(name)?, options, *not_found)?;
            Ok(Fetched {
                dir,
                downloaded: true,
            })
        }
        Err(error) => Err(error),
    }
}

/// Directory of a dataset on this machine; empty for an embedded one. Searches the places of [`load`](crate::load), reads no file
/// and downloads nothing.
///
/// # Errors
/// [`Error::NotFound`] names every place searched.
pub fn locate(name: &str, options: &LoadOptions) -> Result<PathBuf> {
    let entry = entry(name)?;
    let places = options.places();
    places.find(entry, Split::Train)?;
    Ok(places.find(entry, Split::Test)?.dir)
}

/// Downloads `entry`. When that fails, its failures are added to `not_found`, the error of the search.
pub(crate) fn fetch_missing(
    entry: &'static Entry,
    options: &LoadOptions,
    mut not_found: NotFound,
) -> Result<PathBuf> {
    let failures = match download(entry, options) {
        Ok(Ok(dir)) => return Ok(dir),
        Ok(Err(failures)) => failures,
        Err(error) => return Err(error),
    };
    let place = |finding| Place {
        kind: "download",
        path: None,
        finding,
    };
    not_found.looked.extend(failures.into_iter().map(place));
    Err(Error::NotFound(Box::new(not_found)))
}

/// Directory, or the failure of each source.
type Outcome = Result<std::result::Result<PathBuf, Vec<String>>>;

#[cfg(not(feature = "download"))]
fn download(_: &'static Entry, _: &LoadOptions) -> Outcome {
    Ok(Err(vec![
        "this program was built without the feature `download` of tallow-datasets".into(),
    ]))
}

#[cfg(feature = "download")]
fn download(entry: &'static Entry, options: &LoadOptions) -> Outcome {
    crate::download::download(entry, options, &crate::hub::Hub::from_env())
}
