use std::collections::{HashMap, HashSet};
use std::fmt::Display;
use std::fs;
use std::io::{self, Write};
use std::path::Path;
use std::sync::{Arc, Mutex, PoisonError};

use candle_core::{DType, Device, Shape, Tensor, Var};
use safetensors::SafeTensors;

use crate::error::{Error, Result};
use crate::generator::Generator;
use crate::init::Init;

/// Parameters and buffers of a model by name, in creation order. A clone is another handle to the same store.
///
/// A *parameter* is trained; a *buffer* (running statistics) is saved with the model but not trained, as in `torch.nn.Module`.
/// (`candle_nn::VarMap` iterates in hash order, which changes from run to run, and with it the order of every sum over
/// parameters.)
///
/// ```
/// use candle_core::{DType, Device};
/// use tallow_ops::{Init, ParamStore};
///
/// let store = ParamStore::new(DType::F32, &Device::Cpu, 0);
/// let weight = store.root().pp("features").pp(0).param("weight", (6, 3, 5, 5), Init::Const(0.))?;
/// assert_eq!(weight.dims(), [6, 3, 5, 5]);
/// assert_eq!(store.parameters()[0].0, "features.0.weight");
/// assert_eq!(store.num_parameters(), 450);
/// # Ok::<(), tallow_ops::Error>(())
/// ```
#[derive(Clone, Debug)]
pub struct ParamStore {
    entries: Arc<Mutex<Vec<Entry>>>,
    dtype: DType,
    device: Device,
    generator: Generator,
}

#[derive(Clone, Debug)]
struct Entry {
    name: String,
    var: Var,
    trained: bool,
}

impl ParamStore {
    /// Empty store. New parameters have type `dtype` and are on `device`; their values are drawn from a [`Generator`] of `seed`.
    pub fn new(dtype: DType, device: &Device, seed: u64) -> Self {
        Self {
            entries: Arc::default(),
            dtype,
            device: device.clone(),
            generator: Generator::new(seed),
        }
    }

    /// A store of variables that were made elsewhere, sorted by name: for a model built with `candle_nn::VarBuilder`, those of its `VarMap`.
    ///
    /// The variables are shared, not copied. A variable whose last name is `running_mean` or `running_var` is a buffer, any other a
    /// parameter. The element type and device of the store are those of the first variable; `seed` is that of its [`Generator`].
    ///
    /// ```
    /// use std::collections::HashMap;
    ///
    /// use candle_core::{DType, Device, Var};
    /// use tallow_ops::ParamStore;
    ///
    /// let var = || Var::zeros(4, DType::F32, &Device::Cpu);
    /// // With candle-nn: `let vars = varmap.data().lock().unwrap().clone();`
    /// let vars = HashMap::from([
    ///     ("bn.weight".to_string(), var()?),
    ///     ("bn.running_mean".to_string(), var()?),
    ///     ("bn.bias".to_string(), var()?),
    /// ]);
    /// let store = ParamStore::from_vars(vars, 0)?;
    /// let names: Vec<String> = store.parameters().into_iter().map(|(name, _)| name).collect();
    /// assert_eq!(names, ["bn.bias", "bn.weight"]);
    /// assert_eq!(store.buffers()[0].0, "bn.running_mean");
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    ///
    /// # Errors
    /// [`Error::Config`] when there is no variable or two have the same name.
    pub fn from_vars(vars: impl IntoIterator<Item = (String, Var)>, seed: u64) -> Result<Self> {
        let mut vars: Vec<(String, Var)> = vars.into_iter().collect();
        vars.sort_by(|(a, _), (b, _)| a.cmp(b));
        let Some((_, first)) = vars.first() else {
            return Err(Error::Config {
                op: "ParamStore",
                message: "there is no variable; build the model before its store".to_string(),
            });
        };
        let store = Self::new(first.dtype(), first.device(), seed);
        for (name, var) in vars {
            let last = name.rsplit('.').next().unwrap_or_default();
            let trained = !matches!(last, "running_mean" | "running_var");
            store.add(name, var, trained)?;
        }
        Ok(store)
    }

