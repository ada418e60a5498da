//! Loading of weights into a store.

use std::collections::{HashMap, HashSet};
use std::fmt::Display;
use std::fs;
use std::path::Path;

use candle_core::{Shape, Tensor};
use safetensors::SafeTensors;

use super::ParamStore;
use crate::error::{Error, Result};

impl ParamStore {
    /// Copies `tensors` into the parameters and buffers of the same names, in place, as `torch.nn.Module.load_state_dict`. The
    /// type is converted where it differs.
    ///
    /// Without `strict`, tensors that fit are loaded and the report lists the others. In a store by [`skip_init`](Self::skip_init) those that
    /// were not loaded stay uninitialized; [`init_missing`](Self::init_missing) draws them.
    ///
    /// # Errors
    /// With `strict`, any missing or unexpected tensor or different shape. The error lists all of them, and nothing is changed.
    pub fn load_state_dict(
        &self,
        tensors: &[(String, Tensor)],
        strict: bool,
    ) -> Result<LoadReport> {
        let found = tensors
            .iter()
            .map(|(name, tensor)| (name.as_str(), tensor))
            .collect();
        self.set_all(&found, strict, |message| Error::Config {
            op: "load_state_dict",
            message,
        })
    }

    /// Loads a safetensors file into the parameters and buffers, as [`ParamStore::load_state_dict`].
    ///
    /// # Errors
    /// As there; also if the file cannot be read, is truncated or is not safetensors. Nothing is changed then.
    pub fn load(&self, path: impl AsRef<Path>, strict: bool) -> Result<LoadReport> {
        let path = path.as_ref();
        let bytes = fs::read(path).map_err(|source| Error::Io {
            path: path.into(),
            source,
        })?;
        // The header is checked first, so that candle does not allocate for shapes that the file does not hold.
        SafeTensors::deserialize(&bytes)
            .map_err(|e| Error::weights(path, format!("not a whole safetensors file: {e}")))?;
        let tensors = candle_core::safetensors::load_buffer(&bytes, &self.device)
            .map_err(|e| Error::weights(path, e))?;
        let found = tensors
            .iter()
            .map(|(name, tensor)| (name.as_str(), tensor))
            .collect();
        self.set_all(&found, strict, |message| Error::weights(path, message))
    }

    fn set_all(
        &self,
        found: &HashMap<&str, &Tensor>,
        strict: bool,
        error: impl Fn(String) -> Error,
    ) -> Result<LoadReport> {
        let entries = self.entries();
        let mut report = LoadReport::default();
        let mut ready = Vec::new();
        for (index, entry) in entries.iter().enumerate() {
            match found.get(entry.name.as_str()) {
                None => report.missing.push(entry.name.clone()),
                Some(tensor) if tensor.shape() != entry.var.shape() => {
                    report.mis_shaped.push(MisShaped {
                        name: entry.name.clone(),
                        expected: entry.var.shape().clone(),
                        found: tensor.shape().clone(),
                    });
                }
                // The copy lets a state be loaded back into the variables it still shares memory with.
                Some(tensor) => ready.push((
                    index,
                    tensor
                        .to_dtype(entry.var.dtype())?
                        .to_device(&self.device)?
                        .copy()?,
                )),
            }
        }
        let known: HashSet<&str> = entries.iter().map(|e| e.name.as_str()).collect();
        report.unexpected = found
            .keys()
            .filter(|name| !known.contains(*name))
            .map(|name| name.to_string())
            .collect();
        report.unexpected.sort_unstable();
        if strict && !report.is_clean() {
            return Err(error(format!("the weights do not fit the model: {report}")));
        }
        // No conversion can fail from here on: the model changes as a whole.
        for (index, tensor) in ready {
            entries[index].var.set(&tensor)?;
            self.mark_initialized(index);
        }
        Ok(report)
    }
}

/// Result of loading weights: the tensors that do not match the model.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct LoadReport {
    /// Names in the model but not in the file, in creation order.
    pub missing: Vec<String>,
    /// Names in the file but not in the model, sorted.
    pub unexpected: Vec<String>,
    /// Tensors in both with different shapes, in creation order.
    pub mis_shaped: Vec<MisShaped>,
}

/// Tensor with different shapes in the file and in the model.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct MisShaped {
    /// Name of the parameter or buffer.
    pub name: String,
    /// Shape in the model.
    pub expected: Shape,
    /// Shape in the file.
    pub found: Shape,
}

impl LoadReport {
    /// True if all tensors match.
    pub fn is_clean(&self) -> bool {
        self.missing.is_empty() && self.unexpected.is_empty() && self.mis_shaped.is_empty()
    }
}

impl Display for LoadReport {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        if self.is_clean() {
            return f.write_str("all fitted");
        }
        let mut parts = Vec::new();
        if !self.missing.is_empty() {
            parts.push(format!("missing {}", self.missing.join(", ")));
        }
        if !self.unexpected.is_empty() {
            parts.push(format!("unexpected {}", self.unexpected.join(", ")));
        }
        for m in &self.mis_shaped {
            parts.push(format!(
                "{} expected {:?}, found {:?}",
                m.name,
                m.expected.dims(),
                m.found.dims()
            ));
        }
        f.write_str(&parts.join("; "))
    }
}
