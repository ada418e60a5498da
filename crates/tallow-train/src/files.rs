//! Files that are written whole or not at all.

use std::path::Path;

use crate::error::{Error, Result};

/// Writes `bytes` to `path` atomically, see [`tallow_record::write_atomic`].
pub(crate) fn write_atomic(path: &Path, bytes: &[u8]) -> Result<()> {
    Ok(tallow_record::write_atomic(path, bytes)?)
}

/// Syncs a folder, so that a rename in it survives a power failure.
pub(crate) fn sync_dir(dir: &Path) -> Result<()> {
    Ok(tallow_record::sync_dir(dir)?)
}

impl From<tallow_record::Error> for Error {
    fn from(error: tallow_record::Error) -> Self {
        match error {
            tallow_record::Error::Io { path, source } => Error::Io { path, source },
            tallow_record::Error::Missing { path } => Error::Io {
                path,
                source: std::io::ErrorKind::NotFound.into(),
            },
            tallow_record::Error::Json {
                path,
                line,
                message,
            } => Error::Mismatch {
                path,
                message: format!("line {line}: {message}"),
            },
            other => Error::Mismatch {
                path: "run record".into(),
                message: other.to_string(),
            },
        }
    }
}
