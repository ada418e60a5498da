use std::fmt;
use std::sync::Arc;

use candle_core::Device;
use tallow_ops::{Layout, ParamPath, ParamStore, has_gpu_kernels};

use crate::config::ModelConfig;
use crate::error::{Error, Result};
use crate::model::{MakeStore, Model};
use crate::module::Module;
use crate::nearest::nearest;

/// Models by name. `Registry::default()` holds the built-in ones, in the order of the documentation.
///
/// ```
/// use tallow_models::nn::Sequential;
/// use tallow_models::{ModelConfig, Registry};
///
/// let mut registry = Registry::default();
/// registry.register("my-net", |p, config| {
///     Sequential::build(p, config.input_shape)
///         .conv2d("conv1", 8, 3)
///         .relu()
///         .max_pool2d(2)
///         .flatten()
///         .linear("fc", config.classes)
///         .finish()
/// })?;
/// let model = registry.build("my-net", &ModelConfig::new(10, (1, 28, 28)))?;
/// assert_eq!(model.store().num_parameters(), 8 * 9 + 8 + 8 * 13 * 13 * 10 + 10);
/// # Ok::<(), tallow_models::Error>(())
/// ```
#[derive(Clone, Debug)]
pub struct Registry {
    entries: Vec<Entry>,
}

impl Registry {
    /// Registry without models.
    pub fn empty() -> Self {
        let entries = Vec::new();
        Self { entries }
    }

    /// Adds a model: `build` makes its network, with parameters under the path given to it. Returns the entry, whose description and
    /// defaults can be set.
    ///
    /// # Errors
    /// [`Error::Register`] when the name is empty or taken.
    pub fn register<M: Module>(
        &mut self,
        name: impl Into<String>,
        build: impl Fn(&ParamPath, &ModelConfig) -> Result<M> + Send + Sync + 'static,
    ) -> Result<&mut Entry> {
        self.add(Entry::new(name, build))
    }

    /// Adds an entry, and returns it.
    ///
    /// # Errors
    /// [`Error::Register`] when its name is empty or taken.
    pub fn add(&mut self, entry: Entry) -> Result<&mut Entry> {
        let refuse = |message: &str| {
            Err(Error::Register {
                name: entry.name.clone(),
                message: message.into(),
            })
        };
        if entry.name.is_empty() {
            return refuse("the name is empty");
        }
        if self.iter().any(|known| known.name == entry.name) {
            return refuse("there is a model of this name already");
        }
        let index = self.entries.len();
        self.entries.push(entry);
        Ok(&mut self.entries[index])
    }

    /// Entry of this name.
    ///
    /// # Errors
    /// [`Error::UnknownModel`], with the closest name.
    pub fn find(&self, name: &str) -> Result<&Entry> {
        let names = || self.iter().map(Entry::name);
        self.iter()
            .find(|entry| entry.name == name)
            .ok_or_else(|| Error::UnknownModel {
                name: name.into(),
                nearest: nearest(name, names()).map(String::from),
                known: names().map(String::from).collect(),
            })
    }

    /// Builds the model of this name, initialised from the configuration's seed.
    ///
    /// # Errors
    /// [`Error::UnknownModel`]; [`Error::Model`] when the model does not accept the configuration. A setting that it has no use for
    /// is an error, not ignored.
    pub fn build(&self, name: &str, config: &ModelConfig) -> Result<Model> {
        self.find(name)?.build(config)
    }

    /// [`Entry::skip_init`] of the model of this name.
    ///
    /// # Errors
    /// As [`build`](Self::build).
    pub fn skip_init(&self, name: &str, config: &ModelConfig) -> Result<Model> {
        self.find(name)?.skip_init(config)
    }

    /// Entries, in the order in which they were registered.
    pub fn iter(&self) -> std::slice::Iter<'_, Entry> {
        self.entries.iter()
    }

    /// Number of models.
    pub fn len(&self) -> usize {
        self.entries.len()
    }

    /// Whether there are no models.
    pub fn is_empty(&self) -> bool {
        self.entries.is_empty()
    }
}

