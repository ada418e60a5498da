//! Inverted residual blocks (Sandler et al. 2018), shared by MobileNetV3 and EfficientNet.

use crate::nn::{ActivationKind, ConvOptions, NormOptions, SequentialBuilder, WeightInit};

/// Convolution without bias, batch norm, and an activation if there is one: torchvision's `Conv2dNormActivation`, named by index.
#[derive(Clone, Copy, Debug)]
pub(crate) struct ConvNorm {
    pub kernel: usize,
    pub stride: usize,
    pub groups: usize,
    pub norm: NormOptions,
    pub activation: Option<ActivationKind>,
}

impl ConvNorm {
    pub(crate) fn append(&self, net: SequentialBuilder, outputs: usize) -> SequentialBuilder {
        let options = ConvOptions {
            stride: self.stride,
            padding: self.kernel / 2,
            groups: self.groups,
            bias: false,
            init: WeightInit::KaimingFanOut,
            ..Default::default()
        };
        net.sequential(None, |net| {
            let net = net
                .conv2d_with(None, outputs, self.kernel, options)
                .batch_norm2d_with(None, self.norm);
            match self.activation {
                Some(function) => net.activation(function),
                None => net,
            }
        })
    }
}

/// Squeeze-and-excite inside an inverted residual block.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Squeeze {
    pub channels: usize,
    pub activation: ActivationKind,
    pub gate: ActivationKind,
}

/// Inverted residual block: a 1x1 convolution to more channels, a depthwise convolution, squeeze-and-excite, a 1x1 convolution to
/// fewer channels; and a shortcut where the shape stays.
#[derive(Clone, Copy, Debug)]
pub(crate) struct InvertedResidual {
    pub inputs: usize,
    pub expanded: usize,
    pub outputs: usize,
    pub kernel: usize,
    pub stride: usize,
    pub squeeze: Option<Squeeze>,
    pub activation: ActivationKind,
    pub norm: NormOptions,
    /// Probability of stochastic depth, `None` for a network without it.
    pub stochastic_depth: Option<f64>,
}

impl InvertedResidual {
    /// Appends the block, with the names of torchvision: `block.N` and `stochastic_depth`.
    pub(crate) fn append(&self, net: SequentialBuilder) -> SequentialBuilder {
        let connected = self.stride == 1 && self.inputs == self.outputs;
        net.residual(None, connected, |net| {
            let net = net.sequential("block", |net| self.layers(net));
            match self.stochastic_depth {
                Some(probability) if connected => {
                    net.stochastic_depth("stochastic_depth", probability)
                }
                _ => net,
            }
        })
    }

    fn layers(&self, net: SequentialBuilder) -> SequentialBuilder {
        let pointwise = ConvNorm {
            kernel: 1,
            stride: 1,
            groups: 1,
            norm: self.norm,
            activation: Some(self.activation),
        };
        let depthwise = ConvNorm {
            kernel: self.kernel,
            stride: self.stride,
            groups: self.expanded,
            ..pointwise
        };
        let mut net = net;
        if self.expanded != self.inputs {
            net = pointwise.append(net, self.expanded);
        }
        net = depthwise.append(net, self.expanded);
        if let Some(squeeze) = self.squeeze {
            net = net.squeeze_excite(None, squeeze.channels, squeeze.activation, squeeze.gate);
        }
        let projection = ConvNorm {
            activation: None,
            ..pointwise
        };
        projection.append(net, self.outputs)
    }
}

/// `channels / divisor` rounded to a multiple of 8, and up where that loses more than a tenth: torchvision's `_make_divisible` with
/// `width_mult = 1 / divisor`.
pub(crate) fn multiple_of_8(channels: usize, divisor: usize) -> usize {
    let exact = channels as f64 / divisor.max(1) as f64;
    let rounded = ((exact + 4.) as usize / 8 * 8).max(8);
    match (rounded as f64) < 0.9 * exact {
        true => rounded + 8,
        false => rounded,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Values of `torchvision.models._utils._make_divisible(channels / divisor, 8)`.
    #[test]
    fn channels_are_rounded_as_in_torchvision() {
        for (channels, divisor, expected) in [
            (16, 1, 16),
            (88, 1, 88),
            (72, 4, 24),
            (88, 4, 24),
            (40, 4, 16),
            (24, 8, 8),
            (240, 8, 32),
            (120, 8, 16),
            (100, 1, 104),
            (90, 1, 88),
            (11, 1, 16),
        ] {
            assert_eq!(
                multiple_of_8(channels, divisor),
                expected,
                "{channels} / {divisor}"
            );
        }
    }
}
