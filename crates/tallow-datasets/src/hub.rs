//! Files of the Hugging Face hub: from its cache on this machine, or over the network.
//!
//! The cache is shared with every program that uses the hub, in Python too. Its layout is
//! `models--OWNER--NAME/{blobs,refs/main,snapshots/COMMIT}`, where `refs/main` names the commit.

use std::fs;
use std::io::Write;
use std::path::{Component, Path, PathBuf};

use tempfile::NamedTempFile;

use crate::digest::hex;
use crate::error::{Error, Result};
use crate::http::{Client, Response, chain};
use crate::options::ProgressFn;

/// The hub, or a mirror of it.
pub(crate) struct Hub {
    pub endpoint: String,
    /// Directory of the hub's cache.
    pub cache: Option<PathBuf>,
    /// Access token, for private and gated repositories.
    pub token: Option<String>,
}

/// Repository of a dataset or a model.
pub(crate) struct Repository<'a> {
    pub dataset: bool,
    pub owner: &'a str,
    pub name: &'a str,
}

impl Hub {
    /// The hub of this process: `HF_ENDPOINT`, `HF_HUB_CACHE` or `HF_HOME`, `HF_TOKEN`.
    pub fn from_env() -> Self {
        let endpoint = variable("HF_ENDPOINT").unwrap_or_else(|| "https://huggingface.co".into());
        Self {
            endpoint: endpoint.trim_end_matches('/').to_string(),
            cache: cache_dir(),
            token: variable("HF_TOKEN"),
        }
    }

    /// Address of a repository.
    pub fn address(&self, repository: &Repository) -> String {
        let Repository { owner, name, .. } = repository;
        let kind = if repository.dataset { "datasets/" } else { "" };
        format!("{}/{kind}{owner}/{name}", self.endpoint)
    }

    /// File of the commit that the hub's cache holds, if it is there.
    pub fn cached(&self, repository: &Repository, file: &str) -> Option<PathBuf> {
        let folder = repository.folder(self.cache.as_ref()?);
        let commit = fs::read_to_string(folder.join("refs").join("main")).ok()?;
        let path = folder.join("snapshots").join(commit.trim()).join(file);
        path.is_file().then_some(path)
    }

    /// Requests a file of the main branch.
    pub fn get(
        &self,
        client: &Client,
        repository: &Repository,
        file: &str,
    ) -> Result<Response, String> {
        let url = format!(
            "{}/resolve/main/{}",
            self.address(repository),
            encoded(file)
        );
        client
            .get(&url, self.token.as_deref())
            .map_err(|e| format!("{file}: {e}"))
    }

    /// Downloads a file into the hub's cache.
    fn fetch(
        &self,
        client: &Client,
        repository: &Repository,
        file: &str,
        progress: Option<&ProgressFn>,
    ) -> Result<PathBuf, String> {
        let cache = self.cache.as_ref().ok_or(
            "this system names no home directory for the hub's cache; set HF_HOME or HF_HUB_CACHE",
        )?;
        let folder = repository.folder(cache);
        let response = self.get(client, repository, file)?;
        let stated = stated_sha256(&response);
        let commit = response.header("x-repo-commit").filter(|c| is_hex(c));
        let commit = commit.unwrap_or("main").to_string();
        let mut temporary = temporary(&folder.join("blobs")).map_err(|e| chain(&e))?;
        let size = response.size;
        let sha256 = response.save(temporary.as_file_mut(), file, size, progress)?;
        if let Some(stated) = stated.filter(|s| *s != sha256) {
            return Err(format!("{file}: expected SHA-256 {stated}, found {sha256}"));
        }
        let path = folder.join("snapshots").join(&commit).join(file);
        place(temporary, &folder.join("blobs").join(&sha256), &path, file)
            .and_then(|()| write(&folder.join("refs").join("main"), &commit))
            .map_err(|e| chain(&e))?;
        Ok(path)
    }
}

impl Repository<'_> {
    fn folder(&self, cache: &Path) -> PathBuf {
        let kind = if self.dataset { "datasets" } else { "models" };
        cache.join(format!("{kind}--{}--{}", self.owner, self.name))
    }
}

/// Fetches a file of a model on the Hugging Face hub. Returns its path in the hub's cache, where it stays.
///
/// A file that any program fetched before is taken from the cache (`HF_HUB_CACHE`, `HF_HOME/hub`, `~/.cache/huggingface/hub`) and
/// needs no network. `HF_ENDPOINT` names a mirror, `HF_TOKEN` an access token. The file is compared with the SHA-256 that the
/// hub states. An interrupted download leaves nothing that a later call could take for the file.
///
/// ```no_run
/// let file = tallow_datasets::fetch_model_file("timm/resnet18.a1_in1k", "model.safetensors", None)?;
/// println!("{}", file.display());
/// # Ok::<(), tallow_datasets::Error>(())
/// ```
///
/// # Errors
/// [`Error::Argument`] unless `repository` is `OWNER/NAME` and `file` is a relative path; [`Error::Download`] with the reason.
pub fn fetch_model_file(
    repository: &str,
    file: &str,
    progress: Option<&ProgressFn>,
) -> Result<PathBuf> {
    fetch_model_file_from(&Hub::from_env(), repository, file, progress)
}

