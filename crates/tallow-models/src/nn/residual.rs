use candle_core::Tensor;
use tallow_ops::{Layout, ParamPath, Pool2dConfig, avg_pool2d};

use super::{Add, BatchNorm2d, Conv2d, ConvBn, ConvBnRelu, ConvOptions, Relu, WeightInit};
use crate::{Context, Module, Result};

/// How the input of a residual block gets its output's shape, so that the two can be added.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Shortcut {
    /// Every `stride`-th pixel, the new maps zero, half of them before the old ones and half behind: no parameters (option A of
    /// He et al. 2016, as the well-known CIFAR code does it).
    ZeroPad,
    /// A 1x1 convolution and batch norm where the shape changes, nothing elsewhere (option B; torchvision's).
    #[default]
    Projection,
}

/// The settings of a residual block, with torchvision's defaults.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct ResidualOptions {
    /// Pixels from one output to the next; 1.
    pub stride: usize,
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
            shortcut: Shortcut::Projection,
            shortcut_name: "downsample",
            init: WeightInit::KaimingFanOut,
        }
    }
}

impl ResidualOptions {
    /// A convolution of a block: no bias, and padding that keeps the size at stride 1.
    fn conv(
        &self,
        p: ParamPath,
        inputs: usize,
        outputs: usize,
        kernel: usize,
        stride: usize,
    ) -> Result<Conv2d> {
        let options = ConvOptions {
            stride,
            padding: kernel / 2,
            bias: false,
            init: self.init,
            ..Default::default()
        };
        Conv2d::with(p, inputs, outputs, kernel, options)
    }

    /// The way round; nothing when the input can be added as it is.
    fn shortcut(
        &self,
        p: &ParamPath,
        inputs: usize,
        outputs: usize,
    ) -> Result<Option<Box<dyn Module>>> {
        if self.stride == 1 && inputs == outputs {
            return Ok(None);
        }
        let p = p.pp(self.shortcut_name);
        Ok(Some(match self.shortcut {
            Shortcut::ZeroPad => Box::new(ZeroPad {
                name: p.name().into(),
                stride: self.stride,
                outputs,
            }),
            Shortcut::Projection => Box::new(ConvBn::new(
                self.conv(p.pp(0), inputs, outputs, 1, self.stride)?,
                BatchNorm2d::new(p.pp(1), outputs)?,
            )),
        }))
    }
}

/// Two 3x3 convolutions with batch norm and a shortcut round them (He et al. 2016): torchvision's `BasicBlock`.
///
/// `(N, inputs, H, W)` to `(N, width, H / stride, W / stride)`, the sizes rounded up. Names are `conv1`, `bn1`, `relu`, `conv2`,
/// `bn2`, `add`, `relu_1`, and those of the shortcut.
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
            shortcut: options.shortcut(p, inputs, width)?,
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

/// What comes out of a shortcut.
fn around(shortcut: &Option<Box<dyn Module>>, x: &Tensor, cx: &mut Context) -> Result<Tensor> {
    match shortcut {
        Some(shortcut) => shortcut.forward(x, cx),
        None => Ok(x.clone()),
    }
}

struct ZeroPad {
    name: String,
    stride: usize,
    outputs: usize,
}

impl Module for ZeroPad {
    fn forward(&self, x: &Tensor, cx: &mut Context) -> Result<Tensor> {
        let axis = match cx.layout {
            Layout::Nchw => 1,
            Layout::Nhwc => 3,
        };
        // Windows of one pixel, `stride` apart, have their pixel as their average.
        let every = Pool2dConfig {
            stride: (self.stride, self.stride),
            layout: cx.layout,
            ..Pool2dConfig::new(1)
        };
        let y = avg_pool2d(x, &every, true)?;
        let missing = self.outputs.saturating_sub(y.dim(axis)?);
        let before = missing / 2;
        let y = y.pad_with_zeros(axis, before, missing - before)?;
        cx.report(&self.name, "ZeroPad", &y, 0, 0);
        Ok(y)
    }
}
