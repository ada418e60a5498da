use std::collections::HashMap;

use tallow_ops::{ParamPath, Pool2dConfig};

use crate::error::{Error, Result};
use crate::module::Module;
use crate::nn::conv::{Conv2d, ConvOptions};
use crate::nn::init::WeightInit;
use crate::nn::linear::Linear;
use crate::nn::norm::{BatchNorm2d, NormOptions};
use crate::nn::pool::{AdaptiveAvgPool2d, AvgPool2d, MaxPool2d};
use crate::nn::sequential::Sequential;
use crate::nn::simple::{Dropout, Flatten, Relu, Tanh};
use crate::nn::window::{Window, least_side};

/// Name of a layer: text, or `None` for the name that follows from its place.
///
/// Inside [`SequentialBuilder::sequential`] that is the index, as in `torch.nn.Sequential`. Elsewhere it is the kind with a number:
/// `conv1`, `bn1`, `fc1`, `relu1`, `tanh1`, `pool1` (max and average), `dropout1`, `pad1`; of `flatten` and `avgpool` the first has no
/// number.
pub struct Name(Option<String>);

impl From<&str> for Name {
    fn from(name: &str) -> Self {
        Self(Some(name.into()))
    }
}

impl From<String> for Name {
    fn from(name: String) -> Self {
        Self(Some(name))
    }
}

impl From<Option<&str>> for Name {
    fn from(name: Option<&str>) -> Self {
        Self(name.map(String::from))
    }
}

/// Builder of a [`Sequential`] that infers the input shape of every layer from the layer before.
///
/// The first error is kept and returned by [`SequentialBuilder::finish`]; the layers after it are not made.
///
/// ```
/// use candle_core::{DType, Device, Tensor};
/// use tallow_models::nn::Sequential;
/// use tallow_models::{Context, Module};
/// use tallow_ops::{Layout, ParamStore};
///
/// let store = ParamStore::new(DType::F32, &Device::Cpu, 0);
/// let net = Sequential::build(&store.root(), (1, 28, 28))
///     .conv2d("conv1", 6, 5)
///     .relu()
///     .max_pool2d(2)
///     .flatten()
///     .linear("fc1", 10)
///     .finish()?;
/// assert_eq!(store.parameters()[2].1.dims(), [10, 6 * 12 * 12]);
///
/// let images = Tensor::zeros((2, 1, 28, 28), DType::F32, &Device::Cpu)?;
/// let logits = net.forward(&images, &mut Context::new(true, Layout::Nchw))?;
/// assert_eq!(logits.dims(), [2, 10]);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
pub struct SequentialBuilder {
    net: Sequential,
    /// Path under which layers are made.
    path: ParamPath,
    /// Index of the next layer, where indices are names.
    index: Option<usize>,
    /// Number of layers so far by their automatic name.
    counts: HashMap<&'static str, usize>,
    /// Name set for the next layer.
    named: Option<String>,
    input: (usize, usize),
    /// Shape of the output so far, `[C, H, W]` or `[F]`.
    shape: Vec<usize>,
    windows: Vec<Window>,
    error: Option<Error>,
}

impl Sequential {
    /// Builder for images of `input_shape`, `(C, H, W)`, with parameters under `p`.
    pub fn build(p: &ParamPath, input_shape: (usize, usize, usize)) -> SequentialBuilder {
        let (c, h, w) = input_shape;
        SequentialBuilder {
            net: Self::new(),
            path: p.clone(),
            index: None,
            counts: HashMap::new(),
            named: None,
            input: (h, w),
            shape: vec![c, h, w],
            windows: Vec::new(),
            error: None,
        }
    }
}

impl SequentialBuilder {
    /// The network.
    ///
    /// # Errors
    /// The first error of a layer: [`Error::TooSmall`] when the images are too small, [`Error::Layer`] for settings or an input shape
    /// that a layer does not accept, [`Error::Ops`] for a name that is taken.
    pub fn finish(self) -> Result<Sequential> {
        let windows = self.windows;
        match self.error {
            None => Ok(self.net),
            Some(Error::TooSmall {
                input,
                layer,
                kind,
                map,
                ..
            }) => Err(Error::TooSmall {
                input,
                layer,
                kind,
                map,
                least: least_side(&windows),
            }),
            Some(error) => Err(error),
        }
    }

    /// Output shape so far: `[C, H, W]` or `[F]`.
    pub fn shape(&self) -> &[usize] {
        &self.shape
    }

    /// Sets the name of the next layer in place of its automatic one.
    pub fn named(mut self, name: impl Into<String>) -> Self {
        self.named = Some(name.into());
        self
    }

    /// Layers under a common name, named by their index as in `torch.nn.Sequential`: `features.0`, `features.1`, ...
    pub fn sequential(mut self, name: impl Into<Name>, layers: impl FnOnce(Self) -> Self) -> Self {
        let inner = self.place(name.into(), "layers");
        let (path, index) = (self.path.clone(), self.index);
        self.path = inner;
        self.index = Some(0);
        let mut outer = layers(self);
        outer.path = path;
        outer.index = index;
        outer
    }

