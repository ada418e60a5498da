//! Bringing a missing dataset into the user cache.

use std::path::PathBuf;

use crate::catalog::{Entry, entry};
use crate::dataset::Split;
use crate::error::{Error, NotFound, Place, Result};
use crate::load::LoadOptions;

/// Where a dataset is after [`fetch`].
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Fetched {
    /// Its directory; empty for an embedded dataset.
    pub dir: PathBuf,
    /// Whether it was downloaded just now, rather than found.
    pub downloaded: bool,
}

/// Makes sure both splits of a dataset are on this machine: downloads them into the user cache unless they
/// are found in one of the places of [`load`](crate::load). [`LoadOptions::download`] is taken as set.
///
/// The Hugging Face hub is asked first (at `HF_ENDPOINT`, where that is set; files in its own cache are taken
/// from there), then the original hosts. Every file is compared with the SHA-256 known for it, then decoded
/// once, and only then moved into place: a broken or interrupted download leaves nothing a later run could
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

/// The directory that holds a dataset on this machine; empty for an embedded one. Its files are looked for in
/// the places of [`load`](crate::load), not read. [`Error::NotFound`] when they are nowhere: nothing is fetched.
pub fn locate(name: &str, options: &LoadOptions) -> Result<PathBuf> {
    let entry = entry(name)?;
    let places = options.places();
    places.find(entry, Split::Train)?;
    Ok(places.find(entry, Split::Test)?.dir)
}

/// Downloads `entry`; `not_found` is what the search said and becomes the error when that fails.
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

/// The directory, or why each source failed.
type Outcome = Result<std::result::Result<PathBuf, Vec<String>>>;

#[cfg(not(feature = "download"))]
fn download(_: &'static Entry, _: &LoadOptions) -> Outcome {
    Ok(Err(vec![
        "this program was built without the feature `download`".into(),
    ]))
}

#[cfg(feature = "download")]
fn download(entry: &'static Entry, options: &LoadOptions) -> Outcome {
    // On a thread of its own: the blocking HTTP client must not run on a thread of an async runtime.
    std::thread::scope(|scope| {
        let network = crate::download::Network::from_env();
        let thread = scope.spawn(move || crate::download::download(entry, options, &network));
        thread
            .join()
            .unwrap_or_else(|panic| std::panic::resume_unwind(panic))
    })
}