impl<'a> IntoIterator for &'a Registry {
    type Item = &'a Entry;
    type IntoIter = std::slice::Iter<'a, Entry>;

    fn into_iter(self) -> Self::IntoIter {
        self.iter()
    }
}

/// Model in a [`Registry`]: its name, description, defaults, and the function that builds its network.
#[derive(Clone)]
pub struct Entry {
    name: String,
    /// One line for listings; empty when not set.
    pub description: String,
    /// Shape of the images it was made for, `(C, H, W)`.
    pub default_input: Option<(usize, usize, usize)>,
    /// Number of classes it was made for.
    pub default_classes: Option<usize>,
    /// Axis order on the CPU unless the configuration sets one. On other devices that is [`gpu_layout`](Self::gpu_layout) where convolutions have
    /// kernels, and `(N, C, H, W)` where they are composed of candle's operators.
    pub default_layout: Layout,
    /// Axis order on a GPU on which convolutions have kernels ([`tallow_ops::has_gpu_kernels`]), unless the configuration sets one. The kernels
    /// work in `(N, H, W, C)`.
    pub gpu_layout: Layout,
    /// Number of trained values at the default input shape and classes.
    pub parameters: Option<usize>,
    /// Multiply-adds for one image of the default shape, in convolutions and linear layers.
    pub multiply_adds: Option<u64>,
    /// Whether it uses [`ModelConfig::hidden`].
    pub takes_hidden: bool,
    /// Whether it uses [`ModelConfig::width_divisor`].
    pub takes_width_divisor: bool,
    /// Whether it uses [`ModelConfig::dropout`].
    pub takes_dropout: bool,
    /// Whether it uses [`ModelConfig::stochastic_depth`].
    pub takes_stochastic_depth: bool,
    /// Whether [`skip_init`](Self::skip_init) may leave out its random initial values: no layer reads or sets a parameter with such values
    /// while the network is made. False unless set.
    pub skips_init: bool,
    build: Arc<Build>,
}

type Build = dyn Fn(&ParamPath, &ModelConfig) -> Result<Box<dyn Module>> + Send + Sync;

impl Entry {
    /// Entry without description or defaults, which accepts every setting and works in `(N, C, H, W)`.
    pub fn new<M: Module>(
        name: impl Into<String>,
        build: impl Fn(&ParamPath, &ModelConfig) -> Result<M> + Send + Sync + 'static,
    ) -> Self {
        Self {
            name: name.into(),
            description: String::new(),
            default_input: None,
            default_classes: None,
            default_layout: Layout::Nchw,
            gpu_layout: Layout::Nchw,
            parameters: None,
            multiply_adds: None,
            takes_hidden: true,
            takes_width_divisor: true,
            takes_dropout: true,
            takes_stochastic_depth: true,
            skips_init: false,
            build: Arc::new(move |p, config| Ok(Box::new(build(p, config)?))),
        }
    }

    /// Name to build it by.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Configuration for the default input shape and classes: seed 0, `f32` on the CPU.
    ///
    /// # Errors
    /// [`Error::Model`] when the entry has no default input shape or classes.
    pub fn config(&self) -> Result<ModelConfig> {
        match (self.default_classes, self.default_input) {
            (Some(classes), Some(input_shape)) => Ok(ModelConfig::new(classes, input_shape)),
            _ => Err(Error::Config {
                message: "has no default input shape and classes; state both".into(),
            }
            .of_model(&self.name)),
        }
    }

    /// Builds the model, initialised from the configuration's seed.
    ///
    /// # Errors
    /// [`Error::Model`] when the model does not accept the configuration.
    pub fn build(&self, config: &ModelConfig) -> Result<Model> {
        self.build_in(ParamStore::new, config)
    }

