//! What can go wrong while finding, reading or batching a dataset.

use std::fmt;
use std::path::{Path, PathBuf};

/// Result with this crate's [`Error`].
pub type Result<T, E = Error> = std::result::Result<T, E>;

/// What can go wrong while finding, reading or batching a dataset.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// No dataset of that name is known.
    #[error("unknown dataset `{name}`; known are: {}", known.join(", "))]
    UnknownDataset {
        /// The name asked for.
        name: String,
        /// The names of [`catalog`](crate::catalog).
        known: Vec<&'static str>,
    },
    /// The dataset is in none of the places looked at.
    #[error(transparent)]
    NotFound(Box<NotFound>),
    /// A file could not be read or written.
    #[error("{}: {source}", path.display())]
    Io {
        /// The file.
        path: PathBuf,
        /// What the system said.
        source: std::io::Error,
    },
    /// A file is not what it should be: truncated, corrupted, of another kind.
    #[error("{}: expected {expected}, found {found}", path.display())]
    Invalid {
        /// The file.
        path: PathBuf,
        /// What should have been there.
        expected: String,
        /// What was there.
        found: String,
    },
    /// A download failed from every source.
    #[error("cannot download `{name}`:{}", list(attempts))]
    Download {
        /// The dataset.
        name: String,
        /// One line for each source tried: its address and why it failed.
        attempts: Vec<String>,
    },
    /// A sample number beyond the end of the dataset.
    #[error("sample {index} of a dataset of {len}")]
    Index {
        /// The number asked for.
        index: usize,
        /// Samples in the dataset.
        len: usize,
    },
    /// An argument that cannot be: zero batch size, labels without a class, pixels that do not fill the shape.
    #[error("{0}")]
    Argument(String),
    /// A transform failed on one sample of a batch.
    #[error("sample {index}: {source}")]
    Sample {
        /// The sample.
        index: usize,
        /// What was wrong.
        source: tallow_transforms::Error,
    },
    /// The images of a batch are not all of one shape after the transforms.
    #[error(
        "sample {index} is {found:?} after the transforms, its batch began with {expected:?}: \
         a batch needs one shape (C, H, W), which a resize or crop to a fixed size gives"
    )]
    Shapes {
        /// The first sample that differs.
        index: usize,
        /// Shape of the first image of the batch.
        expected: (usize, usize, usize),
        /// Shape of this one.
        found: (usize, usize, usize),
    },
    /// The data loader itself failed: the dataset panicked, or a thread could not be started.
    #[error("data loader: {0}")]
    Loader(String),
    /// A transform refused its configuration or an image.
    #[error(transparent)]
    Transform(#[from] tallow_transforms::Error),
    /// candle could not make a tensor.
    #[error(transparent)]
    Candle(#[from] candle_core::Error),
}

/// Where a dataset was looked for in vain, and what would bring it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NotFound {
    /// The dataset.
    pub name: String,
    /// Every place looked at: a description (`TALLOW_DATA`, `user cache`, ...) and what was (not) there.
    pub looked: Vec<Place>,
    /// What would bring it, one suggestion a line.
    pub remedies: Vec<String>,
}

/// One place looked at.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Place {
    /// What kind of place: `given directory`, `TALLOW_DATA`, `user cache`, `system directory`.
    pub kind: &'static str,
    /// The directory, when there is one.
    pub path: Option<PathBuf>,
    /// What was found there.
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
        write!(f, "dataset `{}` is not here. Looked at:", self.name)?;
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

fn list(lines: &[String]) -> String {
    lines.iter().map(|l| format!("\n  {l}")).collect()
}
