//! Damaged checkpoints and safetensors.

use std::collections::HashMap;
use std::fs;
use std::io::{Cursor, Read, Write};
use std::path::{Path, PathBuf};

use anyhow::Result;
use candle_core::{DType, Device, Tensor};
use rand_chacha::ChaCha8Rng;
use tallow_models::read_weights;
use tempfile::TempDir;
use zip::write::SimpleFileOptions;
use zip::{CompressionMethod, ZipArchive, ZipWriter};

use super::change::{below, change};
use super::files::samples;
use super::target::Target;

/// Reader of weights.
pub(super) struct Checkpoints {
    samples: Vec<Sample>,
    dir: TempDir,
}

struct Sample {
    name: String,
    bytes: Vec<u8>,
    /// Files in the archive, if it is one.
    entries: Vec<(String, Vec<u8>)>,
}

impl Checkpoints {
    pub fn new(crates: &Path) -> Result<Self> {
        let dir = tempfile::tempdir()?;
        let mut samples = samples(
            &crates.join("tallow-models/tests/fixtures/checkpoints"),
            &["pth", "pt", "th", "tar", "ckpt"],
        )?;
        samples.extend(safetensors(dir.path())?);
        let samples = samples.into_iter().map(Sample::new);
        Ok(Self {
            samples: samples.collect::<Result<_>>()?,
            dir,
        })
    }
}

/// A file of weights and the index of one.
fn safetensors(dir: &Path) -> Result<Vec<(PathBuf, Vec<u8>)>> {
    let path = dir.join("part.safetensors");
    let mut tensors = HashMap::new();
    for (name, dtype) in [("a.weight", DType::F32), ("a.bias", DType::BF16)] {
        let tensor = Tensor::arange(0f32, 6f32, &Device::Cpu)?;
        tensors.insert(name, tensor.reshape((2, 3))?.to_dtype(dtype)?);
    }
    candle_core::safetensors::save(&tensors, &path)?;
    let bytes = fs::read(&path)?;
    let index = serde_json::json!({
        "metadata": { "total_size": 36 },
        "weight_map": { "a.weight": "part.safetensors", "a.bias": "part.safetensors" },
    });
    let index = serde_json::to_vec(&index)?;
    // The part stays undamaged for the index.
    Ok(vec![
        (dir.join("model.safetensors"), bytes),
        (dir.join("model.safetensors.index.json"), index),
    ])
}

impl Sample {
    fn new((path, bytes): (PathBuf, Vec<u8>)) -> Result<Self> {
        let name = path.file_name().unwrap_or_default().to_string_lossy();
        let mut entries = Vec::new();
        if bytes.starts_with(b"PK") {
            let mut zip = ZipArchive::new(Cursor::new(&bytes))?;
            for index in 0..zip.len() {
                let mut entry = zip.by_index(index)?;
                let mut content = Vec::new();
                entry.read_to_end(&mut content)?;
                entries.push((entry.name()?.into_owned(), content));
            }
        }
        Ok(Self {
            name: name.into_owned(),
            bytes,
            entries,
        })
    }

    /// The archive with one damaged entry, most often the pickle, and right checksums, which would otherwise hide the damage from all that
    /// reads the entry.
    fn with_damaged_entry(&self, rng: &mut ChaCha8Rng) -> Result<Vec<u8>> {
        let pickle = self
            .entries
            .iter()
            .position(|(name, _)| name.ends_with("data.pkl"));
        let chosen = match pickle {
            Some(pickle) if below(rng, 4) > 0 => pickle,
            _ => below(rng, self.entries.len()),
        };
        let other = &self.entries[below(rng, self.entries.len())].1;
        let mut zip = ZipWriter::new(Cursor::new(Vec::new()));
        let method = match below(rng, 4) {
            0 => CompressionMethod::Deflated,
            _ => CompressionMethod::Stored,
        };
        for (index, (name, content)) in self.entries.iter().enumerate() {
            let options = SimpleFileOptions::default().compression_method(method);
            zip.start_file(name.as_str(), options)?;
            if index == chosen {
                let mut content = content.clone();
                change(&mut content, other, rng);
                zip.write_all(&content)?;
            } else {
                zip.write_all(content)?;
            }
        }
        Ok(zip.finish()?.into_inner())
    }
}

impl Target for Checkpoints {
    fn read(&mut self, rng: &mut ChaCha8Rng) -> Result<bool> {
        let sample = &self.samples[below(rng, self.samples.len())];
        let bytes = if !sample.entries.is_empty() && below(rng, 4) > 0 {
            sample.with_damaged_entry(rng)?
        } else {
            let other = &self.samples[below(rng, self.samples.len())].bytes;
            let mut bytes = sample.bytes.clone();
            change(&mut bytes, other, rng);
            bytes
        };
        let path = self.dir.path().join(&sample.name);
        fs::write(&path, &bytes)?;
        Ok(read_weights(&path).is_ok())
    }
}