    /// [`Conv2d`] of stride 1 without padding, with a kernel of `kernel` by `kernel`.
    pub fn conv2d(self, name: impl Into<Name>, outputs: usize, kernel: usize) -> Self {
        self.conv2d_with(name, outputs, kernel, ConvOptions::default())
    }

    /// [`Conv2d`] with all settings.
    pub fn conv2d_with(
        self,
        name: impl Into<Name>,
        outputs: usize,
        kernel: usize,
        options: ConvOptions,
    ) -> Self {
        let window = Window::square(kernel, options.stride, options.padding, options.dilation);
        self.windowed(name, "conv", "Conv2d", window, |p, channels| {
            Ok((
                Conv2d::with(p, channels, outputs, kernel, options)?,
                outputs,
            ))
        })
    }

    /// [`BatchNorm2d`].
    pub fn batch_norm2d(self, name: impl Into<Name>) -> Self {
        self.batch_norm2d_with(name, NormOptions::default())
    }

    /// [`BatchNorm2d`] with all settings.
    pub fn batch_norm2d_with(self, name: impl Into<Name>, options: NormOptions) -> Self {
        self.on_maps(name, "bn", "BatchNorm2d", |p, [c, h, w]| {
            Ok((BatchNorm2d::with(p, c, options)?, [c, h, w]))
        })
    }

    /// [`Relu`].
    pub fn relu(self) -> Self {
        self.elementwise("relu", Relu::new)
    }

    /// [`Tanh`].
    pub fn tanh(self) -> Self {
        self.elementwise("tanh", Tanh::new)
    }

    /// [`Dropout`] with `probability` in `[0, 1)`.
    pub fn dropout(self, probability: f64) -> Self {
        self.elementwise("dropout", |p| Dropout::new(p, probability))
    }

    /// [`MaxPool2d`] with windows of `kernel` by `kernel` and a stride of `kernel`.
    pub fn max_pool2d(self, kernel: usize) -> Self {
        self.max_pool2d_with(Pool2dConfig::new(kernel))
    }

    /// [`MaxPool2d`] with all settings.
    pub fn max_pool2d_with(self, config: Pool2dConfig) -> Self {
        let window = Window::Sliding(config);
        self.windowed(None, "pool", "MaxPool2d", window, |p, channels| {
            Ok((MaxPool2d::with(p, config), channels))
        })
    }

    /// [`AvgPool2d`] with windows of `kernel` by `kernel` and a stride of `kernel`.
    pub fn avg_pool2d(self, kernel: usize) -> Self {
        self.avg_pool2d_with(Pool2dConfig::new(kernel))
    }

    /// [`AvgPool2d`] with all settings.
    pub fn avg_pool2d_with(self, config: Pool2dConfig) -> Self {
        let window = Window::Sliding(config);
        self.windowed(None, "pool", "AvgPool2d", window, |p, channels| {
            Ok((AvgPool2d::with(p, config), channels))
        })
    }

    /// [`AdaptiveAvgPool2d`] to `rows` and `columns`.
    pub fn adaptive_avg_pool2d(self, rows: usize, columns: usize) -> Self {
        let window = Window::Fixed(rows, columns);
        self.windowed(
            None,
            "avgpool",
            "AdaptiveAvgPool2d",
            window,
            |p, channels| Ok((AdaptiveAvgPool2d::new(p, (rows, columns)), channels)),
        )
    }

    /// [`Flatten`].
    pub fn flatten(self) -> Self {
        self.append(None, "flatten", |p, shape| {
            Ok((Flatten::new(p), vec![shape.iter().product()]))
        })
    }

    /// [`Linear`].
    pub fn linear(self, name: impl Into<Name>, outputs: usize) -> Self {
        self.linear_with(name, outputs, WeightInit::Uniform)
    }

    /// [`Linear`] with another initialisation.
    pub fn linear_with(self, name: impl Into<Name>, outputs: usize, init: WeightInit) -> Self {
        self.on_features(name, outputs, |p, features| {
            Linear::with(p, features, outputs, init)
        })
    }

    /// [`Linear`] without bias.
    pub fn linear_without_bias(self, name: impl Into<Name>, outputs: usize) -> Self {
        self.on_features(name, outputs, |p, features| {
            Linear::without_bias(p, features, outputs)
        })
    }

    fn on_features(
        self,
        name: impl Into<Name>,
        outputs: usize,
        make: impl FnOnce(ParamPath, usize) -> Result<Linear>,
    ) -> Self {
        self.append(name, "fc", |p, shape| match *shape {
            [features] => Ok((make(p, features)?, vec![outputs])),
            _ => Err(Error::layer(
                p.name(),
                "Linear",
                format!("expected features (F), found (C, H, W) of {shape:?}; flatten first"),
            )),
        })
    }

