//! Damaged pictures and Parquet files.

use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, ensure};
use rand_chacha::ChaCha8Rng;
use tallow_datasets::{LoadOptions, PictureOptions, Split, Streaming, decode_picture, load};
use tempfile::TempDir;

use super::change::{below, change};
use super::target::Target;

/// Files of `dir` with one of these extensions, sorted by name.
pub(super) fn samples(dir: &Path, extensions: &[&str]) -> Result<Vec<(PathBuf, Vec<u8>)>> {
    let mut samples = Vec::new();
    let entries = fs::read_dir(dir).with_context(|| format!("reading {}", dir.display()))?;
    for entry in entries {
        let path = entry?.path();
        let extension = path.extension().and_then(|e| e.to_str());
        if extension.is_some_and(|e| extensions.contains(&e)) {
            let bytes = fs::read(&path)?;
            samples.push((path, bytes));
        }
    }
    ensure!(!samples.is_empty(), "no files in {}", dir.display());
    samples.sort();
    Ok(samples)
}

/// Decoder of pictures.
pub(super) struct Pictures {
    samples: Vec<Vec<u8>>,
    options: PictureOptions,
}

impl Pictures {
    pub fn new(crates: &Path) -> Result<Self> {
        let extensions = [
            "jpg", "png", "webp", "gif", "tif", "bmp", "ppm", "pgm", "pbm",
        ];
        let mut all = Vec::new();
        for folder in ["folder", "pictures"] {
            let dir = crates.join("tallow-datasets/tests/fixtures").join(folder);
            all.extend(samples(&dir, &extensions)?);
        }
        Ok(Self {
            samples: all.into_iter().map(|(_, bytes)| bytes).collect(),
            options: PictureOptions::default(),
        })
    }
}

impl Target for Pictures {
    fn read(&mut self, rng: &mut ChaCha8Rng) -> Result<bool> {
        let mut bytes = self.samples[below(rng, self.samples.len())].clone();
        let other = &self.samples[below(rng, self.samples.len())];
        change(&mut bytes, other, rng);
        Ok(decode_picture(&bytes, &self.options).is_ok())
    }
}

/// Readers of datasets in Parquet files: whole sets of the catalogue, and single pictures.
pub(super) struct Parquet {
    samples: Vec<(String, Vec<u8>)>,
    dir: TempDir,
    options: LoadOptions,
}

impl Parquet {
    pub fn new(crates: &Path) -> Result<Self> {
        let dir = crates.join("tallow-datasets/tests/fixtures");
        let mut named = Vec::new();
        for (path, bytes) in samples(&dir, &["parquet"])? {
            let name = path.file_name().unwrap_or_default().to_string_lossy();
            // The file's name begins with that of its dataset.
            let dataset = name.split('-').next().unwrap_or_default();
            named.push((dataset.to_string(), bytes));
        }
        let dir = tempfile::tempdir()?;
        let options = LoadOptions {
            data_dir: Some(dir.path().into()),
            cache_dir: Some(dir.path().join("no-cache")),
            streaming: Streaming {
                on: Some(true),
                ..Streaming::default()
            },
            ..LoadOptions::default()
        };
        Ok(Self {
            samples: named,
            dir,
            options,
        })
    }
}

impl Target for Parquet {
    fn read(&mut self, rng: &mut ChaCha8Rng) -> Result<bool> {
        let (dataset, bytes) = &self.samples[below(rng, self.samples.len())];
        let other = &self.samples[below(rng, self.samples.len())].1;
        let mut bytes = bytes.clone();
        change(&mut bytes, other, rng);
        let dir = self.dir.path().join(dataset);
        fs::create_dir_all(&dir)?;
        let file = dir.join("train.parquet");
        fs::write(&file, &bytes)?;
        let whole = load(dataset, Split::Train, &self.options).is_ok();
        let single = format!("parquet:{}", file.display());
        let single = load(&single, Split::Train, &self.options).is_ok_and(|set| {
            let mut scratch = Vec::new();
            (0..set.len()).all(|index| set.image(index, &mut scratch).is_ok())
        });
        Ok(whole || single)
    }
}
