//! Inspection of the datasets on this machine, and comparison with known digests.

mod own;
mod result;

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

use crate::catalog::entry;
use crate::dataset::{Dataset, Split};
use crate::digest::sha256_file;
use crate::entry::Entry;
use crate::error::{Error, Result};
use crate::options::LoadOptions;
use crate::read::read;

use result::per_class;
pub use result::{Broken, DigestCheck, FileCheck, Inspection, SplitCheck, SplitInfo, Verification};

/// Finds, reads and counts both splits of a dataset. Downloads nothing.
///
/// # Errors
/// As [`load`](crate::load).
pub fn inspect(name: &str, options: &LoadOptions) -> Result<Inspection> {
    if own::is_own(name) {
        return own::inspect(name, options);
    }
    let entry = entry(name)?;
    let splits = Split::ALL.into_iter().map(|split| {
        let found = options.places().find(entry, split)?;
        let set = read(entry, split, &found, options.emnist_as_stored)?;
        let size = |path: PathBuf| {
            let size = fs::metadata(&path).map_err(|e| Error::io(&path, e))?.len();
            Ok((path, size))
        };
        Ok(SplitInfo {
            place: found.place.to_string(),
            format: found.storage.format,
            files: found.files.into_iter().map(size).collect::<Result<_>>()?,
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
/// Of `folder:PATH`, `csv:PATH` and `npz:PATH` every picture is decoded, and those that cannot be are listed.
///
/// # Errors
/// As [`load`](crate::load): damage that the format itself shows.
pub fn verify(name: &str, options: &LoadOptions) -> Result<Verification> {
    if own::is_own(name) {
        return own::verify(name, options);
    }
    let entry = entry(name)?;
    let mut files: Vec<FileCheck> = Vec::new();
    let mut splits = Vec::new();
    for split in Split::ALL {
        let found = options.places().find(entry, split)?;
        for path in &found.files {
            if files.iter().all(|f| f.path != *path) {
                files.push(check_file(entry, path)?);
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

fn check_file(entry: &Entry, path: &Path) -> Result<FileCheck> {
    let sha256 = sha256_file(path)?;
    let published = entry.published.iter().find(|p| p.sha256 == sha256);
    let verdict = match (recorded(path)?, published) {
        (Some((sums, expected)), _) => compare(&expected, &sha256, &sums.display().to_string()),
        (None, Some(p)) => DigestCheck::Same {
            as_in: format!("the published {}", p.name),
        },
        (None, None) => DigestCheck::Unknown,
    };
    Ok(FileCheck {
        path: path.to_path_buf(),
        sha256,
        verdict,
    })
}

fn compare(expected: &str, found: &str, from: &str) -> DigestCheck {
    match expected == found {
        true => DigestCheck::Same { as_in: from.into() },
        false => DigestCheck::Differs {
            from: from.into(),
            expected: expected.into(),
        },
    }
}

/// The digest a `SHA256SUMS` in the file's directory or the one above states for it.
fn recorded(path: &Path) -> Result<Option<(PathBuf, String)>> {
    for dir in path.ancestors().skip(1).take(2) {
        let sums = dir.join("SHA256SUMS");
        let Ok(name) = path.strip_prefix(dir) else {
            continue;
        };
        let text = match fs::read_to_string(&sums) {
            Ok(text) => text,
            Err(e) if e.kind() == std::io::ErrorKind::NotFound => continue,
            Err(e) => return Err(Error::io(sums, e)),
        };
        let lines: BTreeMap<&Path, &str> = text
            .lines()
            .filter_map(|line| line.split_once(' '))
            .map(|(sum, name)| (Path::new(name.trim_start_matches([' ', '*'])), sum))
            .collect();
        if let Some(sum) = lines.get(name) {
            return Ok(Some((sums, sum.to_ascii_lowercase())));
        }
    }
    Ok(None)
}
