//! Search for the files of a dataset.

use std::path::{Path, PathBuf};

use crate::dataset::Split;
use crate::entry::Entry;
use crate::error::{Error, NotFound, Place, Result};
use crate::near::near;
use crate::shards::shards;
use crate::storage::{Format, Storage};

/// Places to search, in this order.
#[derive(Debug, Clone, Default)]
pub(crate) struct Places {
    /// A directory named by the caller: a folder that holds `<folder>/`, or the dataset's folder itself.
    pub given: Option<PathBuf>,
    /// `TALLOW_DATA`: a folder that holds `<folder>/`.
    pub env: Option<PathBuf>,
    /// `tallow` in the platform's cache directory.
    pub cache: Option<PathBuf>,
    /// `/usr/share/datasets` on Unix.
    pub system: Option<PathBuf>,
}

impl Places {
    /// The places of this process, with what the caller gave.
    pub fn new(given: Option<&Path>, cache: Option<&Path>) -> Self {
        Self {
            given: given.map(Path::to_path_buf),
            env: std::env::var_os("TALLOW_DATA")
                .filter(|v| !v.is_empty())
                .map(PathBuf::from),
            cache: cache.map(Path::to_path_buf).or_else(cache_dir),
            system: cfg!(unix).then(|| PathBuf::from("/usr/share/datasets")),
        }
    }

    /// Directories that may hold the dataset, each with the kind of place. Those with other tools' names are left out where they are
    /// not there.
    fn directories(&self, entry: &Entry) -> Vec<(&'static str, PathBuf)> {
        let folder = entry.folder;
        let mut dirs = Vec::new();
        if let Some(given) = &self.given {
            dirs.push(("given directory", given.join(folder)));
            dirs.push(("given directory", given.clone()));
        }
        let named = [
            ("TALLOW_DATA", &self.env),
            ("user cache", &self.cache),
            ("system directory", &self.system),
        ];
        for (kind, root) in named {
            if let Some(root) = root {
                dirs.push((kind, root.join(folder)));
                let others = entry.elsewhere.iter().map(|other| root.join(other));
                dirs.extend(others.filter(|dir| dir.is_dir()).map(|dir| (kind, dir)));
            }
        }
        dirs
    }

    /// The files of a split in the first place that has them all.
    pub fn find(&self, entry: &Entry, split: Split) -> Result<Found> {
        entry.check_split(split)?;
        if let [storage] = entry.storage
            && storage.format == Format::Embedded
        {
            return Ok(Found {
                place: "embedded",
                dir: PathBuf::new(),
                storage,
                files: Vec::new(),
            });
        }
        if let Some(given) = &self.given
            && !given.is_dir()
        {
            // Data from a place that was not asked for would be a silent substitution.
            return Err(Error::NotFound(Box::new(NotFound {
                name: entry.name.to_string(),
                looked: vec![place("given directory", given, "no such directory")],
                remedies: Vec::new(),
            })));
        }
        let mut looked = Vec::new();
        for (kind, dir) in self.directories(entry) {
            match search(entry, split, &dir)? {
                Search::Found(storage, files) => {
                    return Ok(Found {
                        place: kind,
                        dir,
                        storage,
                        files,
                    });
                }
                Search::Lacks(finding) => looked.push(place(kind, &dir, &finding)),
            }
        }
        if self.env.is_none() {
            let at = usize::from(self.given.is_some()) * 2;
            let finding = "not set".to_string();
            looked.insert(
                at,
                Place {
                    kind: "TALLOW_DATA",
                    path: None,
                    finding,
                },
            );
        }
        Err(Error::NotFound(Box::new(NotFound {
            name: entry.name.to_string(),
            looked,
            remedies: remedies(entry, self.cache.as_deref()),
        })))
    }
}

fn place(kind: &'static str, path: &Path, finding: &str) -> Place {
    Place {
        kind,
        path: Some(path.to_path_buf()),
        finding: finding.to_string(),
    }
}

/// Directory of downloaded datasets, unless [`LoadOptions::cache_dir`](crate::LoadOptions::cache_dir) names another:
/// `~/.cache/tallow` on Linux, `~/Library/Caches/tallow` on macOS, `%LOCALAPPDATA%\tallow\cache` on Windows. `None` where the
/// system has no home directory.
pub fn cache_dir() -> Option<PathBuf> {
    directories::ProjectDirs::from("", "", "tallow").map(|d| d.cache_dir().to_path_buf())
}

