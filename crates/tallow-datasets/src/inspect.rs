//! Inspection of the datasets on this machine, and comparison with known digests.

mod check;
mod own;
mod result;

use crate::catalog::entry;
use crate::dataset::{Dataset, Split};
use crate::error::Result;
use crate::options::LoadOptions;
use crate::own::own_path;
use crate::read::read;

use check::{check_file, compare, with_size};
use result::per_class;
pub use result::{Broken, DigestCheck, FileCheck, Inspection, SplitCheck, SplitInfo, Verification};

/// Finds, reads and counts both splits of a dataset. Downloads nothing.
///
/// # Errors
/// As [`load`](crate::load).
pub fn inspect(name: &str, options: &LoadOptions) -> Result<Inspection> {
    if own_path(name).is_some() {
        return own::inspect(name, options);
    }
    let entry = entry(name)?;
    let splits = Split::ALL.into_iter().map(|split| {
        let found = options.places().find(entry, split)?;
        let set = read(entry, split, &found, options.emnist_as_stored)?;
        Ok(SplitInfo {
            place: found.place.to_string(),
            format: found.storage.format,
            files: found
                .files
                .into_iter()
                .map(with_size)
                .collect::<Result<_>>()?,
            len: set.len(),
            channels: entry.shape.0,
            heights: (entry.shape.1, entry.shape.1),
            widths: (entry.shape.2, entry.shape.2),
            per_class: per_class(&set)?,
            info: set.info().clone(),
        })
    });
    Ok(Inspection {
        name: name.to_string(),
        splits: splits.collect::<Result<_>>()?,
    })
}

/// Reads every file of a dataset again and compares digests: files with a `SHA256SUMS` in their directory or the one
/// above (every download writes one) and with the published files, decoded splits with the published splits.
/// A file that was compressed again differs from the published file without being wrong: its verdict is
/// [`DigestCheck::Unknown`].
///
/// Of `folder:PATH`, `csv:PATH`, `npz:PATH` and `parquet:PATH` every picture is decoded, and those that cannot be are listed.
///
/// # Errors
/// As [`load`](crate::load): damage that the format itself shows.
pub fn verify(name: &str, options: &LoadOptions) -> Result<Verification> {
    if own_path(name).is_some() {
        return own::verify(name, options);
    }
    let entry = entry(name)?;
    let mut files: Vec<FileCheck> = Vec::new();
    let mut splits = Vec::new();
    for split in Split::ALL {
        let found = options.places().find(entry, split)?;
        for path in &found.files {
            if files.iter().all(|f| f.path != *path) {
                files.push(check_file(entry.published, path)?);
            }
        }
        let set = read(entry, split, &found, false)?;
        let digest = set.info().digest.clone();
        let verdict = match entry.digest(split) {
            Some(known) => compare(known, &digest, "the published images and labels"),
            None => DigestCheck::Unknown,
        };
        splits.push(SplitCheck {
            info: set.info().clone(),
            len: set.len(),
            verdict,
        });
    }
    Ok(Verification {
        name: name.to_string(),
        files,
        splits,
        broken: Vec::new(),
    })
}
