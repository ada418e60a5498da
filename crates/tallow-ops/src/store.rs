use std::collections::{HashMap, HashSet};
use std::fmt::Display;
use std::fs::{self, File};
use std::io::{self, Write};
use std::path::Path;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use candle_core::{DType, Device, Shape, Tensor, Var};
use safetensors::SafeTensors;

use crate::{Error, Generator, Init, Result};

/// The parameters and buffers of a model by name, in the order they were made. Cloning gives another handle to the same store.
///
/// `candle_nn::VarMap` iterates in hash order, which changes from run to run, and with it the order of every sum over parameters;
/// here the order is that of the network. A *parameter* is trained; a *buffer* (running statistics) is saved with the model but not trained.
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
    /// An empty store. New parameters are of `dtype` on `device`; their values are drawn from a [`Generator`] with this seed.
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

    /// The place from which names are built.
    pub fn root(&self) -> ParamPath {
        ParamPath {
            store: self.clone(),
            name: String::new(),
        }
    }

    /// The type of new parameters.
    pub fn dtype(&self) -> DType {
        self.dtype
    }

    /// Where the parameters live.
    pub fn device(&self) -> &Device {
        &self.device
    }

    /// A handle to the stream that initialisation and dropout draw from.
    pub fn generator(&self) -> Generator {
        self.generator.clone()
    }

    /// What is trained, in creation order. The variables are the model's own, not copies.
    pub fn parameters(&self) -> Vec<(String, Var)> {
        self.vars(true)
    }

    /// What is saved but not trained, in creation order. The variables are the model's own, not copies.
    pub fn buffers(&self) -> Vec<(String, Var)> {
        self.vars(false)
    }

    /// The number of trained values.
    pub fn num_parameters(&self) -> usize {
        self.entries()
            .iter()
            .filter(|e| e.trained)
            .map(|e| e.var.elem_count())
            .sum()
    }

    /// A copy of every parameter and buffer, in creation order; later training does not change it.
    pub fn state_dict(&self) -> Result<Vec<(String, Tensor)>> {
        self.entries()
            .iter()
            .map(|e| Ok((e.name.clone(), e.var.as_detached_tensor().copy()?)))
            .collect()
    }

    /// Copies `tensors` into the parameters and buffers of the same names, in place, converting the type where it differs.
    ///
    /// As `torch.nn.Module.load_state_dict`: with `strict`, any missing, unexpected or mis-shaped tensor is an error that lists
    /// them all and nothing is changed; without, what fits is loaded and the report says what did not.
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

    /// Writes every parameter and buffer as safetensors: the same values give the same bytes.
    ///
    /// The bytes go to a temporary name beside `path`, are synced, and then renamed, so `path` is never half-written.
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

    /// Reads a safetensors file into the parameters and buffers, as [`ParamStore::load_state_dict`] does.
    ///
    /// Fails without changing anything when the file cannot be read, is truncated or is not safetensors.
    pub fn load(&self, path: impl AsRef<Path>, strict: bool) -> Result<LoadReport> {
        let path = path.as_ref();
        let bytes = fs::read(path).map_err(|source| Error::Io {
            path: path.into(),
            source,
        })?;
        // Opening the header first keeps candle from allocating for a file that lies about its shapes.
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
        // Every conversion that can fail is behind us: from here the model changes as a whole.
        for (var, tensor) in ready {
            var.set(&tensor)?;
        }
        Ok(report)
    }

    fn add(&self, name: String, var: Var, trained: bool) -> Result<Var> {
        let mut entries = self.entries.lock().unwrap_or_else(PoisonError::into_inner);
        if entries.iter().any(|e| e.name == name) {
            let message =
                format!("the name `{name}` is taken; each parameter and buffer needs its own");
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

/// What did not fit when weights were loaded.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct LoadReport {
    /// In the model but not in the file, in creation order.
    pub missing: Vec<String>,
    /// In the file but not in the model, sorted.
    pub unexpected: Vec<String>,
    /// In both, with different shapes, in creation order.
    pub mis_shaped: Vec<MisShaped>,
}

/// A tensor whose shape in the file is not the model's.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct MisShaped {
    /// The parameter or buffer.
    pub name: String,
    /// The model's shape.
    pub expected: Shape,
    /// The file's shape.
    pub found: Shape,
}

impl LoadReport {
    /// Whether everything fitted.
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

/// A place in a [`ParamStore`], as `candle_nn::VarBuilder`: `root.pp("features").pp(0)` makes parameters named `features.0.*`.
#[derive(Clone, Debug)]
pub struct ParamPath {
    store: ParamStore,
    name: String,
}

impl ParamPath {
    /// One level down.
    pub fn pp(&self, name: impl Display) -> ParamPath {
        ParamPath {
            store: self.store.clone(),
            name: self.join(name),
        }
    }

    /// The dotted name of this place; empty at the root.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Makes a trained variable. Fails when the name is taken.
    pub fn param(&self, name: &str, shape: impl Into<Shape>, init: Init) -> Result<Var> {
        self.store
            .add(self.join(name), self.init(shape, init)?, true)
    }

    /// Makes a variable that is saved but not trained. Fails when the name is taken.
    pub fn buffer(&self, name: &str, shape: impl Into<Shape>, init: Init) -> Result<Var> {
        self.store
            .add(self.join(name), self.init(shape, init)?, false)
    }

    /// Makes a buffer that starts as a copy of `value`, of that type whatever the store's. Fails when the name is taken.
    pub fn buffer_from(&self, name: &str, value: &Tensor) -> Result<Var> {
        let var = Var::from_tensor(&value.to_device(self.device())?.copy()?)?;
        self.store.add(self.join(name), var, false)
    }

    /// A handle to the store's stream of random numbers.
    pub fn generator(&self) -> Generator {
        self.store.generator()
    }

    /// Where the parameters live.
    pub fn device(&self) -> &Device {
        &self.store.device
    }

    /// The type of new parameters.
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

/// Either the whole of `bytes` is at `path` afterwards, or what was there before.
fn write_atomically(path: &Path, bytes: &[u8]) -> io::Result<()> {
    static COUNT: AtomicU64 = AtomicU64::new(0);
    let Some(name) = path.file_name() else {
        return Err(io::Error::new(
            io::ErrorKind::InvalidInput,
            "is not the name of a file",
        ));
    };
    let folder = path
        .parent()
        .filter(|p| !p.as_os_str().is_empty())
        .unwrap_or(Path::new("."));
    let count = COUNT.fetch_add(1, Ordering::Relaxed);
    let temporary = folder.join(format!(
        ".{}.{}-{count}.tmp",
        name.to_string_lossy(),
        std::process::id()
    ));
    let written = File::create(&temporary)
        .and_then(|mut file| file.write_all(bytes).and_then(|()| file.sync_all()))
        .and_then(|()| fs::rename(&temporary, path));
    if written.is_err() {
        let _ = fs::remove_file(&temporary);
        return written;
    }
    // The new name itself must reach the disk too; only Unix lets a folder be synced.
    #[cfg(unix)]
    File::open(folder)?.sync_all()?;
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
