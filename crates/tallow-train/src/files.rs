//! Files that are there whole, or not at all.

use std::fs::{self, File};
use std::io::Write;
use std::path::Path;
use std::sync::atomic::{AtomicU64, Ordering};

use crate::{Error, Result};

/// Writes `bytes` to a temporary file beside `path`, syncs it, and renames it to `path`.
pub(crate) fn write_atomic(path: &Path, bytes: &[u8]) -> Result<()> {
    static COUNT: AtomicU64 = AtomicU64::new(0);
    let folder = path.parent().filter(|p| !p.as_os_str().is_empty());
    let folder = folder.unwrap_or(Path::new("."));
    let name = path.file_name().unwrap_or_default().to_string_lossy();
    let count = COUNT.fetch_add(1, Ordering::Relaxed);
    let temporary = folder.join(format!(".{name}.{}-{count}.tmp", std::process::id()));
    let written = File::create(&temporary)
        .and_then(|mut file| file.write_all(bytes).and_then(|()| file.sync_all()))
        .and_then(|()| fs::rename(&temporary, path));
    if written.is_err() {
        // Best effort: the error to report is the one that came first.
        let _ = fs::remove_file(&temporary);
    }
    written.map_err(Error::io(path))?;
    sync_dir(folder)
}

/// Makes a rename in `dir` last through a power cut.
pub(crate) fn sync_dir(dir: &Path) -> Result<()> {
    // Only Unix lets a directory be opened and synced; elsewhere the rename has to do.
    if cfg!(unix) {
        let handle = File::open(dir).map_err(Error::io(dir))?;
        handle.sync_all().map_err(Error::io(dir))?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn replaces_and_leaves_nothing_beside() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("file");
        for text in ["one", "another"] {
            write_atomic(&path, text.as_bytes()).unwrap();
            assert_eq!(fs::read_to_string(&path).unwrap(), text);
        }
        // A directory cannot be replaced by a file.
        let folder = dir.path().join("folder");
        fs::create_dir_all(folder.join("full")).unwrap();
        let message = write_atomic(&folder, b"").unwrap_err().to_string();
        assert!(message.contains("folder"), "{message}");
        assert_eq!(fs::read_dir(dir.path()).unwrap().count(), 2);
    }
}
