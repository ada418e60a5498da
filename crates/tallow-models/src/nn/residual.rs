use candle_core::Tensor;
use tallow_ops::ParamPath;

use crate::error::Result;
use crate::module::{Context, Module};
use crate::nn::norm::BatchNorm2d;
use crate::nn::sequential::Sequential;
use crate::nn::shortcut::ResidualOptions;
use crate::nn::simple::{Add, Relu};

/// Residual connection: `relu(body(x) + shortcut(x))`, or the sum without the ReLU.
///
/// When the body ends in `Conv2d` and `BatchNorm2d`, these join the addition and the ReLU as one operator (in training, the batch norm
/// does). The names of the addition and the ReLU are those of their paths.
pub struct Residual {
    body: Sequential,
    shortcut: Sequential,
    add: Add,
    relu: Option<Relu>,
}

impl Residual {
    /// Connection around `body`; with an empty `shortcut`, `x` itself is added. Both outputs must have the same shape.
    pub fn new(body: Sequential, shortcut: Sequential, add: Add, relu: Option<Relu>) -> Self {
        Self {
            body,
            shortcut,
            add,
            relu,
        }
    }
}

impl Module for Residual {
    fn forward(&self, x: &Tensor, cx: &mut Context) -> Result<Tensor> {
        let shortcut = |cx: &mut Context| self.shortcut.forward(x, cx);
        self.body
            .forward_residual(x, shortcut, &self.add, self.relu.as_ref(), cx)
    }
}

/// Residual block of two 3x3 convolutions with batch norm (He et al. 2016): torchvision's `BasicBlock`.
///
/// `(N, inputs, H, W)` to `(N, width, H / stride, W / stride)`, sizes rounded up. Names are `conv1`, `bn1`, `relu`, `conv2`, `bn2`,
/// those of the shortcut, `add`, `relu_1`.
pub struct BasicBlock(Residual);

impl BasicBlock {
    /// Block with its parameters under `p`.
    ///
    /// # Errors
    /// When a name is taken or a number of channels is 0.
    pub fn new(
        p: &ParamPath,
        inputs: usize,
        width: usize,
        options: &ResidualOptions,
    ) -> Result<Self> {
        let body = Sequential::new()
            .add(options.conv(p.pp("conv1"), inputs, width, 3, options.stride)?)
            .add(BatchNorm2d::new(p.pp("bn1"), width)?)
            .add(Relu::new(p.pp("relu")))
            .add(options.conv(p.pp("conv2"), width, width, 3, 1)?)
            .add(BatchNorm2d::new(p.pp("bn2"), width)?);
        let shortcut = options.shortcut(p, inputs, width, true)?;
        let (add, relu) = (Add::new(p.pp("add")), Relu::new(p.pp("relu_1")));
        Ok(Self(Residual::new(body, shortcut, add, Some(relu))))
    }
}

impl Module for BasicBlock {
    fn forward(&self, x: &Tensor, cx: &mut Context) -> Result<Tensor> {
        self.0.forward(x, cx)
    }
}

/// Residual block of a 3x3 convolution between two of 1x1, each with batch norm: torchvision's `Bottleneck`, with the stride in the 3x3
/// convolution (ResNet V1.5).
///
/// `(N, inputs, H, W)` to `(N, outputs, H / stride, W / stride)`, sizes rounded up, with `inner` channels in between. Names are `conv1`,
/// `bn1`, `relu`, `conv2`, `bn2`, `relu_1`, `conv3`, `bn3`, those of the shortcut, `add`, `relu_2`.
pub struct Bottleneck(Residual);

impl Bottleneck {
    /// Block with its parameters under `p`.
    ///
    /// # Errors
    /// When a name is taken, a number of channels is 0, or the groups do not divide `inner`.
    pub fn new(
        p: &ParamPath,
        inputs: usize,
        inner: usize,
        outputs: usize,
        options: &ResidualOptions,
    ) -> Result<Self> {
        let ResidualOptions { stride, groups, .. } = *options;
        let body = Sequential::new()
            .add(options.conv(p.pp("conv1"), inputs, inner, 1, 1)?)
            .add(BatchNorm2d::new(p.pp("bn1"), inner)?)
            .add(Relu::new(p.pp("relu")))
            .add(options.grouped(p.pp("conv2"), inner, inner, 3, stride, groups)?)
            .add(BatchNorm2d::new(p.pp("bn2"), inner)?)
            .add(Relu::new(p.pp("relu_1")))
            .add(options.conv(p.pp("conv3"), inner, outputs, 1, 1)?)
            .add(BatchNorm2d::new(p.pp("bn3"), outputs)?);
        let shortcut = options.shortcut(p, inputs, outputs, true)?;
        let (add, relu) = (Add::new(p.pp("add")), Relu::new(p.pp("relu_2")));
        Ok(Self(Residual::new(body, shortcut, add, Some(relu))))
    }
}

impl Module for Bottleneck {
    fn forward(&self, x: &Tensor, cx: &mut Context) -> Result<Tensor> {
        self.0.forward(x, cx)
    }
}

/// Residual block with pre-activation: two 3x3 convolutions, each after its batch norm and ReLU, and nothing after the addition
/// (He et al. 2016, "Identity mappings in deep residual networks").
///
/// Shapes as [`BasicBlock`]. Where the shape changes, the shortcut starts after the first ReLU and has no batch norm, as in the
/// authors' code. Names are `bn1`, `relu`, `conv1`, `bn2`, `relu_1`, `conv2`, those of the shortcut, `add`.
pub struct PreActBlock {
    activation: Sequential,
    body: Sequential,
    shortcut: Sequential,
    add: Add,
}

impl PreActBlock {
    /// Block with its parameters under `p`.
    ///
    /// # Errors
    /// When a name is taken or a number of channels is 0.
    pub fn new(
        p: &ParamPath,
        inputs: usize,
        width: usize,
        options: &ResidualOptions,
    ) -> Result<Self> {
        Ok(Self {
            activation: Sequential::new()
                .add(BatchNorm2d::new(p.pp("bn1"), inputs)?)
                .add(Relu::new(p.pp("relu"))),
            body: Sequential::new()
                .add(options.conv(p.pp("conv1"), inputs, width, 3, options.stride)?)
                .add(BatchNorm2d::new(p.pp("bn2"), width)?)
                .add(Relu::new(p.pp("relu_1")))
                .add(options.conv(p.pp("conv2"), width, width, 3, 1)?),
            shortcut: options.shortcut(p, inputs, width, false)?,
            add: Add::new(p.pp("add")),
        })
    }
}

impl Module for PreActBlock {
    fn forward(&self, x: &Tensor, cx: &mut Context) -> Result<Tensor> {
        let active = self.activation.forward(x, cx)?;
        let y = self.body.forward(&active, cx)?;
        let shortcut = if self.shortcut.is_empty() {
            x.clone()
        } else {
            self.shortcut.forward(&active, cx)?
        };
        self.add.forward(&y, &shortcut, cx)
    }
}
