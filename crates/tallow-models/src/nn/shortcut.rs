use candle_core::Tensor;
use tallow_ops::{Layout, ParamPath, Pool2dConfig, avg_pool2d, pad_with_zeros};

use super::{
    AvgPool2d, BatchNorm2d, ConvBn, ConvOptions, ConvTranspose2d, ResidualOptions, Sequential,
};
use crate::{Context, Module, Result};

/// How the input of a residual block gets its output's shape, so that the two can be added.
///
/// Where the shape does not change the input is added as it is, but for [`Shortcut::ProjectionEverywhere`].
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Shortcut {
    /// Every `stride`-th pixel, the new maps zero, half of them before the old ones and half behind: no parameters (option A of
    /// He et al. 2016, as the well-known CIFAR code does it).
    ZeroPad,
    /// A 1x1 convolution and batch norm (option B; torchvision's).
    #[default]
    Projection,
    /// The same also where the shape does not change (option C).
    ProjectionEverywhere,
    /// Averages over `stride` by `stride` pixels, then a 1x1 convolution and batch norm, so that no pixel is passed over (ResNet-D,
    /// He et al. 2019).
    PooledProjection,
    /// Averages over squares of twice the stride, from which a 2x2 transposed convolution restores the size; batch norm. The sides
    /// must be multiples of twice the stride.
    Transposed,
}

impl Shortcut {
    /// The way round a block, with its parameters under `p`; nothing when the input can be added as it is. `norm` says whether batch
    /// norm ends it.
    pub(super) fn build(
        self,
        p: &ParamPath,
        inputs: usize,
        outputs: usize,
        norm: bool,
        options: &ResidualOptions,
    ) -> Result<Option<Box<dyn Module>>> {
        let stride = options.stride;
        if stride == 1 && inputs == outputs && self != Self::ProjectionEverywhere {
            return Ok(None);
        }
        let projection = |index: usize, stride| -> Result<Box<dyn Module>> {
            let conv = options.conv(p.pp(index), inputs, outputs, 1, stride)?;
            if !norm {
                return Ok(Box::new(conv));
            }
            let norm = BatchNorm2d::new(p.pp(index + 1), outputs)?;
            Ok(Box::new(ConvBn::new(conv, norm)))
        };
        Ok(Some(match self {
            Self::ZeroPad => Box::new(ZeroPad {
                name: p.name().into(),
                stride,
                outputs,
            }),
            Self::Projection | Self::ProjectionEverywhere => projection(0, stride)?,
            Self::PooledProjection => {
                let pool = Pool2dConfig {
                    ceil_mode: true,
                    ..Pool2dConfig::new(stride)
                };
                Box::new(
                    Sequential::new()
                        .add(AvgPool2d::with(p.pp(0), pool))
                        .add(projection(1, 1)?),
                )
            }
            Self::Transposed => {
                let twice = ConvOptions {
                    stride: 2,
                    bias: false,
                    init: options.init,
                    ..Default::default()
                };
                let net = Sequential::new()
                    .add(AvgPool2d::new(p.pp(0), 2 * stride))
                    .add(ConvTranspose2d::with(p.pp(1), inputs, outputs, 2, twice)?);
                if norm {
                    Box::new(net.add(BatchNorm2d::new(p.pp(2), outputs)?))
                } else {
                    Box::new(net)
                }
            }
        }))
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
        let y = pad_with_zeros(&y, axis, before, missing - before)?;
        cx.report(&self.name, "ZeroPad", y, 0, 0)
    }
}