    /// Root path, of which names are built.
    pub fn root(&self) -> ParamPath {
        ParamPath {
            store: self.clone(),
            name: String::new(),
        }
    }

    /// Type of new parameters.
    pub fn dtype(&self) -> DType {
        self.dtype
    }

    /// Device of the parameters.
    pub fn device(&self) -> &Device {
        &self.device
    }

    /// Handle to the generator of initialization and dropout.
    pub fn generator(&self) -> Generator {
        self.generator.clone()
    }

    /// Parameters in creation order. The variables are those of the model, not copies.
    pub fn parameters(&self) -> Vec<(String, Var)> {
        self.vars(true)
    }

    /// Buffers in creation order. The variables are those of the model, not copies.
    pub fn buffers(&self) -> Vec<(String, Var)> {
        self.vars(false)
    }

    /// Number of trained values.
    pub fn num_parameters(&self) -> usize {
        self.entries()
            .iter()
            .filter(|e| e.trained)
            .map(|e| e.var.elem_count())
            .sum()
    }

    /// Copies of all parameters and buffers, in creation order. Later training does not change them.
    pub fn state_dict(&self) -> Result<Vec<(String, Tensor)>> {
        self.entries()
            .iter()
            .map(|e| Ok((e.name.clone(), e.var.as_detached_tensor().copy()?)))
            .collect()
    }

    /// Copies `tensors` into the parameters and buffers of the same names, in place, as `torch.nn.Module.load_state_dict`. The
    /// type is converted where it differs.
    ///
    /// Without `strict`, tensors that fit are loaded and the report lists the others.
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