fn remedies(entry: &Entry, cache: Option<&Path>) -> Vec<String> {
    let folder = match cache {
        Some(cache) => cache.join(entry.folder),
        None => PathBuf::from(entry.folder),
    };
    let folder = folder.display();
    let mut lines = Vec::new();
    if let Some(host) = entry.hosts.first() {
        let files = host.files.join(", ");
        lines.push(format!("put {files} from {} into {folder}", host.base));
    }
    if let Some(hub) = &entry.hub {
        let files = hub.files.join(", ");
        let (owner, name) = (hub.owner, hub.name);
        lines.push(format!(
            "or put {files} from https://huggingface.co/datasets/{owner}/{name} there"
        ));
    }
    let folder = entry.folder;
    lines.push(format!(
        "or set TALLOW_DATA to a directory that has them in its folder {folder}"
    ));
    lines
}

/// Files of a split that were found.
#[derive(Debug, Clone)]
pub(crate) struct Found {
    pub place: &'static str,
    pub dir: PathBuf,
    pub storage: &'static Storage,
    pub files: Vec<PathBuf>,
}

enum Search {
    Found(&'static Storage, Vec<PathBuf>),
    /// Description of what was found instead.
    Lacks(String),
}

/// Looks for a split in `dir` and those of its subfolders in which other tools put it.
fn search(entry: &Entry, split: Split, dir: &Path) -> Result<Search> {
    if !dir.is_dir() {
        return Ok(Search::Lacks("no such directory".into()));
    }
    let inner = entry.inner.iter().chain(entry.elsewhere);
    let folders = std::iter::once(dir.to_path_buf()).chain(inner.map(|i| dir.join(i)));
    let mut partly = None;
    for folder in folders.filter(|f| f.is_dir()) {
        match search_folder(entry, split, &folder)? {
            Search::Lacks(finding) => partly = partly.or(Some(finding).filter(|f| !f.is_empty())),
            found => return Ok(found),
        }
    }
    if let Some(partly) = partly {
        return Ok(Search::Lacks(partly));
    }
    let names = entry.storage.iter().flat_map(|s| s.names(split));
    let names: Vec<&str> = names.copied().collect();
    let lacks = format!("has no {}", first_files(entry, split));
    Ok(Search::Lacks(match near(dir, split, &names) {
        Some(near) => format!("{lacks}; found there: {near}"),
        None => lacks,
    }))
}

/// First file of each way to store the split.
fn first_files(entry: &Entry, split: Split) -> String {
    let names = entry.storage.iter().map(|s| s.names(split));
    let names: Vec<&str> = names.filter_map(|n| n.first().copied()).collect();
    names.join(", ")
}

fn search_folder(entry: &Entry, split: Split, folder: &Path) -> Result<Search> {
    let mut partly = String::new();
    for storage in entry.storage {
        let names = storage.names(split);
        let files: Vec<_> = names.iter().map(|n| existing(folder, n)).collect();
        if files.iter().all(Option::is_some) {
            return Ok(Search::Found(
                storage,
                files.into_iter().flatten().collect(),
            ));
        }
        if storage.format == Format::Parquet
            && let Some(files) = shards(folder, entry.folder, split.as_str())?
        {
            return Ok(Search::Found(storage, files));
        }
        if partly.is_empty()
            && let Some(here) = files.iter().position(Option::is_some)
            && let Some(missing) = files.iter().position(Option::is_none)
        {
            partly = format!("has {} but not {}", names[here], names[missing]);
        }
    }
    Ok(Search::Lacks(partly))
}

/// The file of that name; of that name without `.gz`; with a dot as unpackers write it (`train-images.idx3-ubyte`); or in a folder of
/// its own name.
fn existing(folder: &Path, name: &str) -> Option<PathBuf> {
    let plain = name
        .strip_suffix(".gz")
        .filter(|n| n.ends_with("-ubyte") || n.ends_with(".tar"));
    let mut names = vec![name.to_string()];
    names.extend(plain.map(String::from));
    if name.contains("-idx") {
        let dotted: Vec<_> = names.iter().map(|n| n.replace("-idx", ".idx")).collect();
        names.extend(dotted);
    }
    let direct = names.iter().map(|n| folder.join(n));
    let nested = names.iter().map(|n| folder.join(n).join(n));
    direct.chain(nested).find(|p| p.is_file())
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;
    use crate::catalog::entry;

    fn touch(path: PathBuf) {
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, b"").unwrap();
    }

