//! Checkpoints on their way from the first rank to the others.

use std::fs;
use std::path::{Path, PathBuf};

use tempfile::TempDir;

use crate::error::{Error, Result};
use crate::ranks::Ranks;

/// Copy of a checkpoint in a temporary folder, which is removed with it.
pub(super) struct Received {
    /// The temporary folder.
    _temporary: TempDir,
    dir: PathBuf,
}

impl Received {
    /// Folder of the checkpoint, of the same name as that of the first rank.
    pub fn dir(&self) -> &Path {
        &self.dir
    }
}

/// Sends the files of the checkpoint in `dir` from the first rank to the others. Those get a copy of it; `None` where there is no
/// checkpoint, and on the first rank.
pub(super) fn send(ranks: &Ranks, dir: Option<&Path>) -> Result<Option<Received>> {
    if ranks.is_alone() {
        return Ok(None);
    }
    let bytes = match dir {
        Some(dir) if ranks.is_first() => pack(dir)?,
        _ => Vec::new(),
    };
    let bytes = ranks.of_first(&bytes)?;
    if ranks.is_first() || bytes.is_empty() {
        return Ok(None);
    }
    let temporary = std::env::temp_dir();
    let folder = tempfile::Builder::new().prefix("tallow-").tempdir();
    let folder = folder.map_err(Error::io(&temporary))?;
    let mut files = unpack(&bytes).ok_or_else(garbled)?.into_iter();
    let (name, _) = files.next().ok_or_else(garbled)?;
    let dir = folder.path().join(name);
    fs::create_dir(&dir).map_err(Error::io(&dir))?;
    for (name, content) in files {
        let path = dir.join(name);
        fs::write(&path, content).map_err(Error::io(&path))?;
    }
    Ok(Some(Received {
        _temporary: folder,
        dir,
    }))
}

fn garbled() -> Error {
    Error::Ranks(
        "rank 0 sent something else than a checkpoint: the ranks run different programs".into(),
    )
}

/// Name of the folder, without content, then name and content of each file, each with its length before it.
fn pack(dir: &Path) -> Result<Vec<u8>> {
    let mut bytes = Vec::new();
    let mut put = |part: &[u8]| {
        bytes.extend((part.len() as u64).to_le_bytes());
        bytes.extend_from_slice(part);
    };
    let name = |path: &Path| {
        path.file_name()
            .unwrap_or_default()
            .to_string_lossy()
            .into_owned()
    };
    put(name(dir).as_bytes());
    put(&[]);
    for entry in fs::read_dir(dir).map_err(Error::io(dir))? {
        let path = entry.map_err(Error::io(dir))?.path();
        put(name(&path).as_bytes());
        put(&fs::read(&path).map_err(Error::io(&path))?);
    }
    Ok(bytes)
}

/// Names and contents of [`pack`]; `None` for other bytes, and for names that lead out of a folder.
fn unpack(mut bytes: &[u8]) -> Option<Vec<(&str, &[u8])>> {
    let mut take = || {
        let (len, rest) = bytes.split_first_chunk::<8>()?;
        let len = usize::try_from(u64::from_le_bytes(*len)).ok()?;
        let (part, rest) = rest.split_at_checked(len)?;
        bytes = rest;
        Some((part, rest.is_empty()))
    };
    let mut found = Vec::new();
    loop {
        let (name, _) = take()?;
        let (content, last) = take()?;
        let name = std::str::from_utf8(name).ok()?;
        if name.is_empty() || name == ".." || name.contains(['/', '\\']) {
            return None;
        }
        found.push((name, content));
        if last {
            return Some(found);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn files_arrive_as_they_were_sent_and_nothing_else_does() {
        let folder = tempfile::tempdir().unwrap();
        let dir = folder.path().join("epoch-000003");
        fs::create_dir(&dir).unwrap();
        fs::write(dir.join("state.json"), "{}").unwrap();
        fs::write(dir.join("empty"), "").unwrap();
        let bytes = pack(&dir).unwrap();
        let mut found = unpack(&bytes).unwrap();
        assert_eq!(found.remove(0), ("epoch-000003", &b""[..]));
        found.sort();
        assert_eq!(found, [("empty", &b""[..]), ("state.json", &b"{}"[..])]);
        for cut in 0..bytes.len() {
            let part = unpack(&bytes[..cut]);
            // At the end of a file the rest is whole.
            assert!(part.is_none_or(|part| part.len() < 3), "{cut}");
        }
        let mut outside = Vec::new();
        for part in [&b"../x"[..], b"1"] {
            outside.extend((part.len() as u64).to_le_bytes());
            outside.extend_from_slice(part);
        }
        assert!(unpack(&outside).is_none());
        let mut huge = bytes.clone();
        huge[..8].fill(0xff);
        assert!(unpack(&huge).is_none());
    }
}
