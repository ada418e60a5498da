//! Log of a process of several in a file of its own, for `--rank-logs`.

use std::fs::{self, File, OpenOptions};
use std::io::Write;
use std::path::Path;
use std::sync::{Mutex, PoisonError};

use anyhow::{Context, Result};

/// `None` where no log was asked for, or after a write failed.
static LOG: Mutex<Option<File>> = Mutex::new(None);

/// Appends what this process prints on standard error and its log to `rank-N.log` in this folder, from now on.
pub fn open(folder: &Path, rank: usize) -> Result<()> {
    fs::create_dir_all(folder)
        .with_context(|| format!("--rank-logs: cannot create the folder {}", folder.display()))?;
    let path = folder.join(format!("rank-{rank}.log"));
    let file = OpenOptions::new().create(true).append(true).open(&path);
    let file = file.with_context(|| format!("--rank-logs: cannot write {}", path.display()))?;
    *LOG.lock().unwrap_or_else(PoisonError::into_inner) = Some(file);
    Ok(())
}

/// Writes text, which ends with a line break, in one call. A full disk ends the log and not the training.
pub fn write(text: &[u8]) {
    let mut log = LOG.lock().unwrap_or_else(PoisonError::into_inner);
    if log
        .as_mut()
        .is_some_and(|file| file.write_all(text).is_err())
    {
        *log = None;
    }
}
