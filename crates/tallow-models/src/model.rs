use candle_core::{DType, Device, ModuleT, Tensor};
use tallow_ops::{Layout, ParamPath, ParamStore, cast, to_layout};

use crate::config::ModelConfig;
use crate::error::{Error, Result};
use crate::module::{Context, LayerOutput, Module};
use crate::summary::{LayerSummary, ModelSummary};

/// Constructor of a [`ParamStore`].
pub(crate) type MakeStore = fn(DType, &Device, u64) -> ParamStore;

/// Network with its parameters.
///
/// It is a `candle_nn::ModuleT`, so that any training loop for candle takes it.
pub struct Model {
    name: String,
    config: ModelConfig,
    layout: Layout,
    store: ParamStore,
    network: Box<dyn Module>,
}

impl Model {
    /// Model from a function that builds its network, with parameters under the path given to it.
    ///
    /// Of the configuration, the layout (`(N, C, H, W)` when `None`), seed, type and device are applied here; the rest is up to
    /// `network`.
    ///
    /// # Errors
    /// Those of `network`, with the name of the model.
    pub fn from_network<M: Module>(
        name: impl Into<String>,
        config: &ModelConfig,
        network: impl FnOnce(&ParamPath, &ModelConfig) -> Result<M>,
    ) -> Result<Self> {
        Self::in_store(name.into(), config, ParamStore::new, network)
    }

    /// Model in a store that `store` makes of type, device and seed.
    pub(crate) fn in_store<M: Module>(
        name: String,
        config: &ModelConfig,
        store: MakeStore,
        network: impl FnOnce(&ParamPath, &ModelConfig) -> Result<M>,
    ) -> Result<Self> {
        let store = store(config.dtype, &config.device, config.seed);
        let network = network(&store.root(), config).map_err(|error| error.of_model(&name))?;
        Ok(Self {
            name,
            config: config.clone(),
            layout: config.layout.unwrap_or_default(),
            store,
            network: Box::new(network),
        })
    }

    /// Name of the model.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Shape of an input image, `(C, H, W)`.
    pub fn input_shape(&self) -> (usize, usize, usize) {
        self.config.input_shape
    }

    /// Number of classes.
    pub fn classes(&self) -> usize {
        self.config.classes
    }

    /// Axis order of activations inside the model.
    pub fn layout(&self) -> Layout {
        self.layout
    }

    /// Parameters and buffers.
    pub fn store(&self) -> &ParamStore {
        &self.store
    }

    /// Logits, `(N, classes)`, of images `(N, C, H, W)` of the model's type and on its device.
    ///
    /// In training mode batch norm uses the statistics of the batch and updates the running ones, and dropout is active.
    ///
    /// # Errors
    /// [`Error::Input`] for other images; [`tallow_ops::Error::Uninitialized`] for a model by [`Entry::skip_init`](crate::Entry::skip_init)
    /// whose weights were not loaded; those of the layers.
    pub fn forward(&self, images: &Tensor, train: bool) -> Result<Tensor> {
        self.forward_with(images, &mut Context::new(train, self.layout))
    }

    /// [`Model::forward`] with a call of `observer` after each leaf layer: for summaries and feature extraction.
    pub fn forward_observed(
        &self,
        images: &Tensor,
        train: bool,
        observer: &mut dyn FnMut(&LayerOutput),
    ) -> Result<Tensor> {
        self.forward_with(images, &mut Context::observed(train, self.layout, observer))
    }

    /// [`Model::forward`] in a given [`Context`].
    pub fn forward_with(&self, images: &Tensor, cx: &mut Context) -> Result<Tensor> {
        self.check_initialized()?;
        self.run(images, cx)
    }

    /// Forward pass with whatever values the parameters have.
    fn run(&self, images: &Tensor, cx: &mut Context) -> Result<Tensor> {
        self.check(images)?;
        let x = to_layout(images, Layout::Nchw, cx.layout)?;
        let logits = self.network.forward(&x, cx)?;
        // Feature maps may be in bf16, by `with_precision`.
        Ok(cast(&logits, self.config.dtype)?)
    }

    /// Table of the layers with output shapes, parameters and multiply-adds, from a forward pass with one black image. The parameters
    /// need no values for it.
    pub fn summary(&self) -> Result<ModelSummary> {
        let mut layers = Vec::new();
        self.run(
            &self.black_image()?,
            &mut Context::observed(false, self.layout, &mut |layer| {
                layers.push(LayerSummary {
                    name: layer.name.into(),
                    kind: layer.kind,
                    output_shape: layer.output_shape(),
                    parameters: layer.parameters,
                    multiply_adds: layer.multiply_adds,
                });
            }),
        )?;
        Ok(ModelSummary {
            model: self.name.clone(),
            input_shape: self.config.input_shape,
            parameters: self.store.num_parameters(),
            multiply_adds: layers.iter().map(|layer| layer.multiply_adds).sum(),
            layers,
        })
    }

    /// Image of zeros, `(1, C, H, W)`.
    pub(crate) fn black_image(&self) -> Result<Tensor> {
        let (c, h, w) = self.config.input_shape;
        let config = &self.config;
        Ok(Tensor::zeros((1, c, h, w), config.dtype, &config.device)?)
    }

    /// Network without the change of the axis order before it.
    pub(crate) fn network(&self) -> &dyn Module {
        &*self.network
    }

    /// Checks that the parameters have values.
    pub(crate) fn check_initialized(&self) -> Result<()> {
        let checked = self.store.check_initialized();
        checked.map_err(|error| Error::from(error).of_model(&self.name))
    }

    fn check(&self, images: &Tensor) -> Result<()> {
        let (c, h, w) = self.config.input_shape;
        let fits = matches!(images.dims(), &[n, ..] if n > 0) && images.dims()[1..] == [c, h, w];
        if fits
            && images.dtype() == self.config.dtype
            && images.device().same_device(&self.config.device)
        {
            return Ok(());
        }
        Err(Error::Input {
            model: self.name.clone(),
            expected: format!(
                "a batch of one or more images, (N, {c}, {h}, {w}), {:?} on {:?}",
                self.config.dtype,
                self.config.device.location()
            ),
            found: format!(
                "{:?}, {:?} on {:?}",
                images.dims(),
                images.dtype(),
                images.device().location()
            ),
        })
    }
}

impl ModuleT for Model {
    fn forward_t(&self, images: &Tensor, train: bool) -> candle_core::Result<Tensor> {
        Ok(self.forward(images, train)?)
    }
}
