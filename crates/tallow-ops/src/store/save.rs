//! Files of a store's weights.

use std::io::{self, Write};
use std::path::Path;

use candle_core::Device;

use super::ParamStore;
use crate::error::{Error, Result};

impl ParamStore {
    /// Writes all parameters and buffers to a safetensors file. Equal values give equal bytes.
    ///
    /// The file is written to a temporary name in the same folder, synced and renamed, so that `path` is never incomplete.
    ///
    /// # Errors
    /// [`Error::Io`] if the file cannot be written; [`Error::Uninitialized`] as in [`state_dict`](Self::state_dict).
    pub fn save(&self, path: impl AsRef<Path>) -> Result<()> {
        let path = path.as_ref();
        self.check_initialized()?;
        let tensors = self
            .entries()
            .iter()
            .map(|e| {
                Ok((
                    e.name.clone(),
                    e.var.as_detached_tensor().to_device(&Device::Cpu)?,
                ))
            })
            .collect::<Result<Vec<_>>>()?;
        // No metadata: safetensors would write it in hash order.
        let bytes = safetensors::serialize(tensors, None).map_err(|e| Error::weights(path, e))?;
        write_atomically(path, &bytes).map_err(|source| Error::Io {
            path: path.into(),
            source,
        })
    }
}

/// Writes a temporary file in the same folder, syncs it and renames it: afterwards `path` has all of `bytes` or its old content.
fn write_atomically(path: &Path, bytes: &[u8]) -> io::Result<()> {
    if path.file_name().is_none() {
        return Err(io::Error::new(
            io::ErrorKind::InvalidInput,
            "is not the name of a file",
        ));
    }
    let folder = path
        .parent()
        .filter(|p| !p.as_os_str().is_empty())
        .unwrap_or(Path::new("."));
    let mut builder = tempfile::Builder::new();
    builder.prefix(".tallow-").suffix(".tmp");
    // As other new files, and not private as temporary files are by default. The umask applies.
    #[cfg(unix)]
    builder.permissions(std::os::unix::fs::PermissionsExt::from_mode(0o666));
    let mut file = builder.tempfile_in(folder)?;
    file.write_all(bytes)?;
    file.as_file().sync_all()?;
    file.persist(path).map_err(|error| error.error)?;
    // The new name must reach the disk too; only Unix can sync a folder.
    #[cfg(unix)]
    std::fs::File::open(folder)?.sync_all()?;
    Ok(())
}
