use std::fs;
use std::path::Path;

use candle_core::safetensors::SliceSafetensors;
use candle_core::{Device, Tensor};

use crate::error::{Error, Result};
use crate::weights::checkpoint;
use crate::weights::error::{self, WeightsProblem};

/// Tensors of a file of weights by name, on the CPU, with the names and types of the file.
///
/// The format is recognised by the content, not the name: safetensors; or a PyTorch checkpoint (`.pt`, `.pth`, `.th`) in either of the
/// formats that `torch.save` has written, which is a state dict, or a dict with a state dict as its `state_dict`,
/// `model_state_dict`, `model` or `net`. Tensors of a checkpoint come in its order, those of safetensors sorted by name.
///
/// A checkpoint is a pickle, which in Python is a program. Here it is read as data, as by `torch.load(weights_only=True)`: nothing
/// is executed, and a file that names code is refused.
///
/// # Errors
/// [`Error::Weights`], with the file, what was expected and what was found. No file causes a panic or uses memory out of proportion to
/// its size.
pub fn read_weights(path: impl AsRef<Path>) -> Result<Vec<(String, Tensor)>> {
    let path = path.as_ref();
    read(path).map_err(|problem| Error::Weights {
        path: path.into(),
        problem,
    })
}

fn read(path: &Path) -> error::Result<Vec<(String, Tensor)>> {
    // A pipe or a device might never end.
    if !fs::metadata(path)?.is_file() {
        return Err(WeightsProblem::Kind {
            found: "no regular file".into(),
        });
    }
    let bytes = fs::read(path)?;
    if bytes.starts_with(b"PK\x03\x04") {
        return checkpoint::read_zip(&bytes);
    }
    if bytes.starts_with(checkpoint::LEGACY_MAGIC) {
        return checkpoint::read_legacy(&bytes);
    }
    if let Some(found) = other_kind(&bytes) {
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
    read_safetensors(&bytes)
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
