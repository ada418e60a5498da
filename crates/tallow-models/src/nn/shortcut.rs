use candle_core::Tensor;
use tallow_ops::{Layout, ParamPath, Pool2dConfig, zero_pad_shortcut};

use crate::error::Result;
use crate::module::{Context, Module};
use crate::nn::conv::{Conv2d, ConvOptions};
use crate::nn::init::WeightInit;
use crate::nn::norm::BatchNorm2d;
use crate::nn::pool::AvgPool2d;
use crate::nn::sequential::Sequential;
use crate::nn::transpose::ConvTranspose2d;

/// Shortcut of a residual block: how its input gets the shape of its output, so that the two can be added.
///
/// Where the shape does not change, the input is added as it is, except with [`Shortcut::ProjectionEverywhere`].
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Shortcut {
    /// Every `stride`-th pixel, and channels of zeros, half of them before the input's and half after: no parameters (option A of
    /// He et al. 2016, as in `pytorch_resnet_cifar10`).
    ZeroPad,
    /// 1x1 convolution and batch norm (option B; torchvision).
    #[default]
    Projection,
    /// 1x1 convolution and batch norm also where the shape does not change (option C).
    ProjectionEverywhere,
    /// Average over `stride` by `stride` pixels, then 1x1 convolution and batch norm, so that every pixel counts (ResNet-D, He et al.
    /// 2019).
    PooledProjection,
    /// Average over squares of twice the stride, then a 2x2 transposed convolution that restores the size, and batch norm. Height and
    /// width must be multiples of twice the stride.
    Transposed,
}

/// Settings of a residual block, with torchvision's defaults.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct ResidualOptions {
    /// Stride; default 1.
    pub stride: usize,
    /// Groups of channels in the 3x3 convolution of a [`Bottleneck`](crate::nn::Bottleneck) (ResNeXt, Xie et al. 2017); default 1.
    pub groups: usize,
    /// Shortcut; default a projection.
    pub shortcut: Shortcut,
    /// Name of the shortcut's parameters; default `downsample`.
    pub shortcut_name: &'static str,
    /// Initialisation of the convolutions' weights; default torchvision's.
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
    /// Convolution of a block: without bias, and with padding that keeps the size at stride 1.
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

    /// [`ResidualOptions::conv`] with groups of channels.
    pub(super) fn grouped(
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

    /// Shortcut of the block at `p`; empty when the input can be added as it is. With `norm`, a batch norm ends it.
    pub(super) fn shortcut(
        &self,
        p: &ParamPath,
        inputs: usize,
        outputs: usize,
        norm: bool,
    ) -> Result<Sequential> {
        let p = p.pp(self.shortcut_name);
        let stride = self.stride;
        let mut net = Sequential::new();
        if stride == 1 && inputs == outputs && self.shortcut != Shortcut::ProjectionEverywhere {
            return Ok(net);
        }
        match self.shortcut {
            Shortcut::ZeroPad => net.push(ZeroPad {
                name: p.name().into(),
                stride,
                outputs,
            }),
            Shortcut::Projection | Shortcut::ProjectionEverywhere => {
                net.push(self.conv(p.pp(0), inputs, outputs, 1, stride)?);
                if norm {
                    net.push(BatchNorm2d::new(p.pp(1), outputs)?);
                }
            }
            Shortcut::PooledProjection => {
                let pool = Pool2dConfig {
                    ceil_mode: true,
                    ..Pool2dConfig::new(stride)
                };
                net.push(AvgPool2d::with(p.pp(0), pool));
                net.push(self.conv(p.pp(1), inputs, outputs, 1, 1)?);
                if norm {
                    net.push(BatchNorm2d::new(p.pp(2), outputs)?);
                }
            }
            Shortcut::Transposed => {
                let twice = ConvOptions {
                    stride: 2,
                    bias: false,
                    init: self.init,
                    ..Default::default()
                };
                net.push(AvgPool2d::new(p.pp(0), 2 * stride));
                net.push(ConvTranspose2d::with(p.pp(1), inputs, outputs, 2, twice)?);
                if norm {
                    net.push(BatchNorm2d::new(p.pp(2), outputs)?);
                }
            }
        }
        Ok(net)
    }
}

/// [`Shortcut::ZeroPad`].
struct ZeroPad {
    name: String,
    stride: usize,
    outputs: usize,
}

impl Module for ZeroPad {
    fn forward(&self, x: &Tensor, cx: &mut Context) -> Result<Tensor> {
        let y = zero_pad_shortcut(x, self.stride, self.outputs, cx.layout)?;
        let channels = match cx.layout {
            Layout::Nchw => x.dim(1)?,
            Layout::Nhwc => x.dim(3)?,
        };
        let missing = self.outputs.saturating_sub(channels);
        let before = missing / 2;
        cx.onnx(&self.name, [x], &y, |layer, [x]| {
            let every = match self.stride {
                1 => x.clone(),
                stride => layer.every(x, stride),
            };
            let (before, after) = ([0, before, 0, 0], [0, missing - before, 0, 0]);
            Ok(layer.pad(&every, before, after, 0.))
        })?;
        cx.report(&self.name, "ZeroPad", y, 0, 0)
    }
}