    /// Model whose weights will be loaded, as `torch.nn.utils.skip_init`: its random initial values are not drawn, which takes seconds for a
    /// VGG, if the entry [allows it](Self::skips_init).
    ///
    /// Until weights are loaded the model refuses to run and to be saved. [`Model::load_weights`] draws what it does not load, such as
    /// a new last layer, with the bits that [`build`](Self::build) gives it. So the two give the same model from there on, dropout included.
    ///
    /// # Errors
    /// As [`build`](Self::build).
    ///
    /// ```
    /// use tallow_models::{LoadWeights, Model, find};
    ///
    /// let path = std::env::temp_dir().join(format!("tallow-doc-skip-{}.safetensors", std::process::id()));
    /// let entry = find("resnet20")?;
    /// let trained = entry.build(&entry.config()?)?;
    /// trained.save_weights(&path)?;
    ///
    /// let model = entry.skip_init(&entry.config()?)?;
    /// assert_eq!(model.summary()?, trained.summary()?);
    /// assert!(model.save_weights(&path).is_err());
    /// model.load_weights(&path, &LoadWeights::default())?;
    /// model.save_weights(&path)?;
    /// # std::fs::remove_file(&path)?;
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn skip_init(&self, config: &ModelConfig) -> Result<Model> {
        match self.skips_init {
            true => self.build_in(ParamStore::skip_init, config),
            false => self.build(config),
        }
    }

    fn build_in(&self, store: MakeStore, config: &ModelConfig) -> Result<Model> {
        self.check(config)
            .map_err(|message| Error::Config { message }.of_model(&self.name))?;
        let own = match &config.device {
            Device::Cpu => self.default_layout,
            device if has_gpu_kernels(device, config.dtype) => self.gpu_layout,
            _ => Layout::Nchw,
        };
        let config = ModelConfig {
            layout: Some(config.layout.unwrap_or(own)),
            ..config.clone()
        };
        Model::in_store(self.name.clone(), &config, store, |p, config| {
            (self.build)(p, config)
        })
    }

    fn check(&self, config: &ModelConfig) -> Result<(), String> {
        let (c, h, w) = config.input_shape;
        let Some(values) = c.checked_mul(h).and_then(|n| n.checked_mul(w)) else {
            return Err(format!("images of {c} x {h} x {w} are too large"));
        };
        if config.classes == 0 || values == 0 {
            return Err(format!(
                "expected at least one class, channel, row and column, found {} classes and images of {c} x {h} x {w}",
                config.classes
            ));
        }
        if !config.dtype.is_float() {
            return Err(format!(
                "expected a floating-point type for parameters, found {:?}",
                config.dtype
            ));
        }
        if config.hidden.is_some() && !self.takes_hidden {
            return Err("has no hidden widths to set".into());
        }
        if config.hidden.iter().flatten().any(|width| *width == 0) {
            return Err("a hidden layer cannot have width 0".into());
        }
        if config.width_divisor != 1 && !self.takes_width_divisor {
            return Err("has no width_divisor to set".into());
        }
        match config.stochastic_depth {
            Some(_) if !self.takes_stochastic_depth => {
                return Err("has no stochastic_depth to set".into());
            }
            Some(probability) if !(0. ..=1.).contains(&probability) => {
                return Err(format!(
                    "stochastic_depth must be in [0, 1], not {probability}"
                ));
            }
            _ => {}
        }
        match config.dropout {
            Some(_) if !self.takes_dropout => Err("has no dropout to set".into()),
            Some(dropout) if !(0. ..1.).contains(&dropout) => {
                Err(format!("dropout must be in [0, 1), not {dropout}"))
            }
            _ => Ok(()),
        }
    }
}

impl fmt::Debug for Entry {
    fn fmt(&self, f: &mut fmt::Formatter) -> fmt::Result {
        f.debug_struct("Entry")
            .field("name", &self.name)
            .field("description", &self.description)
            .field("default_input", &self.default_input)
            .field("default_classes", &self.default_classes)
            .field("default_layout", &self.default_layout)
            .field("gpu_layout", &self.gpu_layout)
            .field("parameters", &self.parameters)
            .field("multiply_adds", &self.multiply_adds)
            .finish_non_exhaustive()
    }
}
