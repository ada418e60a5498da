use candle_core::Tensor;
use tallow_ops::ParamPath;

use super::{
    Add, BatchNorm2d, Conv2d, ConvBn, ConvBnRelu, ConvOptions, Relu, Shortcut, WeightInit,
};
use crate::{Context, Module, Result};

/// The settings of a residual block, with torchvision's defaults.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct ResidualOptions {
    /// Pixels from one output to the next; 1.
    pub stride: usize,
    /// Groups of channels that the 3x3 convolution of a [`Bottleneck`] keeps apart (ResNeXt, Xie et al. 2017); 1.
    pub groups: usize,
    /// How the input gets the output's shape; by projection.
    pub shortcut: Shortcut,
    /// What the shortcut's parameters are called; `downsample`.
    pub shortcut_name: &'static str,
    /// How the convolutions' weights start; as torchvision has them.
    pub init: WeightInit,
}

impl Default for ResidualOptions {
    fn default() -> Self {
        Self {
            stride: 1,
            groups: 1,
            shortcut: Shortcut::Projection,
            shortcut_name: "downsample",
            init: WeightInit::KaimingFanOut,
        }
    }
}

impl ResidualOptions {
    /// A convolution of a block: no bias, and padding that keeps the size at stride 1.
    pub(super) fn conv(
        &self,
        p: ParamPath,
        inputs: usize,
        outputs: usize,
        kernel: usize,
        stride: usize,
    ) -> Result<Conv2d> {
        self.grouped(p, inputs, outputs, kernel, stride, 1)
    }

    fn grouped(
        &self,
        p: ParamPath,
        inputs: usize,
        outputs: usize,
        kernel: usize,
        stride: usize,
        groups: usize,
    ) -> Result<Conv2d> {
        let options = ConvOptions {
            stride,
            padding: kernel / 2,
            groups,
            bias: false,
            init: self.init,
            ..Default::default()
        };
        Conv2d::with(p, inputs, outputs, kernel, options)
    }

    fn shortcut(
        &self,
        p: &ParamPath,
        inputs: usize,
        outputs: usize,
        norm: bool,
    ) -> Result<Option<Box<dyn Module>>> {
        let p = p.pp(self.shortcut_name);
        self.shortcut.build(&p, inputs, outputs, norm, self)
    }
}

/// Two 3x3 convolutions with batch norm and a shortcut round them (He et al. 2016): torchvision's `BasicBlock`.
///
/// `(N, inputs, H, W)` to `(N, width, H / stride, W / stride)`, the sizes rounded up. Names are `conv1`, `bn1`, `relu`, `conv2`,
/// `bn2`, those of the shortcut, `add`, `relu_1`.
pub struct BasicBlock {
    first: ConvBnRelu,
    last: ConvBn,
    shortcut: Option<Box<dyn Module>>,
    add: Add,
    relu: Relu,
}

impl BasicBlock {
    /// Fails when a name is taken or there are no maps.
    pub fn new(
        p: &ParamPath,
        inputs: usize,
        width: usize,
        options: &ResidualOptions,
    ) -> Result<Self> {
        Ok(Self {
            first: ConvBnRelu::new(
                options.conv(p.pp("conv1"), inputs, width, 3, options.stride)?,
                BatchNorm2d::new(p.pp("bn1"), width)?,
                Relu::new(p.pp("relu")),
            ),
            last: ConvBn::new(
                options.conv(p.pp("conv2"), width, width, 3, 1)?,
                BatchNorm2d::new(p.pp("bn2"), width)?,
            ),
            shortcut: options.shortcut(p, inputs, width, true)?,
            add: Add::new(p.pp("add")),
            relu: Relu::new(p.pp("relu_1")),
        })
    }
}

impl Module for BasicBlock {
    fn forward(&self, x: &Tensor, cx: &mut Context) -> Result<Tensor> {
        let y = self.first.forward(x, cx)?;
        let round = around(&self.shortcut, x, cx)?;
        self.last
            .forward_add_relu(&y, &round, &self.add, &self.relu, cx)
    }
}

