use std::collections::HashSet;
use std::fs;
use std::path::Path;

use candle_core::safetensors::SliceSafetensors;
use candle_core::{Device, Tensor};

use crate::error::{Error, Result};
use crate::weights::checkpoint;
use crate::weights::error::{self, WeightsProblem};
use crate::weights::file::WeightsFile;
use crate::weights::shards::{self, Files};

/// Tensors of a file of weights by name, on the CPU, with the names and types of the file.
///
/// The format is recognised by the content, not the name:
/// - safetensors;
/// - a PyTorch checkpoint (`.pt`, `.pth`, `.th`, `.ckpt`) in either of the formats that `torch.save` has written. It is a state dict, or
///   contains one as `state_dict`, `model_state_dict`, `model` or `net`, or under another key where it is the only one;
/// - the index of weights in several such files (`model.safetensors.index.json`), which lie beside it.
///
/// Tensors of a checkpoint come in its order, those of safetensors sorted by name.
///
/// A checkpoint is a pickle, which in Python is a program. Here it is read as data and nothing is executed. Objects of any class beside
/// the weights, such as the hyper-parameters of a training script, are left out.
///
/// # Errors
/// [`Error::Weights`], with the file, what was expected and what was found. No file causes a panic or uses memory out of proportion to
/// its size.
pub fn read_weights(path: impl AsRef<Path>) -> Result<Vec<(String, Tensor)>> {
    Ok(read_file(path.as_ref(), None)?.tensors)
}

/// Content of a file of weights: the set of weights with this key.
pub(super) fn read_file(path: &Path, key: Option<&str>) -> Result<WeightsFile> {
    read(path, key).map_err(|problem| Error::Weights {
        path: path.into(),
        problem,
    })
}

fn read(path: &Path, key: Option<&str>) -> error::Result<WeightsFile> {
    let bytes = read_bytes(path)?;
    if bytes.starts_with(b"{")
        && let Some(files) = shards::of_index(&bytes)?
    {
        return read_shards(path, &files, key);
    }
    read_whole(path, &bytes, key)
}

/// Tensors of all files of an index.
fn read_shards(index: &Path, files: &Files, key: Option<&str>) -> error::Result<WeightsFile> {
    let mut all = WeightsFile {
        rest: key.map(String::from),
        ..WeightsFile::default()
    };
    for (file, names) in files {
        let damaged = |found: String| WeightsProblem::Damaged {
            format: "set of files of weights",
            found: format!("{file}: {found}"),
        };
        let path = index.with_file_name(file);
        let bytes = read_bytes(&path).map_err(|e| damaged(e.to_string()))?;
        let part = read_whole(&path, &bytes, None).map_err(|e| damaged(e.to_string()))?;
        let listed: HashSet<&str> = names.iter().map(String::as_str).collect();
        let tensors = part.tensors.into_iter();
        let tensors: Vec<_> = tensors
            .filter(|(name, _)| listed.contains(name.as_str()))
            .collect();
        let there: HashSet<&str> = tensors.iter().map(|(name, _)| name.as_str()).collect();
        if let Some(absent) = names.iter().find(|name| !there.contains(name.as_str())) {
            return Err(damaged(format!(
                "no `{absent}`, which the index lists there"
            )));
        }
        all.tensors.extend(tensors);
    }
    Ok(all)
}

fn read_bytes(path: &Path) -> error::Result<Vec<u8>> {
    // A pipe or a device might never end.
    if !fs::metadata(path)?.is_file() {
        return Err(WeightsProblem::Kind {
            found: "no regular file".into(),
        });
    }
    Ok(fs::read(path)?)
}

fn read_whole(path: &Path, bytes: &[u8], key: Option<&str>) -> error::Result<WeightsFile> {
    if bytes.starts_with(b"PK\x03\x04") {
        return checkpoint::read_zip(bytes, key);
    }
    if bytes.starts_with(checkpoint::LEGACY_MAGIC) {
        return checkpoint::read_legacy(bytes, key);
    }
    if let Some(found) = other_kind(bytes) {
        return Err(WeightsProblem::Kind {
            found: found.into(),
        });
    }
    // Eight bytes of length, then JSON.
    let named = path
        .extension()
        .is_some_and(|e| e.eq_ignore_ascii_case("safetensors"));
    if !named && bytes.get(8) != Some(&b'{') {
        let start = &bytes[..bytes.len().min(8)];
        return Err(WeightsProblem::Kind {
            found: format!("a file that begins with {}", start.escape_ascii()),
        });
    }
    Ok(WeightsFile {
        tensors: read_safetensors(bytes)?,
        rest: key.map(String::from),
        ..WeightsFile::default()
    })
}

fn read_safetensors(bytes: &[u8]) -> error::Result<Vec<(String, Tensor)>> {
    let damaged = |found: String| WeightsProblem::Damaged {
        format: "safetensors file",
        found,
    };
    // Opening checks the header against the file's length before anything is allocated.
    let file = SliceSafetensors::new(bytes).map_err(|e| damaged(e.to_string()))?;
    let mut names: Vec<String> = file.tensors().into_iter().map(|(name, _)| name).collect();
    names.sort_unstable();
    let load = |name: String| match file.load(&name, &Device::Cpu) {
        Ok(tensor) => Ok((name, tensor)),
        Err(candle_core::Error::UnsupportedSafeTensorDtype(found)) => Err(WeightsProblem::Type {
            tensor: name,
            expected: "numbers of 8 to 64 bits, floating-point or integer",
            found: format!("{found:?}"),
        }),
        Err(error) => Err(damaged(format!("`{name}`: {error}"))),
    };
    names.into_iter().map(load).collect()
}

/// Description of a file of another kind, by its first bytes.
fn other_kind(bytes: &[u8]) -> Option<&'static str> {
    let kinds: [(&[u8], &str); 9] = [
        (b"\x80", "a Python pickle that torch.save did not write"),
        (b"\x89HDF", "an HDF5 file (Keras)"),
        (b"GGUF", "a GGUF file"),
        (b"\x1f\x8b", "a gzip file; unpack it first"),
        (b"\x93NUMPY", "a NumPy array"),
        (
            b"version https://git-lfs",
            "a Git LFS pointer, in place of the file that it stands for",
        ),
        (b"<", "a web page or XML"),
        (b"{", "JSON"),
        (b"PK", "a zip archive without entries"),
    ];
    if bytes.is_empty() {
        return Some("an empty file");
    }
    if bytes.get(257..262) == Some(b"ustar") {
        return Some(
            "a tar archive, which PyTorch wrote before version 0.1.10; save it again with a newer one",
        );
    }
    // A safetensors header may be 0x80 or 0x3c bytes long; its own first byte tells.
    if bytes.get(8) == Some(&b'{') && bytes.get(7) == Some(&0) {
        return None;
    }
    kinds
        .iter()
        .find(|(start, _)| bytes.starts_with(start))
        .map(|(_, kind)| *kind)
}
