//! Download of a dataset: the Hugging Face hub, then the original hosts.

use std::fs::{self, File};
use std::io::{Read, Write};
use std::path::{Path, PathBuf};
use std::time::Duration;

use hf_hub::progress::{DownloadEvent, ProgressEvent, ProgressHandler};
use hf_hub::{HFClient, HFClientBuilder};
use reqwest::blocking::{Client, Response};
use sha2::{Digest, Sha256};

use crate::catalog::{Entry, Host, Hub, Published};
use crate::dataset::{Split, hex};
use crate::error::{Error, Result};
use crate::load::{LoadOptions, Progress, ProgressFn, read};
use crate::places::Places;
use crate::source::sha256_file;

const SUMS: &str = "SHA256SUMS";

/// Longer without an answer or a byte means that a server is gone.
const PATIENCE: Duration = Duration::from_secs(30);

/// A downloaded file with its digest.
struct Item {
    name: String,
    sha256: String,
}

/// Where the Hugging Face hub is.
pub(crate) struct Network {
    endpoint: String,
    /// Instead of the hub's own cache directory.
    hub_cache: Option<PathBuf>,
}

impl Network {
    pub fn from_env() -> Self {
        let endpoint = std::env::var("HF_ENDPOINT").ok().filter(|e| !e.is_empty());
        let endpoint = endpoint.unwrap_or_else(|| "https://huggingface.co".into());
        Self {
            endpoint: endpoint.trim_end_matches('/').to_string(),
            hub_cache: None,
        }
    }
}