    /// Writes all parameters and buffers to a safetensors file. Equal values give equal bytes.
    ///
    /// The file is written to a temporary name in the same folder, synced and renamed, so that `path` is never incomplete.
    ///
    /// # Errors
    /// [`Error::Io`] if the file cannot be written.
    pub fn save(&self, path: impl AsRef<Path>) -> Result<()> {
        let path = path.as_ref();
        let tensors = self
            .entries()
            .iter()
            .map(|e| {
                Ok((
                    e.name.clone(),
                    e.var.as_detached_tensor().to_device(&Device::Cpu)?,
                ))
            })
            .collect::<Result<Vec<_>>>()?;
        // No metadata: safetensors would write it in hash order.
        let bytes = safetensors::serialize(tensors, None).map_err(|e| weights(path, e))?;
        write_atomically(path, &bytes).map_err(|source| Error::Io {
            path: path.into(),
            source,
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
            .map_err(|e| weights(path, format!("not a whole safetensors file: {e}")))?;
        let tensors = candle_core::safetensors::load_buffer(&bytes, &self.device)
            .map_err(|e| weights(path, e))?;
        let found = tensors
            .iter()
            .map(|(name, tensor)| (name.as_str(), tensor))
            .collect();
        self.set_all(&found, strict, |message| weights(path, message))
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
        for entry in &entries {
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
                    &entry.var,
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
        for (var, tensor) in ready {
            var.set(&tensor)?;
        }
        Ok(report)
    }

    fn add(&self, name: String, var: Var, trained: bool) -> Result<Var> {
        let mut entries = self.entries.lock().unwrap_or_else(PoisonError::into_inner);
        if entries.iter().any(|e| e.name == name) {
            let message = format!(
                "the name `{name}` exists already: give each parameter and buffer its own name"
            );
            return Err(Error::Config {
                op: "ParamStore",
                message,
            });
        }
        entries.push(Entry {
            name,
            var: var.clone(),
            trained,
        });
        Ok(var)
    }

    fn vars(&self, trained: bool) -> Vec<(String, Var)> {
        self.entries()
            .into_iter()
            .filter(|e| e.trained == trained)
            .map(|e| (e.name, e.var))
            .collect()
    }

    /// A snapshot of the list (the variables themselves are shared), so that no lock is held over tensor work.
    fn entries(&self) -> Vec<Entry> {
        self.entries
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .clone()
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

/// Path of names in a [`ParamStore`], as `candle_nn::VarBuilder`: `root.pp("features").pp(0)` creates parameters named
/// `features.0.*`.
#[derive(Clone, Debug)]
pub struct ParamPath {
    store: ParamStore,
    name: String,
}

impl ParamPath {
    /// Path with one more component.
    pub fn pp(&self, name: impl Display) -> ParamPath {
        ParamPath {
            store: self.store.clone(),
            name: self.join(name),
        }
    }

    /// Name of the path with dots; empty at the root.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Creates a parameter.
    ///
    /// # Errors
    /// If the name exists already, or as [`Init::tensor`].
    pub fn param(&self, name: &str, shape: impl Into<Shape>, init: Init) -> Result<Var> {
        self.store
            .add(self.join(name), self.init(shape, init)?, true)
    }

    /// Creates a buffer.
    ///
    /// # Errors
    /// As [`param`](Self::param).
    pub fn buffer(&self, name: &str, shape: impl Into<Shape>, init: Init) -> Result<Var> {
        self.store
            .add(self.join(name), self.init(shape, init)?, false)
    }

    /// Creates a buffer with a copy of `value`, in the type of `value`.
    ///
    /// # Errors
    /// As [`param`](Self::param).
    pub fn buffer_from(&self, name: &str, value: &Tensor) -> Result<Var> {
        let var = Var::from_tensor(&value.to_device(self.device())?.copy()?)?;
        self.store.add(self.join(name), var, false)
    }

    /// Handle to the generator of the store.
    pub fn generator(&self) -> Generator {
        self.store.generator()
    }

    /// Device of the parameters.
    pub fn device(&self) -> &Device {
        &self.store.device
    }

    /// Type of new parameters.
    pub fn dtype(&self) -> DType {
        self.store.dtype
    }

    fn init(&self, shape: impl Into<Shape>, init: Init) -> Result<Var> {
        Ok(Var::from_tensor(&init.tensor(
            shape,
            self.dtype(),
            self.device(),
            &self.store.generator,
        )?)?)
    }

    fn join(&self, name: impl Display) -> String {
        if self.name.is_empty() {
            name.to_string()
        } else {
            format!("{}.{name}", self.name)
        }
    }
}

fn weights(path: &Path, message: impl Display) -> Error {
    Error::Weights {
        path: path.into(),
        message: message.to_string(),
    }
}

/// Writes a temporary file in the same folder, syncs it and renames it: afterwards `path` has all of `bytes` or its old content.
fn write_atomically(path: &Path, bytes: &[u8]) -> io::Result<()> {
    if path.file_name().is_none() {
        return Err(io::Error::new(
            io::ErrorKind::InvalidInput,
            "is not the name of a file",
        ));
    }
    let folder = path
        .parent()
        .filter(|p| !p.as_os_str().is_empty())
        .unwrap_or(Path::new("."));
    let mut builder = tempfile::Builder::new();
    builder.prefix(".tallow-").suffix(".tmp");
    // As other new files, and not private as temporary files are by default. The umask applies.
    #[cfg(unix)]
    builder.permissions(std::os::unix::fs::PermissionsExt::from_mode(0o666));
    let mut file = builder.tempfile_in(folder)?;
    file.write_all(bytes)?;
    file.as_file().sync_all()?;
    file.persist(path).map_err(|error| error.error)?;
    // The new name must reach the disk too; only Unix can sync a folder.
    #[cfg(unix)]
    std::fs::File::open(folder)?.sync_all()?;
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn stores_of_variables_need_distinct_names() {
        let var = || Var::zeros(2, DType::F64, &Device::Cpu).unwrap();
        let named = |names: [&str; 2]| names.map(|name| (name.to_string(), var()));
        let store = ParamStore::from_vars(named(["b", "a.running_var"]), 0).unwrap();
        assert_eq!((store.dtype(), store.num_parameters()), (DType::F64, 2));
        assert_eq!(store.buffers()[0].0, "a.running_var");

        let error = ParamStore::from_vars(named(["a", "a"]), 0).unwrap_err();
        assert!(error.to_string().contains("`a`"), "{error}");
        let error = ParamStore::from_vars([], 0).unwrap_err();
        assert!(error.to_string().contains("no variable"), "{error}");
    }
}
