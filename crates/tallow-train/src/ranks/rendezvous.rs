//! File by which processes that no launcher of MPI has started find each other.

use std::fs;
use std::io::{ErrorKind, Read, Write};
use std::path::Path;
use std::thread;
use std::time::{Duration, Instant};

use crate::error::{Error, Result};

/// First line of the file.
const HEAD: &str = "tallow rendezvous 1";

/// Bytes of such a file at most.
const MOST: u64 = 4096;

/// Time between two looks for the file.
const LOOK: Duration = Duration::from_millis(20);

/// Token of the first rank, on all ranks: the first one makes it and writes it into the file, the others wait for it.
///
/// The file must not be there before: one that another job has left would be taken for that of this one.
pub(super) fn share(
    path: &Path,
    (rank, world): (usize, usize),
    make: impl FnOnce() -> Result<Vec<u8>>,
    limit: Duration,
) -> Result<Vec<u8>> {
    if rank > 0 {
        return wait(path, (rank, world), limit);
    }
    let token = make()?;
    write(path, world, &token).map_err(|source| match source.kind() {
        ErrorKind::AlreadyExists => Error::Ranks(format!(
            "{}: the file is there already: another job uses it, or has ended while its processes were joining; remove it, or name another \
             one on all ranks",
            path.display()
        )),
        _ => Error::Io {
            path: path.to_path_buf(),
            source,
        },
    })?;
    Ok(token)
}

/// Removes the file, once all ranks have joined.
pub(super) fn remove(path: &Path) {
    if let Err(error) = fs::remove_file(path) {
        tracing::warn!("{} cannot be removed: {error}", path.display());
    }
}

fn write(path: &Path, world: usize, token: &[u8]) -> std::io::Result<()> {
    let folder = match path.parent() {
        Some(folder) if !folder.as_os_str().is_empty() => folder,
        _ => Path::new("."),
    };
    let mut file = tempfile::NamedTempFile::new_in(folder)?;
    let token: String = token.iter().map(|byte| format!("{byte:02x}")).collect();
    write!(file, "{HEAD}\nworld {world}\ntoken {token}\n")?;
    file.as_file().sync_all()?;
    // Under its name as a whole, and not in the place of another one.
    file.persist_noclobber(path)
        .map(drop)
        .map_err(|error| error.error)
}

/// Waits for the file, and reads it.
fn wait(path: &Path, (rank, world): (usize, usize), limit: Duration) -> Result<Vec<u8>> {
    let started = Instant::now();
    let text = loop {
        match read(path) {
            Ok(text) => break text,
            Err(source) if source.kind() != ErrorKind::NotFound => {
                let path = path.to_path_buf();
                return Err(Error::Io { path, source });
            }
            Err(_) => {}
        }
        let waited = started.elapsed();
        if waited >= limit {
            return Err(Error::Ranks(format!(
                "rank {rank} has waited {} s for {}, which rank 0 writes: all ranks need the same path, on a disk that they share",
                waited.as_secs(),
                path.display()
            )));
        }
        thread::sleep(LOOK);
    };
    let wrong = |why: &str| Error::Ranks(format!("{}: {why}", path.display()));
    let (found, token) = parse(&text)
        .ok_or_else(|| wrong("expected the file of a rendezvous, which rank 0 writes"))?;
    if found != world {
        let why = format!(
            "rank 0 has a world of {found} ranks, rank {rank} one of {world}: WORLD_SIZE must be the same for all"
        );
        return Err(wrong(&why));
    }
    Ok(token)
}

fn read(path: &Path) -> std::io::Result<String> {
    let mut bytes = Vec::new();
    fs::File::open(path)?.take(MOST).read_to_end(&mut bytes)?;
    Ok(String::from_utf8_lossy(&bytes).into_owned())
}