    fn mnist(folder: &Path) {
        touch(folder.join("train-images-idx3-ubyte.gz"));
        touch(folder.join("train-labels-idx1-ubyte"));
    }

    #[test]
    fn the_first_place_wins() {
        let root = tempfile::tempdir().unwrap();
        let dir = |name: &str| Some(root.path().join(name));
        let mut places = Places {
            given: None,
            env: dir("env"),
            cache: dir("cache"),
            system: dir("system"),
        };
        let found = |places: &Places| {
            let found = places.find(entry("mnist").unwrap(), Split::Train).unwrap();
            (found.place, found.dir)
        };
        for (kind, at) in [
            ("system directory", "system/mnist"),
            ("user cache", "cache/mnist"),
            ("TALLOW_DATA", "env/mnist"),
        ] {
            mnist(&root.path().join(at));
            assert_eq!(found(&places), (kind, root.path().join(at)));
        }
        // A given directory may be the dataset's own, or hold it.
        mnist(&root.path().join("own"));
        places.given = dir("own");
        assert_eq!(found(&places), ("given directory", root.path().join("own")));
        mnist(&root.path().join("own/mnist"));
        assert_eq!(
            found(&places),
            ("given directory", root.path().join("own/mnist"))
        );
    }

    #[test]
    fn every_place_is_named_when_it_is_nowhere() {
        let root = tempfile::tempdir().unwrap();
        let given = root.path().join("given");
        fs::create_dir(&given).unwrap();
        touch(root.path().join("cache/mnist/train-images-idx3-ubyte"));
        let places = Places {
            given: Some(given.clone()),
            env: None,
            cache: Some(root.path().join("cache")),
            system: Some(root.path().join("system")),
        };
        let error = places
            .find(entry("mnist").unwrap(), Split::Train)
            .unwrap_err();
        let Error::NotFound(error) = error else {
            panic!("{error}")
        };
        let kinds: Vec<_> = error.looked.iter().map(|p| p.kind).collect();
        let expected = [
            "given directory",
            "given directory",
            "TALLOW_DATA",
            "user cache",
            "system directory",
        ];
        assert_eq!(kinds, expected);
        let text = error.to_string();
        for part in [
            "dataset `mnist` was not found",
            "has train-images-idx3-ubyte.gz but not train-labels-idx1-ubyte.gz",
            "TALLOW_DATA: not set",
            &given.display().to_string(),
            &root.path().join("system/mnist").display().to_string(),
            "To get it:",
        ] {
            assert!(text.contains(part), "`{part}` is missing from: {text}");
        }
    }

    #[test]
    fn a_given_directory_that_is_not_there_ends_the_search() {
        let root = tempfile::tempdir().unwrap();
        mnist(&root.path().join("cache/mnist"));
        let places = Places {
            given: Some(root.path().join("typo")),
            cache: Some(root.path().join("cache")),
            ..Default::default()
        };
        let error = places
            .find(entry("mnist").unwrap(), Split::Train)
            .unwrap_err()
            .to_string();
        assert!(error.contains("typo (no such directory)"), "{error}");
    }

