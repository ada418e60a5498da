use candle_core::Tensor;
use tallow_ops::{ParamPath, cast};

use crate::error::Result;
use crate::module::{Context, Module};
use crate::nn::activation::{Activation, ActivationKind};
use crate::nn::builder::{Name, SequentialBuilder};
use crate::nn::conv::{Conv2d, ConvOptions};
use crate::nn::init::WeightInit;
use crate::nn::pool::AdaptiveAvgPool2d;

/// Squeeze-and-excite (Hu et al. 2018), as `torchvision.ops.SqueezeExcitation`: multiplies each channel by a gate in `[0, 1]` that
/// depends on the averages of all channels.
///
/// `(N, C, H, W)` to the same shape. Names are `avgpool`, `fc1`, `activation`, `fc2`, `scale_activation` and `mul`; `fc1` and `fc2` are
/// 1x1 convolutions with bias.
pub struct SqueezeExcite {
    name: String,
    avgpool: AdaptiveAvgPool2d,
    fc1: Conv2d,
    activation: Activation,
    fc2: Conv2d,
    scale_activation: Activation,
}

impl SqueezeExcite {
    /// Layer over `channels` channels with `squeezed` channels between its two convolutions. `activation` is the function between
    /// them, `gate` the one after them.
    ///
    /// # Errors
    /// When a name is taken or a number of channels is 0.
    pub fn new(
        p: &ParamPath,
        channels: usize,
        squeezed: usize,
        activation: ActivationKind,
        gate: ActivationKind,
    ) -> Result<Self> {
        let options = ConvOptions {
            init: WeightInit::KaimingFanOut,
            ..Default::default()
        };
        Ok(Self {
            name: p.pp("mul").name().into(),
            avgpool: AdaptiveAvgPool2d::new(p.pp("avgpool"), (1, 1)),
            fc1: Conv2d::with(p.pp("fc1"), channels, squeezed, 1, options)?,
            activation: Activation::new(p.pp("activation"), activation),
            fc2: Conv2d::with(p.pp("fc2"), squeezed, channels, 1, options)?,
            scale_activation: Activation::new(p.pp("scale_activation"), gate),
        })
    }
}

impl Module for SqueezeExcite {
    fn forward(&self, x: &Tensor, cx: &mut Context) -> Result<Tensor> {
        let y = self.avgpool.forward(x, cx)?;
        let y = self.fc1.forward(&y, cx)?;
        let y = self.activation.forward(&y, cx)?;
        let y = self.fc2.forward(&y, cx)?;
        let gate = self.scale_activation.forward(&y, cx)?;
        let y = x.broadcast_mul(&cast(&gate, x.dtype())?)?;
        cx.onnx(&self.name, [x, &gate], &y, |layer, [x, gate]| {
            Ok(layer.plain("Mul", &[x, gate]))
        })?;
        cx.report(&self.name, "Mul", y, 0, 0)
    }
}

impl SequentialBuilder {
    /// [`SqueezeExcite`].
    pub fn squeeze_excite(
        self,
        name: impl Into<Name>,
        squeezed: usize,
        activation: ActivationKind,
        gate: ActivationKind,
    ) -> Self {
        self.on_maps(name, "se", "SqueezeExcitation", |p, [c, h, w]| {
            let layer = SqueezeExcite::new(&p, c, squeezed, activation, gate)?;
            Ok((layer, [c, h, w]))
        })
    }
}