fn fetch_model_file_from(
    hub: &Hub,
    repository: &str,
    file: &str,
    progress: Option<&ProgressFn>,
) -> Result<PathBuf> {
    let parts = repository.split_once('/');
    let named = parts.filter(|(owner, name)| is_name(owner) && is_name(name));
    let Some((owner, name)) = named.filter(|_| is_relative(file)) else {
        return Err(Error::Argument(format!(
            "`{repository}/{file}` is no file of a model on the hub: expected OWNER/NAME/FILE, as in \
             timm/resnet18.a1_in1k/model.safetensors"
        )));
    };
    let repository = Repository {
        dataset: false,
        owner,
        name,
    };
    if let Some(path) = hub.cached(&repository, file) {
        return Ok(path);
    }
    tracing::info!(file, from = hub.address(&repository), "downloading");
    hub.fetch(&Client::new(), &repository, file, progress)
        .map_err(|reason| Error::Download {
            name: format!("hf:{owner}/{name}/{file}"),
            attempts: vec![format!("{}: {reason}", hub.address(&repository))],
        })
}

/// SHA-256 that the hub states for a file: large files are named by it.
pub(crate) fn stated_sha256(response: &Response) -> Option<String> {
    let tag = response
        .header("x-linked-etag")
        .or_else(|| response.header("etag"))?;
    let tag = tag.trim_start_matches("W/").trim_matches('"');
    is_sha256(tag).then(|| tag.to_ascii_lowercase())
}

pub(crate) fn is_sha256(text: &str) -> bool {
    text.len() == 64 && is_hex(text)
}

fn is_hex(text: &str) -> bool {
    !text.is_empty() && text.bytes().all(|b| b.is_ascii_hexdigit())
}

/// One part of a repository's name.
fn is_name(text: &str) -> bool {
    let known = |b: u8| b.is_ascii_alphanumeric() || b"-_.".contains(&b);
    !text.is_empty() && !text.contains("..") && text.bytes().all(known)
}

/// A path with `/` that stays below its folder, on every system.
fn is_relative(file: &str) -> bool {
    let mut parts = Path::new(file).components();
    !file.is_empty()
        && !file.contains(['\\', ':', '\0'])
        && parts.all(|part| matches!(part, Component::Normal(_)))
}

/// Percent-encoding of a path (RFC 3986), `/` kept.
fn encoded(file: &str) -> String {
    let mut text = String::new();
    for byte in file.bytes() {
        match byte {
            b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' | b'-' | b'_' | b'.' | b'~' | b'/' => {
                text.push(char::from(byte));
            }
            _ => text.push_str(&format!("%{}", hex(&[byte]).to_ascii_uppercase())),
        }
    }
    text
}

fn variable(name: &str) -> Option<String> {
    std::env::var(name).ok().filter(|v| !v.trim().is_empty())
}

/// Directory of the hub's cache, as `huggingface_hub` finds it.
fn cache_dir() -> Option<PathBuf> {
    let path = |name| {
        std::env::var_os(name)
            .filter(|v| !v.is_empty())
            .map(PathBuf::from)
    };
    if let Some(cache) = path("HF_HUB_CACHE") {
        return Some(cache);
    }
    let home = || Some(directories::BaseDirs::new()?.home_dir().join(".cache"));
    let huggingface = path("HF_HOME").or_else(|| {
        let cache = path("XDG_CACHE_HOME").or_else(home)?;
        Some(cache.join("huggingface"))
    })?;
    Some(huggingface.join("hub"))
}

/// Temporary file in `folder`, which is made. Others may read it, as far as the umask lets them: the cache may be shared.
fn temporary(folder: &Path) -> std::io::Result<NamedTempFile> {
    fs::create_dir_all(folder)?;
    let mut builder = tempfile::Builder::new();
    #[cfg(unix)]
    {
        use std::os::unix::fs::PermissionsExt;
        builder.permissions(fs::Permissions::from_mode(0o666));
    }
    builder.tempfile_in(folder)
}

/// Moves a finished file to `blob` and links `path`, which is `file` in a snapshot, to it; without links, moves it to `path`.
fn place(temporary: NamedTempFile, blob: &Path, path: &Path, file: &str) -> std::io::Result<()> {
    if let Some(parent) = path.parent() {
        fs::create_dir_all(parent)?;
    }
    #[cfg(unix)]
    {
        temporary.persist(blob).map_err(|e| e.error)?;
        let up = "../".repeat(2 + file.matches('/').count());
        let name = blob.file_name().unwrap_or_default();
        let target = Path::new(&up).join("blobs").join(name);
        // Left from another commit's file, or dangling.
        if path.symlink_metadata().is_ok() {
            fs::remove_file(path)?;
        }
        std::os::unix::fs::symlink(target, path)
    }
    #[cfg(not(unix))]
    {
        let _ = (blob, file);
        temporary.persist(path).map_err(|e| e.error)?;
        Ok(())
    }
}

/// Writes a small file as a whole.
fn write(path: &Path, text: &str) -> std::io::Result<()> {
    let folder = path.parent().unwrap_or(Path::new("."));
    let mut file = temporary(folder)?;
    file.write_all(text.as_bytes())?;
    file.as_file().sync_all()?;
    file.persist(path).map_err(|e| e.error)?;
    Ok(())
}

#[cfg(test)]
mod tests;