    #[test]
    fn what_other_tools_unpack_is_found() {
        let cases = [
            (
                "mnist",
                "mnist/raw/train-images-idx3-ubyte mnist/raw/train-labels-idx1-ubyte.gz",
            ),
            ("emnist-letters", "emnist/gzip.zip"),
            (
                "emnist-letters",
                "emnist/gzip/emnist-letters-train-images-idx3-ubyte.gz \
                 emnist/gzip/emnist-letters-train-labels-idx1-ubyte.gz",
            ),
            ("cifar10", "cifar10/cifar-10-binary.tar.gz"),
            ("cifar100-coarse", "cifar100/cifar-100-binary/train.bin"),
            ("cifar10", "cifar10/plain_text/train-00000-of-00001.parquet"),
            (
                "cifar10",
                "cifar10/train-00000-of-00002.parquet cifar10/train-00001-of-00002.parquet",
            ),
            ("cifar10", "cifar10/train.parquet"),
            // As torchvision and Keras leave them.
            (
                "mnist",
                "MNIST/raw/train-images-idx3-ubyte.gz MNIST/raw/train-labels-idx1-ubyte.gz",
            ),
            (
                "fashion-mnist",
                "FashionMNIST/raw/train-images-idx3-ubyte FashionMNIST/raw/train-labels-idx1-ubyte",
            ),
            ("mnist", "mnist/mnist.npz"),
            ("cifar10", "cifar10/cifar-10-python.tar.gz"),
            ("cifar100", "cifar-100-python/train"),
            ("cifar100-coarse", "cifar100/cifar-100-python.tar.gz"),
            // As archivers on Windows and Kaggle name them.
            (
                "mnist",
                "mnist/train-images.idx3-ubyte mnist/train-labels.idx1-ubyte.gz",
            ),
            (
                "mnist",
                "mnist/train-images-idx3-ubyte/train-images-idx3-ubyte \
                 mnist/train-labels-idx1-ubyte/train-labels-idx1-ubyte",
            ),
            // As the hub has named them.
            ("cifar10", "cifar10/plain_text/train/0000.parquet"),
            (
                "mnist",
                "mnist/data/train-00000-of-00001-b42d7ba5d9ec5ed5.parquet",
            ),
            (
                "fashion-mnist",
                "fashion-mnist/fashion_mnist/fashion_mnist-train.parquet",
            ),
            (
                "cifar100",
                "cifar100/cifar100/train/0000.parquet cifar100/cifar100/train/0001.parquet",
            ),
        ];
        for (name, files) in cases {
            let root = tempfile::tempdir().unwrap();
            files
                .split_whitespace()
                .for_each(|f| touch(root.path().join(f)));
            let places = Places {
                env: Some(root.path().into()),
                ..Default::default()
            };
            let found = places.find(entry(name).unwrap(), Split::Train).unwrap();
            let expected: Vec<_> = files
                .split_whitespace()
                .map(|f| root.path().join(f))
                .collect();
            assert_eq!(found.files, expected);
        }
    }

    #[test]
    fn what_is_near_is_named_with_the_reason() {
        for (name, file, reason) in [
            ("mnist", "a/b/train-images-idx3-ubyte", "name the folder"),
            (
                "mnist",
                "train-images-idx3-ubyte.gz.part",
                "an unfinished download",
            ),
            (
                "cifar10",
                "data/training-0.parquet",
                "the train split or a shard of it",
            ),
            ("cifar10", "data-00000-of-00001.arrow", "Dataset.to_parquet"),
            ("mnist", "processed/training.pt", "its folder raw is"),
            ("cifar10", "cifar-10.zip", "unpack it"),
            ("mnist", "mnist_train.csv", "a CSV file"),
            ("cifar100", "cifar-100-matlab/train.mat", "a MATLAB file"),
        ] {
            let root = tempfile::tempdir().unwrap();
            touch(root.path().join(file));
            let places = Places {
                given: Some(root.path().into()),
                ..Default::default()
            };
            let error = places
                .find(entry(name).unwrap(), Split::Train)
                .unwrap_err()
                .to_string();
            let file = Path::new(file).display().to_string();
            assert!(error.contains(&file) && error.contains(reason), "{error}");
        }
    }

    #[test]
    fn missing_and_doubled_shards_are_refused() {
        for names in [
            &["train-00001-of-00002.parquet"][..],
            &["plain_text/train/0001.parquet"],
            &[
                "train-00000-of-00002.parquet",
                "train-00000-of-00001.parquet",
            ],
        ] {
            let root = tempfile::tempdir().unwrap();
            names
                .iter()
                .for_each(|n| touch(root.path().join("cifar10").join(n)));
            let places = Places {
                env: Some(root.path().into()),
                ..Default::default()
            };
            let error = places
                .find(entry("cifar10").unwrap(), Split::Train)
                .unwrap_err();
            assert!(error.to_string().contains("once each"), "{error}");
        }
    }
}
