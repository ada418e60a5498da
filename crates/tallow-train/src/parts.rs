//! State of the parts of a run in a checkpoint.

use std::collections::BTreeMap;
use std::path::Path;

use candle_core::{Device, Tensor};
use serde_json::Value;

use crate::error::{Error, Result};
use crate::files::write_atomic;

/// State of a part of a run in a checkpoint, such as a callback: tensors by name, and other values as JSON.
///
/// Floats keep every bit, except that JSON has no infinity and no NaN.
#[derive(Clone, Debug, Default)]
pub struct PartState {
    /// Tensors by name. A name is unique within the part.
    pub tensors: Vec<(String, Tensor)>,
    /// Values that are no tensors; `Value::Null` if there are none.
    pub values: Value,
}

impl PartState {
    /// State without tensors: `values` as JSON.
    ///
    /// # Errors
    /// [`Error::Config`] when `values` cannot be written as JSON.
    pub fn of_values(values: &impl serde::Serialize) -> Result<Self> {
        let values = serde_json::to_value(values)
            .map_err(|error| Error::config("state", error.to_string()))?;
        Ok(Self {
            tensors: Vec::new(),
            values,
        })
    }

    /// The values, as the type from which [`of_values`](Self::of_values) made them.
    ///
    /// # Errors
    /// [`Error::Config`] when they are of another type: the state is of another part or version.
    pub fn read_values<T: serde::de::DeserializeOwned>(&self) -> Result<T> {
        serde_json::from_value(self.values.clone()).map_err(|error| {
            Error::config(
                "state",
                format!("{error}: it is of another part or version"),
            )
        })
    }
}

/// States of all parts of a run, by name. A name has no `/`.
#[derive(Clone, Debug, Default)]
pub(crate) struct Parts(BTreeMap<String, PartState>);

impl Parts {
    /// Adds the state of a part.
    ///
    /// # Errors
    /// [`Error::Config`] when there is another part of this name.
    pub fn put(&mut self, name: impl Into<String>, state: PartState) -> Result<()> {
        let name = name.into();
        if name.contains('/') {
            let message = format!("`{name}` contains `/`, which a name in a checkpoint may not");
            return Err(Error::config("state", message));
        }
        if self.0.contains_key(&name) {
            let message = format!(
                "two parts of the run are named `{name}` in a checkpoint: give one another `state_key`"
            );
            return Err(Error::config("state", message));
        }
        self.0.insert(name, state);
        Ok(())
    }

    /// Takes the state of a part out, to load it.
    ///
    /// # Errors
    /// [`Error::Config`] when there is none: the run of the checkpoint had no such part.
    pub fn take(&mut self, name: &str) -> Result<PartState> {
        self.0.remove(name).ok_or_else(|| {
            let message = format!("the run was started without `{name}`, which this one has");
            Error::config("state", message)
        })
    }

    /// Checks that every state was taken.
    ///
    /// # Errors
    /// [`Error::Config`] names those that are left: the run of the checkpoint had parts that this one lacks.
    pub fn finish(self) -> Result<()> {
        if self.0.is_empty() {
            return Ok(());
        }
        let names: Vec<String> = self.0.keys().map(|name| format!("`{name}`")).collect();
        let message = format!(
            "the run was started with {}, which this one lacks",
            names.join(", ")
        );
        Err(Error::config("state", message))
    }

    /// Values of the parts, for a file of JSON.
    pub fn values(&self) -> BTreeMap<String, Value> {
        let parts = self.0.iter();
        parts
            .map(|(name, state)| (name.clone(), state.values.clone()))
            .collect()
    }

    /// Writes the tensors of all parts to a safetensors file, each as `<part>/<name>`; no file without tensors.
    pub fn save_tensors(&self, path: &Path) -> Result<()> {
        let mut tensors = Vec::new();
        for (part, state) in &self.0 {
            for (name, tensor) in &state.tensors {
                tensors.push((format!("{part}/{name}"), tensor));
            }
        }
        if tensors.is_empty() {
            return Ok(());
        }
        let bytes = safetensors::serialize(tensors, None).map_err(|e| Error::mismatch(path, e))?;
        write_atomic(path, &bytes)
    }

    /// Parts with these values and the tensors that [`save_tensors`](Self::save_tensors) wrote; `count` is their number.
    pub fn load(values: BTreeMap<String, Value>, count: usize, path: &Path) -> Result<Self> {
        let mut parts = BTreeMap::new();
        for (name, values) in values {
            let tensors = Vec::new();
            parts.insert(name, PartState { tensors, values });
        }
        if count == 0 {
            return Ok(Self(parts));
        }
        let bytes = std::fs::read(path).map_err(Error::io(path))?;
        let tensors = candle_core::safetensors::load_buffer(&bytes, &Device::Cpu)
            .map_err(|error| Error::mismatch(path, error))?;
        if tensors.len() != count {
            let message = format!("{} tensors, expected {count}", tensors.len());
            return Err(Error::mismatch(path, message));
        }
        let mut tensors: Vec<_> = tensors.into_iter().collect();
        tensors.sort_by(|a, b| a.0.cmp(&b.0));
        for (name, tensor) in tensors {
            let found = name.split_once('/');
            let part = found.and_then(|(part, name)| Some((parts.get_mut(part)?, name)));
            let Some((part, name)) = part else {
                let message = format!("tensor `{name}` is of no part of the run");
                return Err(Error::mismatch(path, message));
            };
            part.tensors.push((name.to_string(), tensor));
        }
        Ok(Self(parts))
    }

    /// Number of tensors of all parts.
    pub fn tensors(&self) -> usize {
        self.0.values().map(|state| state.tensors.len()).sum()
    }
}