/// Number of ranks and token of a file's text; `None` for another file.
fn parse(text: &str) -> Option<(usize, Vec<u8>)> {
    let mut lines = text.strip_suffix('\n')?.split('\n');
    if lines.next()? != HEAD {
        return None;
    }
    let world = lines.next()?.strip_prefix("world ")?.parse().ok()?;
    let digits = lines.next()?.strip_prefix("token ")?;
    if lines.next().is_some() || !digits.bytes().all(|byte| byte.is_ascii_hexdigit()) {
        return None;
    }
    let (pairs, rest) = digits.as_bytes().as_chunks::<2>();
    if !rest.is_empty() {
        return None;
    }
    let byte = |pair: &[u8; 2]| u8::from_str_radix(std::str::from_utf8(pair).ok()?, 16).ok();
    Some((world, pairs.iter().map(byte).collect::<Option<_>>()?))
}

#[cfg(test)]
mod tests {
    use super::*;

    const LIMIT: Duration = Duration::from_secs(20);

    fn token() -> Vec<u8> {
        (0..128u8).map(|i| i.wrapping_mul(37)).collect()
    }

    #[test]
    fn all_ranks_get_the_token_of_the_first() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("here");
        let found: Vec<Vec<u8>> = thread::scope(|scope| {
            let of = |rank: usize| {
                let path = &path;
                scope.spawn(move || {
                    // The first one is late.
                    thread::sleep(Duration::from_millis(if rank == 0 { 60 } else { 0 }));
                    share(path, (rank, 3), || Ok(token()), LIMIT).unwrap()
                })
            };
            let threads: Vec<_> = (0..3).map(of).collect();
            let joined = threads.into_iter().map(|thread| thread.join().unwrap());
            joined.collect()
        });
        assert_eq!(found, vec![token(); 3]);
        remove(&path);
        assert_eq!(fs::read_dir(dir.path()).unwrap().count(), 0);
    }

    #[test]
    fn a_file_that_was_left_is_not_taken() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("here");
        share(&path, (0, 2), || Ok(token()), LIMIT).unwrap();
        let error = share(&path, (0, 2), || Ok(token()), LIMIT).unwrap_err();
        assert!(error.to_string().contains("remove it"), "{error}");
        assert!(parse(&read(&path).unwrap()).is_some());
        let nowhere = dir.path().join("none/here");
        let error = share(&nowhere, (0, 2), || Ok(token()), LIMIT).unwrap_err();
        assert!(error.to_string().contains("none/here"), "{error}");
    }

    #[test]
    fn a_rank_that_waits_in_vain_says_for_which_file() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("here");
        let limit = Duration::from_millis(30);
        let error = share(&path, (1, 2), || Ok(token()), limit).unwrap_err();
        let error = error.to_string();
        assert!(error.starts_with("rank 1 has waited 0 s for"), "{error}");
        share(&path, (0, 3), || Ok(token()), limit).unwrap();
        let error = share(&path, (1, 2), || Ok(token()), limit).unwrap_err();
        let error = error.to_string();
        assert!(error.contains("rank 0 has a world of 3 ranks"), "{error}");
    }

    #[test]
    fn other_files_are_refused() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("here");
        write(&path, 2, &token()).unwrap();
        let text = read(&path).unwrap();
        assert_eq!(parse(&text), Some((2, token())));
        for end in 0..text.len() {
            assert_eq!(parse(&text[..end]), None, "{end}");
        }
        let more = format!("{text}more\n");
        let signed = text.replace("token 0", "token +");
        let others = [&*more, &*signed, "", "\n", "tallow rendezvous 2\nworld 2\n"];
        for other in others {
            assert_eq!(parse(other), None, "{other:?}");
        }
        // A large file of something else is not read as a whole.
        fs::write(&path, vec![0xff; 1 << 20]).unwrap();
        let error = share(&path, (1, 2), || Ok(token()), LIMIT).unwrap_err();
        let error = error.to_string();
        assert!(
            error.contains("expected the file of a rendezvous"),
            "{error}"
        );
        let error = share(dir.path(), (1, 2), || Ok(token()), LIMIT).unwrap_err();
        assert!(matches!(error, Error::Io { .. }), "{error}");
    }
}
