//! Parameters and buffers by name.

mod load;
mod save;
mod skip_init;

use std::fmt::Display;
use std::sync::{Arc, Mutex, PoisonError};

use candle_core::{DType, Device, Shape, Tensor, Var};

pub use self::load::{LoadReport, MisShaped};
use crate::error::{Error, Result};
use crate::generator::Generator;
use crate::init::{Init, SkippedDraw};

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
    /// Whether random initial values are left out; see [`ParamStore::skip_init`].
    skips_init: bool,
}

#[derive(Clone, Debug)]
struct Entry {
    name: String,
    var: Var,
    trained: bool,
    /// Draw that the variable still lacks.
    skipped: Option<SkippedDraw>,
}

impl ParamStore {
    /// Empty store. New parameters have type `dtype` and are on `device`; their values are drawn from a [`Generator`] of `seed`.
    pub fn new(dtype: DType, device: &Device, seed: u64) -> Self {
        Self {
            entries: Arc::default(),
            dtype,
            device: device.clone(),
            generator: Generator::new(seed),
            skips_init: false,
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
            store.add(name, (var, None), trained)?;
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

    /// Names and shapes of all parameters and buffers, in creation order: those of [`state_dict`](Self::state_dict).
    pub fn shapes(&self) -> Vec<(String, Shape)> {
        self.entries()
            .into_iter()
            .map(|e| (e.name, e.var.shape().clone()))
            .collect()
    }

    /// Copies of all parameters and buffers, in creation order. Later training does not change them.
    ///
    /// # Errors
    /// [`Error::Uninitialized`] when the store is one by [`skip_init`](Self::skip_init) and has parameters that were neither loaded nor
    /// drawn.
    pub fn state_dict(&self) -> Result<Vec<(String, Tensor)>> {
        self.check_initialized()?;
        self.entries()
            .iter()
            .map(|e| Ok((e.name.clone(), e.var.as_detached_tensor().copy()?)))
            .collect()
    }

    /// Variable with initial values, or of zeros and with the draw that was left out.
    fn init(&self, shape: Shape, init: Init) -> Result<(Var, Option<SkippedDraw>)> {
        let Self {
            dtype,
            device,
            generator,
            ..
        } = self;
        // Layers put values of their own over constants.
        if !self.skips_init || matches!(init, Init::Const(_)) {
            let values = init.tensor(shape, *dtype, device, generator)?;
            return Ok((Var::from_tensor(&values)?, None));
        }
        let skipped = SkippedDraw::new(init, shape.elem_count(), *dtype, generator)?;
        // Of pages that the system supplies when they are first written.
        Ok((Var::zeros(shape, *dtype, device)?, Some(skipped)))
    }

    fn add(
        &self,
        name: String,
        (var, skipped): (Var, Option<SkippedDraw>),
        trained: bool,
    ) -> Result<Var> {
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
            skipped,
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
        let made = self.store.init(shape.into(), init)?;
        self.store.add(self.join(name), made, true)
    }

    /// Creates a buffer.
    ///
    /// # Errors
    /// As [`param`](Self::param).
    pub fn buffer(&self, name: &str, shape: impl Into<Shape>, init: Init) -> Result<Var> {
        let made = self.store.init(shape.into(), init)?;
        self.store.add(self.join(name), made, false)
    }

    /// Creates a buffer with a copy of `value`, in the type of `value`.
    ///
    /// # Errors
    /// As [`param`](Self::param).
    pub fn buffer_from(&self, name: &str, value: &Tensor) -> Result<Var> {
        let var = Var::from_tensor(&value.to_device(self.device())?.copy()?)?;
        self.store.add(self.join(name), (var, None), false)
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

    fn join(&self, name: impl Display) -> String {
        if self.name.is_empty() {
            name.to_string()
        } else {
            format!("{}.{name}", self.name)
        }
    }
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
