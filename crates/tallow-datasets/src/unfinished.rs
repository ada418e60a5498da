//! Places for what is written: free ones, and a folder that is removed where the work fails.

use std::fs;
use std::path::{Path, PathBuf};

use crate::error::{Error, Result};

/// Refuses a folder in which there is something.
pub(crate) fn check_free(dir: &Path) -> Result<()> {
    let refuse = |found: &str| {
        Err(Error::Argument(format!(
            "{}: expected a folder that is empty or does not exist yet, found {found}; name another one",
            dir.display()
        )))
    };
    match fs::read_dir(dir).map(|mut entries| entries.next()) {
        Ok(Some(_)) => refuse("one with files in it"),
        Err(_) if dir.exists() => refuse("a file"),
        _ => Ok(()),
    }
}

/// Folder beside the destination that is removed unless it is finished.
pub(crate) struct Unfinished(PathBuf);

impl Unfinished {
    pub fn new(destination: &Path) -> Result<Self> {
        let Some(name) = destination.file_name() else {
            return Err(Error::Argument(format!(
                "{}: expected the name of a new file or folder",
                destination.display()
            )));
        };
        let mut hidden = std::ffi::OsString::from(".");
        hidden.push(name);
        hidden.push(format!(".{}.unfinished", std::process::id()));
        let path = destination.with_file_name(hidden);
        fs::create_dir_all(&path).map_err(|e| Error::io(&path, e))?;
        Ok(Self(path))
    }

    /// The folder.
    pub fn path(&self) -> &Path {
        &self.0
    }

    /// Gives the folder the name `dir`.
    pub fn finish(self, dir: &Path) -> Result<()> {
        // An empty folder in its place cannot be replaced everywhere.
        if dir.is_dir() {
            fs::remove_dir(dir).map_err(|e| Error::io(dir, e))?;
        }
        fs::rename(&self.0, dir).map_err(|e| Error::io(dir, e))
    }
}

impl Drop for Unfinished {
    fn drop(&mut self) {
        // Not there any more if it is finished; an error has no one to go to.
        let _ = fs::remove_dir_all(&self.0);
    }
}
