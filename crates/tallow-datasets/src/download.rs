//! Download of a dataset: the Hugging Face hub, then the original hosts.

use std::fs::{self, File};
use std::io::Write;
use std::path::{Path, PathBuf};

use crate::dataset::{Dataset, Split};
use crate::entry::{Entry, Host, HubFiles};
use crate::error::{Error, Result};
use crate::http::{Client, copy};
use crate::hub::{Hub, Repository, is_sha256, stated_sha256};
use crate::options::{LoadOptions, ProgressFn};
use crate::places::Places;
use crate::read::read;

const SUMS: &str = "SHA256SUMS";

/// A downloaded file with its digest.
struct Item {
    name: String,
    sha256: String,
}

/// Downloads both splits of `entry` into the user cache. Returns the directory, or the failure of every source.
pub(crate) fn download(
    entry: &'static Entry,
    options: &LoadOptions,
    hub: &Hub,
) -> Result<Result<PathBuf, Vec<String>>> {
    let Some(cache) = options.places().cache else {
        return Ok(Err(vec!["this system names no cache directory".into()]));
    };
    fs::create_dir_all(&cache).map_err(|e| Error::io(&cache, e))?;
    // One download of a dataset at a time on this machine. The lock goes with the process.
    let lock_path = cache.join(format!(".{}.lock", entry.folder));
    let lock = File::create(&lock_path).map_err(|e| Error::io(&lock_path, e))?;
    lock.lock().map_err(|e| Error::io(&lock_path, e))?;
    let target = cache.join(entry.folder);
    let done = Places {
        cache: Some(cache.clone()),
        ..Places::default()
    };
    if Split::ALL
        .iter()
        .all(|&split| done.find(entry, split).is_ok())
    {
        return Ok(Ok(target));
    }
    let client = Client::new();
    let mut failures = Vec::new();
    for source in sources(entry) {
        let partial = Partial::new(cache.join(format!(".{}.partial", entry.folder)))?;
        let job = Job {
            client: &client,
            hub,
            entry,
            dir: &partial.0,
            progress: options.progress.as_ref(),
        };
        let outcome = job.fetch(&source);
        let outcome = outcome.and_then(|items| {
            check(entry, &partial.0).map_err(|e| e.to_string())?;
            Ok(items)
        });
        match outcome {
            Ok(items) => {
                install(&partial.0, &target, &items)?;
                return Ok(Ok(target));
            }
            Err(reason) => {
                let source = match source {
                    Source::Hub(files) => hub.address(&repository(files)),
                    Source::Host(host) => host.base.to_string(),
                };
                tracing::debug!(source, reason, "download failed");
                failures.push(format!("{source}: {reason}"));
            }
        }
    }
    if failures.is_empty() {
        failures.push(format!("no source is known; see {}", entry.source));
    }
    Ok(Err(failures))
}

/// Directory of an unfinished download: emptied before, removed after.
struct Partial(PathBuf);

impl Partial {
    fn new(path: PathBuf) -> Result<Self> {
        if path.exists() {
            fs::remove_dir_all(&path).map_err(|e| Error::io(&path, e))?;
        }
        fs::create_dir_all(&path).map_err(|e| Error::io(&path, e))?;
        Ok(Self(path))
    }
}

impl Drop for Partial {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.0);
    }
}

enum Source {
    Hub(&'static HubFiles),
    Host(&'static Host),
}

fn sources(entry: &'static Entry) -> impl Iterator<Item = Source> {
    let hub = entry.hub.iter().map(Source::Hub);
    hub.chain(entry.hosts.iter().map(Source::Host))
}

fn repository(files: &HubFiles) -> Repository<'static> {
    Repository {
        dataset: true,
        owner: files.owner,
        name: files.name,
    }
}

/// Files of `entry` to be fetched into `dir`.
struct Job<'a> {
    client: &'a Client,
    hub: &'a Hub,
    entry: &'static Entry,
    dir: &'a Path,
    progress: Option<&'a ProgressFn>,
}

