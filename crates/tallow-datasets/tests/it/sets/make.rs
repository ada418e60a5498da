//! Files for the other modules, made in temporary directories.

use std::fs;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use flate2::Compression;
use flate2::write::GzEncoder;
use tallow_datasets::{Dataset, LoadOptions, Result, Split, load, load_validation};
use tempfile::TempDir;

/// A directory that is the only place looked at.
pub struct Dir(TempDir);

impl Dir {
    pub fn new() -> Self {
        Self(tempfile::tempdir().unwrap())
    }

    pub fn path(&self, name: &str) -> PathBuf {
        self.0.path().join(name)
    }

    pub fn write(&self, name: &str, bytes: impl AsRef<[u8]>) -> &Self {
        let path = self.path(name);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, bytes).unwrap();
        self
    }

    pub fn options(&self) -> LoadOptions {
        LoadOptions {
            data_dir: Some(self.0.path().into()),
            cache_dir: Some(self.path("no-cache")),
            ..Default::default()
        }
    }

    pub fn load(&self, name: &str, split: Split) -> Result<Arc<dyn Dataset>> {
        load(name, split, &self.options())
    }

    pub fn train(&self, name: &str) -> Arc<dyn Dataset> {
        self.load(name, Split::Train).unwrap()
    }

    /// Validation split of a dataset that has one.
    pub fn validation(&self, name: &str) -> Option<Arc<dyn Dataset>> {
        load_validation(name, &self.options()).unwrap()
    }

    /// The message of the error that loading the training split gives.
    pub fn error(&self, name: &str) -> String {
        match self.load(name, Split::Train) {
            Ok(set) => panic!("{name} was loaded: {:?}", set.info()),
            Err(error) => error.to_string(),
        }
    }

    /// Loading must fail with a message that names `file` and has `parts`.
    pub fn fails(&self, name: &str, file: &str, parts: &[&str]) {
        let error = self.error(name);
        let file = self.path(file).display().to_string();
        for part in parts.iter().chain([&file.as_str()]) {
            assert!(error.contains(part), "`{part}` is missing from: {error}");
        }
    }
}

pub fn gz(bytes: impl AsRef<[u8]>) -> Vec<u8> {
    let mut encoder = GzEncoder::new(Vec::new(), Compression::fast());
    encoder.write_all(bytes.as_ref()).unwrap();
    encoder.finish().unwrap()
}

pub fn idx_images(n: u32, height: u32, width: u32, pixels: &[u8]) -> Vec<u8> {
    let mut bytes = Vec::new();
    for word in [0x803, n, height, width] {
        bytes.extend(word.to_be_bytes());
    }
    bytes.extend(pixels);
    bytes
}

pub fn idx_labels(n: u32, labels: &[u8]) -> Vec<u8> {
    let mut bytes = Vec::new();
    for word in [0x801, n] {
        bytes.extend(word.to_be_bytes());
    }
    bytes.extend(labels);
    bytes
}

/// Pixels of `n` images of `size` bytes that differ in every place.
pub fn pixels(n: usize, size: usize) -> Vec<u8> {
    (0..n * size)
        .map(|i| (i * 31 + i / size * 7 + i / 251) as u8)
        .collect()
}

pub fn planes(set: &dyn Dataset) -> Vec<u8> {
    let mut scratch = Vec::new();
    (0..set.len())
        .flat_map(|i| set.image(i, &mut scratch).unwrap().data.to_vec())
        .collect()
}

pub fn labels(set: &dyn Dataset) -> Vec<u32> {
    (0..set.len()).map(|i| set.label(i).unwrap()).collect()
}

pub fn fixture(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("tests/fixtures")
        .join(name)
}

pub fn fixture_bytes(name: &str) -> Vec<u8> {
    fs::read(fixture(name)).unwrap()
}