/// Downloads both splits of `entry` into the user cache: the directory, or why every source failed.
pub(crate) fn download(
    entry: &'static Entry,
    options: &LoadOptions,
    network: &Network,
) -> Result<std::result::Result<PathBuf, Vec<String>>> {
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
    let (host_client, hub_client) = match clients() {
        Ok(clients) => clients,
        Err(e) => return Ok(Err(vec![format!("no HTTP client: {}", chain(&e))])),
    };
    let mut failures = Vec::new();
    for source in sources(entry) {
        let partial = Partial::new(cache.join(format!(".{}.partial", entry.folder)))?;
        let job = Job {
            host_client: &host_client,
            hub_client: &hub_client,
            network,
            entry,
            dir: &partial.0,
            tell: options.progress.as_ref(),
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
                let source = source.name(network);
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

/// Clients for the original hosts and for the hub. Time limits are for each read, not for a whole file.
fn clients() -> reqwest::Result<(Client, reqwest::Client)> {
    const AGENT: &str = concat!("tallow-datasets/", env!("CARGO_PKG_VERSION"));
    let host = Client::builder()
        .user_agent(AGENT)
        .connect_timeout(PATIENCE)
        .timeout(PATIENCE);
    let hub = reqwest::Client::builder()
        .user_agent(AGENT)
        .connect_timeout(PATIENCE)
        .read_timeout(PATIENCE);
    Ok((host.build()?, hub.build()?))
}

/// A directory for an unfinished download: emptied before, removed after.
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

enum SourceKind {
    Hub(&'static Hub),
    Host(&'static Host),
}

fn sources(entry: &'static Entry) -> impl Iterator<Item = SourceKind> {
    let hub = entry.hub.iter().map(SourceKind::Hub);
    hub.chain(entry.hosts.iter().map(SourceKind::Host))
}

impl SourceKind {
    fn name(&self, network: &Network) -> String {
        match self {
            SourceKind::Hub(Hub { owner, name, .. }) => {
                format!("{}/datasets/{owner}/{name}", network.endpoint)
            }
            SourceKind::Host(host) => host.base.to_string(),
        }
    }
}

/// Files of `entry` to be fetched into `dir`.
struct Job<'a> {
    host_client: &'a Client,
    hub_client: &'a reqwest::Client,
    network: &'a Network,
    entry: &'static Entry,
    dir: &'a Path,
    tell: Option<&'a ProgressFn>,
}

impl Job<'_> {
    fn fetch(&self, source: &SourceKind) -> std::result::Result<Vec<Item>, String> {
        match source {
            SourceKind::Hub(hub) => {
                // The hub's own requests try again and again: ask first whether anyone answers.
                let hello = self.host_client.head(&self.network.endpoint).send();
                hello.map_err(|e| chain(&e.without_url()))?;
                hub.files
                    .iter()
                    .map(|file| self.hub_file(hub, file))
                    .collect()
            }
            SourceKind::Host(host) => host
                .files
                .iter()
                .map(|file| self.host_file(host, file))
                .collect(),
        }
    }

    fn hub_file(&self, hub: &Hub, file: &str) -> std::result::Result<Item, String> {
        let name = file.rsplit('/').next().unwrap_or(file).to_string();
        let client = |cache: Option<&Path>| {
            let client = HFClient::builder()
                .client(self.hub_client.clone())
                .endpoint(&self.network.endpoint)
                .retry_max_attempts(2);
            match cache {
                Some(cache) => client.cache_dir(cache),
                None => client,
            }
        };
        let own_cache = self.dir.join(".hub");
        // What any program has fetched through the hub's cache need not be fetched again.
        let path = match ask_hub(client(self.network.hub_cache.as_deref()), hub, file, None) {
            Ok(path) => path,
            Err(_) => {
                let tell = self.tell.map(|t| HubProgress {
                    file: name.clone(),
                    tell: t.clone(),
                });
                let tell = tell.map(hf_hub::progress::Progress::new);
                ask_hub(client(Some(&own_cache)), hub, file, Some(tell)).map_err(|e| chain(&e))?
            }
        };
        let blob = fs::canonicalize(&path).map_err(|e| e.to_string())?;
        let target = self.dir.join(&name);
        fs::copy(&blob, &target).map_err(|e| e.to_string())?;
        let sha256 = sha256_file(&target).map_err(|e| e.to_string())?;
        // The hub names a large file by its SHA-256.
        let stated = blob
            .file_name()
            .and_then(|n| n.to_str())
            .filter(|n| is_sha256(n));
        if let Some(stated) = stated.filter(|s| *s != sha256) {
            return Err(format!("{name}: expected SHA-256 {stated}, found {sha256}"));
        }
        check_published(self.entry, &name, &sha256)?;
        let _ = fs::remove_dir_all(&own_cache);
        Ok(Item { name, sha256 })
    }

    fn host_file(&self, host: &Host, name: &str) -> std::result::Result<Item, String> {
        let published = self.entry.published.iter().find(|p| p.name == name);
        let published = published.ok_or_else(|| format!("{name}: no digest is known"))?;
        let url = format!("{}{name}", host.base);
        let response = self
            .host_client
            .get(url)
            .send()
            .and_then(Response::error_for_status);
        let response = response.map_err(|e| format!("{name}: {}", chain(&e.without_url())))?;
        let sha256 = stream(response, published, &self.dir.join(name), self.tell)?;
        check_published(self.entry, name, &sha256)?;
        Ok(Item {
            name: name.to_string(),
            sha256,
        })
    }
}

/// Path of a file of the hub: from the client's cache alone when there is no `download`, which may carry a
/// progress handler.
fn ask_hub(
    client: HFClientBuilder,
    hub: &Hub,
    file: &str,
    download: Option<Option<hf_hub::progress::Progress>>,
) -> hf_hub::HFResult<PathBuf> {
    let repository = client.build_sync()?.dataset(hub.owner, hub.name);
    let request = repository.download_file().filename(file);
    match download {
        None => request.local_files_only(true).send(),
        Some(progress) => request.maybe_progress(progress).send(),
    }
}

fn is_sha256(text: &str) -> bool {
    text.len() == 64 && text.bytes().all(|b| b.is_ascii_hexdigit())
}

struct HubProgress {
    file: String,
    tell: ProgressFn,
}

impl ProgressHandler for HubProgress {
    fn on_progress(&self, event: &ProgressEvent) {
        let (done, total) = match event {
            ProgressEvent::Download(DownloadEvent::Start { total_bytes, .. }) => (0, *total_bytes),
            ProgressEvent::Download(DownloadEvent::Progress { files }) => {
                let Some(file) = files.first() else { return };
                (file.bytes_completed, file.total_bytes)
            }
            ProgressEvent::Download(DownloadEvent::AggregateProgress {
                bytes_completed,
                total_bytes,
                ..
            }) => (*bytes_completed, *total_bytes),
            _ => return,
        };
        let total = (total > 0).then_some(total);
        (self.tell)(Progress {
            file: self.file.clone(),
            done,
            total,
        });
    }
}

/// Writes a response to `target`, up to the size it should have: its SHA-256.
fn stream(
    mut response: impl Read,
    published: &Published,
    target: &Path,
    progress: Option<&ProgressFn>,
) -> std::result::Result<String, String> {
    let &Published { name, size, .. } = published;
    let mut file = File::create(target).map_err(|e| format!("{}: {e}", target.display()))?;
    let mut hash = Sha256::new();
    let mut buffer = vec![0; 1 << 17];
    let mut done = 0;
    loop {
        let n = response
            .read(&mut buffer)
            .map_err(|e| format!("{name}: {}", chain(&e)))?;
        if n == 0 {
            break;
        }
        done += n as u64;
        if done > size {
            return Err(format!("{name}: expected {size} bytes, found more"));
        }
        hash.update(&buffer[..n]);
        file.write_all(&buffer[..n])
            .map_err(|e| format!("{}: {e}", target.display()))?;
        if let Some(tell) = progress {
            tell(Progress {
                file: name.to_string(),
                done,
                total: Some(size),
            });
        }
    }
    if done != size {
        return Err(format!("{name}: expected {size} bytes, found {done}"));
    }
    Ok(hex(&hash.finalize()))
}

/// Refuses a file whose name was published with another content.
fn check_published(entry: &Entry, name: &str, sha256: &str) -> std::result::Result<(), String> {
    match entry.published.iter().find(|p| p.name == name) {
        Some(p) if p.sha256 != sha256 => Err(format!(
            "{name}: expected SHA-256 {}, found {sha256}",
            p.sha256
        )),
        _ => Ok(()),
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
        let digest = crate::Dataset::info(&set).digest.clone();
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

/// Moves finished files into place, all at once where the directory is new.
fn install(partial: &Path, target: &Path, items: &[Item]) -> Result<()> {
    let sums: String = items
        .iter()
        .map(|i| format!("{}  {}\n", i.sha256, i.name))
        .collect();
    let path = partial.join(SUMS);
    fs::write(&path, sums).map_err(|e| Error::io(&path, e))?;
    let names = || items.iter().map(|i| i.name.as_str()).chain([SUMS]);
    for name in names() {
        sync(&partial.join(name))?;
    }
    sync_directory(partial)?;
    if target.exists() {
        // Left from elsewhere and incomplete, or the search would have found it.
        for name in names() {
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

fn sync(path: &Path) -> Result<()> {
    File::open(path)
        .and_then(|f| f.sync_all())
        .map_err(|e| Error::io(path, e))
}

/// So that a rename lasts; only Unix can.
fn sync_directory(path: &Path) -> Result<()> {
    if cfg!(unix) { sync(path) } else { Ok(()) }
}

/// An error with its causes, which HTTP clients keep to themselves.
fn chain(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut next = error.source();
    while let Some(cause) = next {
        let cause_text = cause.to_string();
        if !text.contains(&cause_text) {
            text = format!("{text}: {cause_text}");
        }
        next = cause.source();
    }
    text
}

#[cfg(test)]
mod tests;