impl Job<'_> {
    fn fetch(&self, source: &Source) -> Result<Vec<Item>, String> {
        match source {
            Source::Hub(files) => files
                .files
                .iter()
                .map(|file| self.hub_file(&repository(files), file))
                .collect(),
            Source::Host(host) => host
                .files
                .iter()
                .map(|file| self.host_file(host, file))
                .collect(),
        }
    }

    fn hub_file(&self, repository: &Repository, file: &str) -> Result<Item, String> {
        let name = file.rsplit('/').next().unwrap_or(file);
        let mut target = self.create(name)?;
        // A file that any program has fetched through the hub's cache need not be fetched again.
        let (sha256, stated) = match self.hub.cached(repository, file) {
            Some(path) => {
                let blob = fs::canonicalize(&path).map_err(|e| format!("{name}: {e}"))?;
                let from = File::open(&blob).map_err(|e| format!("{name}: {e}"))?;
                let sha256 = copy(from, &mut target, name, None, None)?;
                // The cache names a large file by its SHA-256.
                let stated = blob.file_name().and_then(|n| n.to_str());
                (sha256, stated.filter(|n| is_sha256(n)).map(str::to_string))
            }
            None => {
                let response = self.hub.get(self.client, repository, file)?;
                let (size, stated) = (response.size, stated_sha256(&response));
                let sha256 = response.save(&mut target, name, size, self.progress)?;
                (sha256, stated)
            }
        };
        if let Some(stated) = stated.filter(|s| *s != sha256) {
            return Err(format!("{name}: expected SHA-256 {stated}, found {sha256}"));
        }
        self.keep(name, sha256)
    }

    fn host_file(&self, host: &Host, name: &str) -> Result<Item, String> {
        let published = self.entry.published.iter().find(|p| p.name == name);
        let published = published.ok_or_else(|| format!("{name}: no digest is known"))?;
        let response = self
            .client
            .get(&format!("{}{name}", host.base), None)
            .map_err(|e| format!("{name}: {e}"))?;
        let mut target = self.create(name)?;
        let sha256 = response.save(&mut target, name, Some(published.size), self.progress)?;
        self.keep(name, sha256)
    }

    fn create(&self, name: &str) -> Result<File, String> {
        let path = self.dir.join(name);
        File::create(&path).map_err(|e| format!("cannot write {}: {e}", path.display()))
    }

    /// The finished file, unless its name was published with another content.
    fn keep(&self, name: &str, sha256: String) -> Result<Item, String> {
        match self.entry.published.iter().find(|p| p.name == name) {
            Some(p) if p.sha256 != sha256 => Err(format!(
                "{name}: expected SHA-256 {}, found {sha256}",
                p.sha256
            )),
            _ => Ok(Item {
                name: name.to_string(),
                sha256,
            }),
        }
    }
}

/// Decodes both splits: all images must be there, and be those published where that is known.
fn check(entry: &'static Entry, dir: &Path) -> Result<()> {
    let here = Places {
        given: Some(dir.to_path_buf()),
        ..Places::default()
    };
    for split in Split::ALL {
        let set = read(entry, split, &here.find(entry, split)?, false)?;
        let n = set.labels().len();
        if n != entry.len(split) {
            let expected = format!("{} images in the {split} split", entry.len(split));
            return Err(Error::invalid(dir, expected, n.to_string()));
        }
        let digest = set.info().digest.clone();
        if entry.digest(split).is_some_and(|d| d != digest) {
            let expected = format!("the published {split} split");
            return Err(Error::invalid(
                dir,
                expected,
                format!("images with the digest {digest}"),
            ));
        }
    }
    Ok(())
}

/// Moves finished files into place, all at once where the directory is new. Their bytes are on the disk already.
fn install(partial: &Path, target: &Path, items: &[Item]) -> Result<()> {
    let sums: String = items
        .iter()
        .map(|i| format!("{}  {}\n", i.sha256, i.name))
        .collect();
    let path = partial.join(SUMS);
    File::create(&path)
        .and_then(|mut file| {
            file.write_all(sums.as_bytes())?;
            // By the handle that wrote: Windows lets no other.
            file.sync_all()
        })
        .map_err(|e| Error::io(&path, e))?;
    sync_directory(partial)?;
    if target.exists() {
        // Left from elsewhere and incomplete, or the search would have found it.
        for name in items.iter().map(|i| i.name.as_str()).chain([SUMS]) {
            let to = target.join(name);
            fs::rename(partial.join(name), &to).map_err(|e| Error::io(&to, e))?;
        }
        sync_directory(target)?;
    } else {
        fs::rename(partial, target).map_err(|e| Error::io(target, e))?;
    }
    match target.parent() {
        Some(parent) => sync_directory(parent),
        None => Ok(()),
    }
}

/// Makes the renames in a directory last. Only Unix can.
fn sync_directory(path: &Path) -> Result<()> {
    if !cfg!(unix) {
        return Ok(());
    }
    File::open(path)
        .and_then(|f| f.sync_all())
        .map_err(|e| Error::io(path, e))
}

#[cfg(test)]
mod tests;
