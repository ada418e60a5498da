//! From a name to a dataset.

use std::fs::File;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use zip::ZipArchive;

use crate::catalog::{Cifar, Entry, Files, Format, catalog, entry};
use crate::cifar;
use crate::dataset::{Dataset, ImageSet, Split};
use crate::error::{Error, Result};
use crate::folder::ImageFolder;
use crate::idx;
use crate::parquet_file::{self, Encoding};
use crate::places::{Found, Places};
use crate::source::{Source, sha256_file};

/// How far a download is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Progress {
    /// The file being fetched.
    pub file: String,
    /// Bytes so far.
    pub done: u64,
    /// Bytes in all, when the sender says.
    pub total: Option<u64>,
}

/// Called now and then while something is fetched, from any thread.
pub type ProgressFn = Arc<dyn Fn(Progress) + Send + Sync>;

/// Where to look for a dataset and whether to fetch it.
#[derive(Clone, Default)]
pub struct LoadOptions {
    /// Looked at first: a directory that holds the dataset's folder, or that folder itself.
    pub data_dir: Option<PathBuf>,
    /// Fetch what is found nowhere. Off by default: nothing goes over the network unasked.
    pub download: bool,
    /// Told how a download goes on.
    pub progress: Option<ProgressFn>,
    /// Instead of the platform's cache directory for Tallow.
    pub cache_dir: Option<PathBuf>,
    /// Leave EMNIST images transposed, as they are stored and as torchvision gives them. By default they
    /// are turned upright, so that they look like MNIST.
    pub emnist_as_stored: bool,
}

impl LoadOptions {
    pub(crate) fn places(&self) -> Places {
        Places::new(self.data_dir.as_deref(), self.cache_dir.as_deref())
    }
}

/// Loads a split of a dataset of the [`catalog`](crate::catalog) into memory, or opens `folder:PATH`, an
/// [`ImageFolder`] in the subfolder `train`, or `test`, `val`, `valid` or `validation`, of `PATH`.
///
/// Looked at in this order: [`LoadOptions::data_dir`], the environment variable `TALLOW_DATA` (a directory
/// with a folder for each dataset), the user cache, `/usr/share/datasets`; then, if
/// [`LoadOptions::download`] says so, the dataset is fetched into the user cache.
///
/// # Errors
/// [`Error::NotFound`] names every place looked at. A file that is damaged or of another kind is an
/// [`Error::Invalid`]; the search does not go on past it.
pub fn load(name: &str, split: Split, options: &LoadOptions) -> Result<Arc<dyn Dataset>> {
    if let Some(root) = name.strip_prefix("folder:") {
        return Ok(Arc::new(ImageFolder::open(
            split_folder(Path::new(root), split)?,
            split,
        )?));
    }
    let entry = entry(name)?;
    let found = match options.places().find(entry, split) {
        Err(Error::NotFound(not_found)) if options.download => {
            crate::fetch::fetch_missing(entry, options, *not_found)?;
            options.places().find(entry, split)?
        }
        found => found?,
    };
    Ok(Arc::new(read(
        entry,
        split,
        &found,
        options.emnist_as_stored,
    )?))
}

fn split_folder(root: &Path, split: Split) -> Result<PathBuf> {
    let names: &[&str] = match split {
        Split::Train => &["train"],
        Split::Test => &["test", "val", "valid", "validation"],
    };
    names
        .iter()
        .map(|n| root.join(n))
        .find(|p| p.is_dir())
        .ok_or_else(|| {
            Error::invalid(
                root,
                format!("a subfolder called {}", names.join(" or ")),
                "none",
            )
        })
}

/// Reads and checks a split from the files found.
pub(crate) fn read(
    entry: &'static Entry,
    split: Split,
    found: &Found,
    emnist_as_stored: bool,
) -> Result<ImageSet> {
    tracing::debug!(name = entry.name, %split, dir = %found.dir.display(), "reading dataset");
    let mut lossy = None;
    let (pixels, labels) = match (&entry.files, found.format) {
        #[cfg(feature = "sample")]
        (_, Format::Embedded) => crate::sample::read(entry, split)?,
        (_, Format::Parquet) => {
            let most = entry.len(split);
            let columns = label_columns(&entry.files);
            let classes = entry.classes.len();
            let contents = parquet_file::read(&found.files, entry.shape, columns, classes, most)?;
            if let Encoding::Lossy(quality) = contents.encoding {
                lossy = Some(quality.map_or("lossy".to_string(), |q| format!("jpeg-q{q}")));
            }
            (contents.pixels, contents.labels)
        }
        (Files::Cifar(kind), _) => match &found.files[..] {
            [path] if found.archive() => {
                cifar::read_archive(*kind, split, entry.classes.len(), path)?
            }
            paths => cifar::read_bins(*kind, split, entry.classes.len(), paths)?,
        },
        (_, Format::IdxZip) => read_zip(entry, split, &found.files[0])?,
        _ => {
            let images = Source::open(&found.files[0])?;
            let labels = Source::open(&found.files[1])?;
            read_idx(entry, split, images, labels)?
        }
    };
    let (pixels, labels) = match entry.files {
        Files::Emnist(_) if !emnist_as_stored => (upright(pixels, entry.shape), labels),
        _ => (pixels, labels),
    };
    let (name, format) = (entry.name, found.format.as_str());
    let provenance = |digest: &str| {
        if found.format == Format::Embedded {
            return Ok(format!("{name} ({format})"));
        }
        if let Some(lossy) = lossy {
            return Ok(format!("{name} {lossy} ({format})"));
        }
        refuse_other(entry, split, &found.dir, digest)?;
        let original = match entry.digest(split) {
            Some(published) => digest == published,
            None => all_published(entry, &found.files)?,
        };
        let state = if original { "original" } else { "unverified" };
        Ok(format!("{name} ({format}, {state})"))
    };
    let classes = entry.class_names();
    ImageSet::described(
        name.into(),
        split,
        classes,
        entry.shape,
        pixels,
        labels,
        provenance,
    )
}