/// A 3x3 convolution between two of 1x1, each with batch norm, and a shortcut round them: torchvision's `Bottleneck`, whose stride is
/// in the 3x3 convolution (ResNet V1.5).
///
/// `(N, inputs, H, W)` to `(N, outputs, H / stride, W / stride)`, the sizes rounded up; `inner` maps in between. Names are `conv1`,
/// `bn1`, `relu`, `conv2`, `bn2`, `relu_1`, `conv3`, `bn3`, those of the shortcut, `add`, `relu_2`.
pub struct Bottleneck {
    first: ConvBnRelu,
    middle: ConvBnRelu,
    last: ConvBn,
    shortcut: Option<Box<dyn Module>>,
    add: Add,
    relu: Relu,
}

impl Bottleneck {
    /// Fails when a name is taken, there are no maps, or the groups do not divide `inner`.
    pub fn new(
        p: &ParamPath,
        inputs: usize,
        inner: usize,
        outputs: usize,
        options: &ResidualOptions,
    ) -> Result<Self> {
        let ResidualOptions { stride, groups, .. } = *options;
        Ok(Self {
            first: ConvBnRelu::new(
                options.conv(p.pp("conv1"), inputs, inner, 1, 1)?,
                BatchNorm2d::new(p.pp("bn1"), inner)?,
                Relu::new(p.pp("relu")),
            ),
            middle: ConvBnRelu::new(
                options.grouped(p.pp("conv2"), inner, inner, 3, stride, groups)?,
                BatchNorm2d::new(p.pp("bn2"), inner)?,
                Relu::new(p.pp("relu_1")),
            ),
            last: ConvBn::new(
                options.conv(p.pp("conv3"), inner, outputs, 1, 1)?,
                BatchNorm2d::new(p.pp("bn3"), outputs)?,
            ),
            shortcut: options.shortcut(p, inputs, outputs, true)?,
            add: Add::new(p.pp("add")),
            relu: Relu::new(p.pp("relu_2")),
        })
    }
}

impl Module for Bottleneck {
    fn forward(&self, x: &Tensor, cx: &mut Context) -> Result<Tensor> {
        let y = self.first.forward(x, cx)?;
        let y = self.middle.forward(&y, cx)?;
        let round = around(&self.shortcut, x, cx)?;
        self.last
            .forward_add_relu(&y, &round, &self.add, &self.relu, cx)
    }
}

/// Two 3x3 convolutions, each *after* its batch norm and rectifier, and a shortcut on which nothing else lies (He et al. 2016,
/// "Identity mappings in deep residual networks").
///
/// Shapes as [`BasicBlock`]. Where the shape changes, the shortcut starts behind the first rectifier and has no batch norm, as in the
/// authors' code. Names are `bn1`, `relu`, `conv1`, `bn2`, `relu_1`, `conv2`, those of the shortcut, `add`.
pub struct PreActBlock {
    norm: BatchNorm2d,
    relu: Relu,
    first: ConvBnRelu,
    last: Conv2d,
    shortcut: Option<Box<dyn Module>>,
    add: Add,
}

impl PreActBlock {
    /// Fails when a name is taken or there are no maps.
    pub fn new(
        p: &ParamPath,
        inputs: usize,
        width: usize,
        options: &ResidualOptions,
    ) -> Result<Self> {
        Ok(Self {
            norm: BatchNorm2d::new(p.pp("bn1"), inputs)?,
            relu: Relu::new(p.pp("relu")),
            first: ConvBnRelu::new(
                options.conv(p.pp("conv1"), inputs, width, 3, options.stride)?,
                BatchNorm2d::new(p.pp("bn2"), width)?,
                Relu::new(p.pp("relu_1")),
            ),
            last: options.conv(p.pp("conv2"), width, width, 3, 1)?,
            shortcut: options.shortcut(p, inputs, width, false)?,
            add: Add::new(p.pp("add")),
        })
    }
}

impl Module for PreActBlock {
    fn forward(&self, x: &Tensor, cx: &mut Context) -> Result<Tensor> {
        let active = self.relu.forward(&self.norm.forward(x, cx)?, cx)?;
        let y = self.first.forward(&active, cx)?;
        let y = self.last.forward(&y, cx)?;
        let start = if self.shortcut.is_some() { &active } else { x };
        let round = around(&self.shortcut, start, cx)?;
        self.add.forward(&y, &round, cx)
    }
}

/// What comes out of a shortcut.
fn around(shortcut: &Option<Box<dyn Module>>, x: &Tensor, cx: &mut Context) -> Result<Tensor> {
    match shortcut {
        Some(shortcut) => shortcut.forward(x, cx),
        None => Ok(x.clone()),
    }
}
