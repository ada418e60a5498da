use candle_core::{DType, Device, ModuleT, Tensor};
use tallow_ops::{Layout, ParamPath, ParamStore, to_layout};

use crate::{Context, Error, Layer, LayerSummary, Module, Result, Summary, find};

/// What a model is built for.
#[derive(Clone, Debug)]
pub struct ModelConfig {
    /// How many classes it tells apart; at least 1.
    pub classes: usize,
    /// The images it takes, `(C, H, W)`.
    pub input_shape: (usize, usize, usize),
    /// The widths of the hidden linear layers; only for models that take them.
    pub hidden: Option<Vec<usize>>,
    /// Divides the number of maps of every convolution; 1. Only for models that take it.
    pub width_divisor: usize,
    /// The probability with which dropout drops, in `[0, 1)`; the model's own when none. Only for models that drop.
    pub dropout: Option<f64>,
    /// The axis order to work in; the model's own when none. The input is `(N, C, H, W)` all the same.
    pub layout: Option<Layout>,
    /// The seed of initialisation and dropout; 0.
    pub seed: u64,
    /// The type of parameters and input; `f32`.
    pub dtype: DType,
    /// Where the parameters live; the CPU.
    pub device: Device,
}

impl ModelConfig {
    /// For this many classes of images of `(C, H, W)`, all else by default.
    pub fn new(classes: usize, input_shape: (usize, usize, usize)) -> Self {
        Self {
            classes,
            input_shape,
            hidden: None,
            width_divisor: 1,
            dropout: None,
            layout: None,
            seed: 0,
            dtype: DType::F32,
            device: Device::Cpu,
        }
    }

    /// `width` divided by the divisor, which must divide it.
    pub(crate) fn narrowed(&self, model: &'static str, width: usize) -> Result<usize> {
        let divisor = self.width_divisor;
        if divisor == 0 || !width.is_multiple_of(divisor) {
            let message = format!("width_divisor {divisor} does not divide {width} maps");
            return Err(Error::Config { model, message });
        }
        Ok(width / divisor)
    }
}

/// A network with its parameters.
pub struct Model {
    name: &'static str,
    config: ModelConfig,
    layout: Layout,
    store: ParamStore,
    network: Box<dyn Module>,
}

impl Model {
    /// Builds the model of that name and initialises it as PyTorch would, from the configuration's seed.
    ///
    /// Fails when there is no such model (the error names the nearest), or when it cannot take the configuration: a setting it has no
    /// use for is an error, not ignored.
    pub fn build(name: &str, config: &ModelConfig) -> Result<Self> {
        let entry = find(name)?;
        let refuse = |message: String| {
            Err(Error::Config {
                model: entry.name,
                message,
            })
        };
        let (c, h, w) = config.input_shape;
        if config.classes == 0 || c * h * w == 0 {
            return refuse(format!(
                "cannot tell {} classes apart by images of {c} x {h} x {w}",
                config.classes
            ));
        }
        if !config.dtype.is_float() {
            return refuse(format!(
                "parameters must be floating-point numbers, not {:?}",
                config.dtype
            ));
        }
        if config.hidden.is_some() && !entry.takes_hidden {
            return refuse("has no hidden widths to set".into());
        }
        if config.hidden.iter().flatten().any(|width| *width == 0) {
            return refuse("a hidden layer cannot have width 0".into());
        }
        if config.width_divisor != 1 && !entry.takes_width_divisor {
            return refuse("has no width_divisor to set".into());
        }
        if let Some(dropout) = config.dropout {
            if !entry.takes_dropout {
                return refuse("has no dropout to set".into());
            }
            if !(0. ..1.).contains(&dropout) {
                return refuse(format!("dropout must be in [0, 1), not {dropout}"));
            }
        }
        let own = match config.device {
            Device::Cpu => entry.default_layout,
            _ => Layout::Nchw,
        };
        let config = ModelConfig {
            layout: Some(config.layout.unwrap_or(own)),
            ..config.clone()
        };
        Self::from_network(entry.name, &config, |p, config| {
            (entry.build)(entry.name, p, config)
        })
    }

    /// A model that is not in the registry: `network` makes it, with its parameters under the path it is given.
    ///
    /// Of the configuration, only the layout ((N, C, H, W) when none), the seed, the type and the device are seen to here; what the
    /// rest means is up to `network`.
    pub fn from_network(
        name: &'static str,
        config: &ModelConfig,
        network: impl FnOnce(&ParamPath, &ModelConfig) -> Result<Box<dyn Module>>,
    ) -> Result<Self> {
        let store = ParamStore::new(config.dtype, &config.device, config.seed);
        let network = network(&store.root(), config)?;
        let layout = config.layout.unwrap_or_default();
        Ok(Self {
            name,
            config: config.clone(),
            layout,
            store,
            network,
        })
    }

    /// The name it was built by.
    pub fn name(&self) -> &'static str {
        self.name
    }

    /// The images it takes, `(C, H, W)`.
    pub fn input_shape(&self) -> (usize, usize, usize) {
        self.config.input_shape
    }

    /// How many classes it tells apart.
    pub fn classes(&self) -> usize {
        self.config.classes
    }

    /// The axis order it works in.
    pub fn layout(&self) -> Layout {
        self.layout
    }

    /// Its parameters and buffers.
    pub fn store(&self) -> &ParamStore {
        &self.store
    }

    /// The logits, `(N, classes)`, of images `(N, C, H, W)` of the model's type and on its device.
    ///
    /// `train` has batch norm take the batch's statistics and update its running ones, and dropout drop.
    pub fn forward(&self, images: &Tensor, train: bool) -> Result<Tensor> {
        self.run(images, &mut Context::new(train, self.layout))
    }

    /// The same, calling `observer` after each leaf layer: for summaries, and for the features inside.
    pub fn forward_observed(
        &self,
        images: &Tensor,
        train: bool,
        observer: &mut dyn FnMut(&Layer),
    ) -> Result<Tensor> {
        self.run(images, &mut Context::observed(train, self.layout, observer))
    }

    /// The layers, their output shapes, parameters and multiply-adds, found by sending one black image through.
    pub fn summary(&self) -> Result<Summary> {
        let mut layers = Vec::new();
        let (c, h, w) = self.config.input_shape;
        let image = Tensor::zeros((1, c, h, w), self.config.dtype, &self.config.device)?;
        self.forward_observed(&image, false, &mut |layer| {
            layers.push(LayerSummary {
                name: layer.name.into(),
                kind: layer.kind,
                output_shape: layer.output_shape(),
                parameters: layer.parameters,
                multiply_adds: layer.multiply_adds,
            });
        })?;
        Ok(Summary {
            model: self.name,
            input_shape: self.config.input_shape,
            parameters: self.store.num_parameters(),
            multiply_adds: layers.iter().map(|layer| layer.multiply_adds).sum(),
            layers,
        })
    }

    pub(crate) fn run(&self, images: &Tensor, cx: &mut Context) -> Result<Tensor> {
        self.check(images)?;
        let x = to_layout(images, Layout::Nchw, cx.layout)?;
        self.network.forward(&x, cx)
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
            model: self.name,
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