impl Found {
    fn archive(&self) -> bool {
        self.files[0].extension().is_some_and(|e| e == "gz")
    }
}

fn label_columns(files: &Files) -> &'static [&'static str] {
    match files {
        Files::Cifar(Cifar::HundredFine) => &["fine_label"],
        Files::Cifar(Cifar::HundredCoarse) => &["coarse_label"],
        _ => &["label"],
    }
}

pub(crate) fn read_idx(
    entry: &Entry,
    split: Split,
    images: Source,
    labels: Source,
) -> Result<(Vec<u8>, Vec<u32>)> {
    let most = entry.len(split);
    let (_, height, width) = entry.shape;
    let (n, pixels) = idx::images(images, (height, width), most)?;
    let path = labels.path().to_path_buf();
    let bytes = idx::labels(labels, most)?;
    // EMNIST letters are numbered from 1.
    let first = matches!(entry.files, Files::Emnist("letters")) as u8;
    let labels = idx::classes(&path, &bytes, n, first, entry.classes.len())?;
    Ok((pixels, labels))
}

/// EMNIST's IDX files inside `gzip.zip`.
fn read_zip(entry: &Entry, split: Split, path: &Path) -> Result<(Vec<u8>, Vec<u32>)> {
    let names = entry
        .idx_names(split)
        .unwrap_or_default()
        .map(|n| format!("gzip/{n}.gz"));
    let open = || {
        let file = File::open(path).map_err(|e| Error::io(path, e))?;
        ZipArchive::new(file).map_err(|e| Error::invalid(path, "EMNIST's gzip.zip", e.to_string()))
    };
    let absent = |name: &str| Error::invalid(path, format!("an archive with {name}"), "none");
    let stored = path.metadata().map_err(|e| Error::io(path, e))?.len();
    // Two handles, as an archive lends one file at a time.
    let (mut first, mut second) = (open()?, open()?);
    let images = first.by_name(&names[0]).map_err(|_| absent(&names[0]))?;
    let labels = second.by_name(&names[1]).map_err(|_| absent(&names[1]))?;
    let (size, label_size) = (images.size().min(stored), labels.size().min(stored));
    let images = Source::new(path.join(&names[0]), images, size)?;
    let labels = Source::new(path.join(&names[1]), labels, label_size)?;
    read_idx(entry, split, images, labels)
}

/// Swaps rows and columns of every image of one channel.
fn upright(mut pixels: Vec<u8>, (_, height, width): (usize, usize, usize)) -> Vec<u8> {
    debug_assert_eq!(height, width);
    for image in pixels.chunks_exact_mut(height * width) {
        for y in 0..height {
            for x in y + 1..width {
                image.swap(y * width + x, x * height + y);
            }
        }
    }
    pixels
}

/// Whether every file is byte for byte one that was published.
fn all_published(entry: &Entry, files: &[PathBuf]) -> Result<bool> {
    for path in files {
        let size = path.metadata().map_err(|e| Error::io(path, e))?.len();
        let same_size: Vec<_> = entry.published.iter().filter(|p| p.size == size).collect();
        if same_size.is_empty() {
            return Ok(false);
        }
        let sha256 = sha256_file(path)?;
        if same_size.iter().all(|p| p.sha256 != sha256) {
            return Ok(false);
        }
    }
    Ok(true)
}

/// MNIST, Fashion-MNIST and KMNIST call their files the same: none must pass for another, nor the test split
/// for the training split.
fn refuse_other(entry: &Entry, split: Split, dir: &Path, digest: &str) -> Result<()> {
    for other in catalog() {
        for s in Split::ALL {
            if other.digest(s) == Some(digest) && (other.name, s) != (entry.name, split) {
                return Err(Error::invalid(
                    dir,
                    format!("the {split} split of {}", entry.name),
                    format!("the {s} split of {}", other.name),
                ));
            }
        }
    }
    Ok(())
}
