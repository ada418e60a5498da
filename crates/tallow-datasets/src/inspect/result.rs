//! Results of inspecting a dataset.

use std::path::PathBuf;

use serde::Serialize;

use crate::dataset::{Dataset, DatasetInfo, Split};
use crate::error::Result;
use crate::storage::Format;

/// Dataset as found on this machine.
#[derive(Debug, Clone, Serialize)]
pub struct Inspection {
    /// Name in the catalog, or with the path as [`load`](crate::load) takes it.
    pub name: String,
    /// The splits that there are.
    pub splits: Vec<SplitInfo>,
}

/// Split as found on this machine.
#[derive(Debug, Clone, Serialize)]
pub struct SplitInfo {
    /// Name, provenance, digest, classes.
    pub info: DatasetInfo,
    /// Kind of place: `given directory`, `TALLOW_DATA`, `user cache`, `system directory`, `embedded`.
    pub place: String,
    /// Format of the files.
    pub format: Format,
    /// The files read, with their sizes in bytes.
    pub files: Vec<(PathBuf, u64)>,
    /// Number of images.
    pub len: usize,
    /// Number of channels of every image.
    pub channels: usize,
    /// Least and greatest height of an image.
    pub heights: (usize, usize),
    /// Least and greatest width of an image.
    pub widths: (usize, usize),
    /// Number of images of each class.
    pub per_class: Vec<usize>,
}

/// Result of [`verify`](crate::verify).
#[derive(Debug, Clone, Serialize)]
pub struct Verification {
    /// Name in the catalog, or with the path as [`load`](crate::load) takes it.
    pub name: String,
    /// Every file that is read, once.
    pub files: Vec<FileCheck>,
    /// The decoded contents of the splits.
    pub splits: Vec<SplitCheck>,
    /// Pictures of a folder or list that cannot be decoded.
    pub broken: Vec<Broken>,
}

/// Picture that cannot be decoded.
#[derive(Debug, Clone, Serialize)]
pub struct Broken {
    /// Split that it is in.
    pub split: Split,
    /// Message that names the file and what is wrong with it.
    pub message: String,
}

/// File compared with its known digest.
#[derive(Debug, Clone, Serialize)]
pub struct FileCheck {
    /// The file.
    pub path: PathBuf,
    /// Hex SHA-256 of its bytes as they are.
    pub sha256: String,
    /// Result of the comparison.
    pub verdict: DigestCheck,
}

/// Decoded images and labels of a split compared with the published ones.
#[derive(Debug, Clone, Serialize)]
pub struct SplitCheck {
    /// Name, provenance, digest, classes.
    pub info: DatasetInfo,
    /// Number of images.
    pub len: usize,
    /// Result of the comparison.
    pub verdict: DigestCheck,
}

/// Result of a comparison of digests.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case", tag = "verdict")]
pub enum DigestCheck {
    /// Equal to the expected digest.
    Same {
        /// Origin of the expected digest: the path of a `SHA256SUMS`, or the published file.
        as_in: String,
    },
    /// Different from the expected digest.
    Differs {
        /// Origin of the expected digest.
        from: String,
        /// The expected digest.
        expected: String,
    },
    /// No digest is known to compare with.
    Unknown,
}

impl Verification {
    /// True when nothing differs from a known digest and every picture can be decoded.
    pub fn is_sound(&self) -> bool {
        if !self.broken.is_empty() {
            return false;
        }
        let mut verdicts = self
            .files
            .iter()
            .map(|f| &f.verdict)
            .chain(self.splits.iter().map(|s| &s.verdict));
        !verdicts.any(|v| matches!(v, DigestCheck::Differs { .. }))
    }
}

/// Number of images of each class.
pub(super) fn per_class(set: &dyn Dataset) -> Result<Vec<usize>> {
    let mut counts = vec![0; set.info().classes.len()];
    for index in 0..set.len() {
        if let Some(count) = counts.get_mut(set.label(index)? as usize) {
            *count += 1;
        }
    }
    Ok(counts)
}