    /// Any other layer: `make` gets its path and the shape of its input, `[C, H, W]` or `[F]`, and returns the layer and the shape of
    /// its output.
    ///
    /// ```
    /// use candle_core::{DType, Device, Tensor};
    /// use tallow_models::nn::Sequential;
    /// use tallow_models::{Context, Module, Result};
    /// use tallow_ops::ParamStore;
    ///
    /// struct Square;
    ///
    /// impl Module for Square {
    ///     fn forward(&self, x: &Tensor, cx: &mut Context) -> Result<Tensor> {
    ///         cx.report("square", "Square", x.sqr()?, 0, 0)
    ///     }
    /// }
    ///
    /// let store = ParamStore::new(DType::F32, &Device::Cpu, 0);
    /// let net = Sequential::build(&store.root(), (1, 8, 8))
    ///     .layer("square", |_, shape| Ok((Square, shape.to_vec())))
    ///     .flatten()
    ///     .linear("fc", 10)
    ///     .finish()?;
    /// # let _ = net;
    /// # Ok::<(), tallow_models::Error>(())
    /// ```
    pub fn layer<M: Module>(
        mut self,
        name: impl Into<Name>,
        make: impl FnOnce(ParamPath, &[usize]) -> Result<(M, Vec<usize>)>,
    ) -> Self {
        let side = |shape: &[usize]| shape.get(1..).map(<[usize]>::to_vec);
        let before = side(&self.shape);
        self = self.append(name, "layer", make);
        if self.error.is_some() || side(&self.shape) != before {
            self.windows.push(Window::Unknown);
        }
        self
    }

    /// Layer without parameters whose output has the shape of its input.
    pub(super) fn elementwise<M: Module>(
        self,
        auto: &'static str,
        make: impl FnOnce(ParamPath) -> M,
    ) -> Self {
        self.append(None, auto, |p, shape| Ok((make(p), shape.to_vec())))
    }

    /// Layer with a window; `make` gets the number of input channels and returns that of the output.
    pub(super) fn windowed<M: Module>(
        mut self,
        name: impl Into<Name>,
        auto: &'static str,
        kind: &'static str,
        window: Window,
        make: impl FnOnce(ParamPath, usize) -> Result<(M, usize)>,
    ) -> Self {
        self.windows.push(window);
        let input = self.input;
        self.on_maps(name, auto, kind, |p, [c, h, w]| {
            if !window.is_valid() {
                let message =
                    "expected a kernel, stride and dilation of at least 1, found 0".into();
                return Err(Error::layer(p.name(), kind, message));
            }
            let Some((rows, columns)) = window.output((h, w)) else {
                return Err(Error::TooSmall {
                    input,
                    layer: p.name().into(),
                    kind,
                    map: (h, w),
                    least: None,
                });
            };
            let (layer, channels) = make(p, c)?;
            Ok((layer, [channels, rows, columns]))
        })
    }

    /// Layer on feature maps; `make` gets the input shape and returns that of the output.
    pub(super) fn on_maps<M: Module>(
        self,
        name: impl Into<Name>,
        auto: &'static str,
        kind: &'static str,
        make: impl FnOnce(ParamPath, [usize; 3]) -> Result<(M, [usize; 3])>,
    ) -> Self {
        self.append(name, auto, |p, shape| match *shape {
            [c, h, w] => {
                let (layer, shape) = make(p, [c, h, w])?;
                Ok((layer, shape.to_vec()))
            }
            _ => Err(Error::layer(
                p.name(),
                kind,
                format!("expected feature maps (C, H, W), found features {shape:?}"),
            )),
        })
    }

    fn append<M: Module>(
        mut self,
        name: impl Into<Name>,
        auto: &'static str,
        make: impl FnOnce(ParamPath, &[usize]) -> Result<(M, Vec<usize>)>,
    ) -> Self {
        let path = self.place(name.into(), auto);
        if self.error.is_some() {
            return self;
        }
        match make(path, &self.shape) {
            Ok((layer, shape)) => {
                self.net.push(layer);
                self.shape = shape;
            }
            Err(error) => self.error = Some(error),
        }
        self
    }

    /// Path of the next layer.
    fn place(&mut self, name: Name, auto: &'static str) -> ParamPath {
        let index = self.index;
        self.index = index.map(|index| index + 1);
        let named = self.named.take();
        match (name.0.or(named), index) {
            (Some(name), _) => self.path.pp(name),
            (None, Some(index)) => self.path.pp(index),
            (None, None) => {
                let count = self.counts.entry(auto).or_default();
                *count += 1;
                if *count == 1 && ["flatten", "avgpool"].contains(&auto) {
                    self.path.pp(auto)
                } else {
                    self.path.pp(format_args!("{auto}{count}"))
                }
            }
        }
    }
}
