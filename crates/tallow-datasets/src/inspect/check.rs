//! Comparison of files with known digests.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

use super::result::{DigestCheck, FileCheck};
use crate::digest::sha256_file;
use crate::entry::Published;
use crate::error::{Error, Result};

/// File with its size in bytes.
pub(super) fn with_size(path: PathBuf) -> Result<(PathBuf, u64)> {
    let size = fs::metadata(&path).map_err(|e| Error::io(&path, e))?.len();
    Ok((path, size))
}

/// Compares a file with its recorded digest, or with those of files as they were published.
pub(super) fn check_file(published: &[Published], path: &Path) -> Result<FileCheck> {
    let sha256 = sha256_file(path)?;
    let published = published.iter().find(|p| p.sha256 == sha256);
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

pub(super) fn compare(expected: &str, found: &str, from: &str) -> DigestCheck {
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
