//! Reading of a split from the files that were found.

use std::path::{Path, PathBuf};

use crate::catalog::catalog;
use crate::dataset::{ImageSet, Split};
use crate::digest::sha256_file;
use crate::entry::Entry;
use crate::error::{Error, Result};
use crate::places::Found;
use crate::storage::{Contents, Encoding, Format, Reading};

/// Reads and checks a split.
pub(crate) fn read(
    entry: &'static Entry,
    split: Split,
    found: &Found,
    emnist_as_stored: bool,
) -> Result<ImageSet> {
    tracing::debug!(name = entry.name, %split, dir = %found.dir.display(), "reading dataset");
    let Contents {
        mut pixels,
        labels,
        encoding,
    } = (found.storage.read)(&Reading {
        split,
        files: &found.files,
        members: found.storage.members(split),
        shape: entry.shape,
        classes: entry.classes.len(),
        most: entry.len(split),
        labels: entry.labels,
    })?;
    if entry.transposed && !emnist_as_stored {
        pixels = upright(pixels, entry.shape);
    }
    let (name, format) = (entry.name, found.storage.format);
    let provenance = |digest: &str| {
        let stored = format.as_str();
        if format == Format::Embedded {
            return Ok(format!("{name} ({stored})"));
        }
        if let Encoding::Lossy(quality) = encoding {
            let lossy = quality.map_or("lossy".to_string(), |q| format!("jpeg-q{q}"));
            return Ok(format!("{name} {lossy} ({stored})"));
        }
        refuse_other(entry, split, &found.dir, digest)?;
        let original = match entry.digest(split) {
            Some(published) => digest == published,
            None => all_published(entry, &found.files)?,
        };
        let state = if original { "original" } else { "unverified" };
        Ok(format!("{name} ({stored}, {state})"))
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

/// Refuses the contents of another dataset or split: MNIST, Fashion-MNIST and KMNIST have the same file names.
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
