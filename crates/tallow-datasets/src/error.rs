//! Errors.

use std::fmt;
use std::path::{Path, PathBuf};

/// Result with this crate's [`Error`].
pub type Result<T, E = Error> = std::result::Result<T, E>;

/// Error of finding, reading or batching a dataset.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// Unknown dataset name.
    #[error("unknown dataset `{name}`: expected folder:PATH, csv:PATH, npz:PATH, parquet:PATH or one of {}", known.join(", "))]
    UnknownDataset {
        /// Name that was asked for.
        name: String,
        /// Names of the [`catalog`](crate::catalog).
        known: Vec<&'static str>,
    },
    /// The dataset is in none of the places searched.
    #[error(transparent)]
    NotFound(Box<NotFound>),
    /// A file could not be read or written.
    #[error("{}: {source}", path.display())]
    Io {
        /// Path of the file.
        path: PathBuf,
        /// Error of the operating system.
        source: std::io::Error,
    },
    /// A file is truncated, corrupted, or of another kind than expected.
    #[error("{}: expected {expected}, found {found}", path.display())]
    Invalid {
        /// Path of the file.
        path: PathBuf,
        /// Expected contents.
        expected: String,
        /// Contents found.
        found: String,
    },
    /// A picture file is damaged, too large, or no picture.
    #[cfg(feature = "pictures")]
    #[error("{}: {source}", path.display())]
    Picture {
        /// Path of the file.
        path: PathBuf,
        /// Reason.
        source: crate::picture::error::PictureError,
    },
    /// A picture in a table is damaged, too large, or no picture.
    #[cfg(feature = "pictures")]
    #[error("{}: the picture in row {row} {source}", path.display())]
    Row {
        /// Path of the file.
        path: PathBuf,
        /// Row of the file, counted from 0.
        row: u64,
        /// Reason.
        source: crate::picture::error::PictureError,
    },
    /// A download failed from every source.
    #[error("cannot download `{name}`:{}", list(attempts))]
    Download {
        /// Name of the dataset, or `hf:owner/name/file`.
        name: String,
        /// One line for each source tried: its address and the reason of the failure.
        attempts: Vec<String>,
    },
    /// This build leaves out a feature of the crate that is needed.
    #[error(
        "{needed_for} needs the feature `{feature}` of tallow-datasets, which this program was built without"
    )]
    Feature {
        /// Name of the feature.
        feature: &'static str,
        /// Operation that needs it.
        needed_for: String,
    },
    /// A sample index beyond the end of the dataset.
    #[error("no sample {index}: the dataset has {len}, counted from 0")]
    Index {
        /// Index that was asked for.
        index: usize,
        /// Number of samples in the dataset.
        len: usize,
    },
    /// Invalid argument: zero batch size, labels without a class, pixels that do not fill the shape.
    #[error("{0}")]
    Argument(String),
    /// A transform failed on one sample of a batch.
    #[error("{}: {source}", sample(*index, name.as_deref()))]
    Sample {
        /// Index of the sample.
        index: usize,
        /// Name of the sample, where [`Dataset::name`](crate::Dataset::name) gives one.
        name: Option<String>,
        /// Error of the transform.
        source: tallow_transforms::Error,
    },
    /// The images of a batch are not all of one shape after the transforms.
    #[error(
        "{} is {found:?} after the transforms, the first of its batch {expected:?}: all images of a batch \
         need one shape (C, H, W); add a resize or crop to a fixed size",
        sample(*index, name.as_deref())
    )]
    Shapes {
        /// Index of the first sample that differs.
        index: usize,
        /// Name of that sample, where [`Dataset::name`](crate::Dataset::name) gives one.
        name: Option<String>,
        /// Shape of the first image of the batch.
        expected: (usize, usize, usize),
        /// Shape of this one.
        found: (usize, usize, usize),
    },
    /// The data loader itself failed: the dataset panicked, or a thread could not be started.
    #[error("data loader: {0}")]
    Loader(String),
    /// Error of a transform's configuration or input.
    #[error(transparent)]
    Transform(#[from] tallow_transforms::Error),
    /// Error of candle while making a tensor.
    #[error(transparent)]
    Candle(#[from] candle_core::Error),
}

/// Places that were searched for a dataset in vain, and ways to get it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NotFound {
    /// Name of the dataset.
    pub name: String,
    /// Every place searched, in order.
    pub looked: Vec<Place>,
    /// Ways to get the dataset, one per line.
    pub remedies: Vec<String>,
}

/// Place that was searched.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Place {
    /// Kind of place: `given directory`, `TALLOW_DATA`, `user cache`, `system directory`.
    pub kind: &'static str,
    /// Directory, if the place is one.
    pub path: Option<PathBuf>,
    /// Description of what was found there.
    pub finding: String,
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.path {
            Some(path) => write!(f, "{}: {} ({})", self.kind, path.display(), self.finding),
            None => write!(f, "{}: {}", self.kind, self.finding),
        }
    }
}

impl fmt::Display for NotFound {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "dataset `{}` was not found. Places searched:", self.name)?;
        for place in &self.looked {
            write!(f, "\n  {place}")?;
        }
        if !self.remedies.is_empty() {
            write!(f, "\nTo get it:{}", list(&self.remedies))?;
        }
        Ok(())
    }
}

impl std::error::Error for NotFound {}

impl Error {
    pub(crate) fn io(path: impl AsRef<Path>, source: std::io::Error) -> Self {
        Error::Io {
            path: path.as_ref().to_path_buf(),
            source,
        }
    }

    pub(crate) fn invalid(
        path: impl AsRef<Path>,
        expected: impl Into<String>,
        found: impl Into<String>,
    ) -> Self {
        Error::Invalid {
            path: path.as_ref().to_path_buf(),
            expected: expected.into(),
            found: found.into(),
        }
    }
}

fn sample(index: usize, name: Option<&str>) -> String {
    match name {
        Some(name) => format!("sample {index} ({name})"),
        None => format!("sample {index}"),
    }
}

fn list(lines: &[String]) -> String {
    lines.iter().map(|l| format!("\n  {l}")).collect()
}
