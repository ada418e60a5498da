use tallow_ops::ParamPath;

use crate::config::ModelConfig;
use crate::error::{Error, Result};
use crate::nn::ActivationKind::{HardSigmoid, HardSwish, Relu};
use crate::nn::{ActivationKind, NormOptions, Sequential, WeightInit};
use crate::zoo::inverted::{ConvNorm, InvertedResidual, Squeeze, multiple_of_8};

/// MobileNetV3 (Howard et al. 2019) with torchvision's names: `features.N` and `classifier.N`.
#[derive(Clone, Copy, Debug)]
pub(crate) struct MobileNetV3 {
    /// Blocks after the stem of 16 channels.
    pub blocks: &'static [Row],
    /// Width of the hidden linear layer.
    pub hidden: usize,
}

/// Block: kernel, expanded channels, output channels, squeeze-and-excite, activation, stride. The columns of the paper's tables.
type Row = (usize, usize, usize, bool, ActivationKind, usize);

pub(crate) const SMALL: MobileNetV3 = MobileNetV3 {
    blocks: &[
        (3, 16, 16, true, Relu, 2),
        (3, 72, 24, false, Relu, 2),
        (3, 88, 24, false, Relu, 1),
        (5, 96, 40, true, HardSwish, 2),
        (5, 240, 40, true, HardSwish, 1),
        (5, 240, 40, true, HardSwish, 1),
        (5, 120, 48, true, HardSwish, 1),
        (5, 144, 48, true, HardSwish, 1),
        (5, 288, 96, true, HardSwish, 2),
        (5, 576, 96, true, HardSwish, 1),
        (5, 576, 96, true, HardSwish, 1),
    ],
    hidden: 1024,
};

pub(crate) const LARGE: MobileNetV3 = MobileNetV3 {
    blocks: &[
        (3, 16, 16, false, Relu, 1),
        (3, 64, 24, false, Relu, 2),
        (3, 72, 24, false, Relu, 1),
        (5, 72, 40, true, Relu, 2),
        (5, 120, 40, true, Relu, 1),
        (5, 120, 40, true, Relu, 1),
        (3, 240, 80, false, HardSwish, 2),
        (3, 200, 80, false, HardSwish, 1),
        (3, 184, 80, false, HardSwish, 1),
        (3, 184, 80, false, HardSwish, 1),
        (3, 480, 112, true, HardSwish, 1),
        (3, 672, 112, true, HardSwish, 1),
        (5, 672, 160, true, HardSwish, 2),
        (5, 960, 160, true, HardSwish, 1),
        (5, 960, 160, true, HardSwish, 1),
    ],
    hidden: 1280,
};

impl MobileNetV3 {
    /// The network; a width divisor is torchvision's `width_mult` of its inverse, with channels rounded to multiples of 8.
    pub(crate) fn network(&self, p: &ParamPath, config: &ModelConfig) -> Result<Sequential> {
        let divisor = config.width_divisor;
        if divisor == 0 {
            let message = "width_divisor must be at least 1, not 0".into();
            return Err(Error::Config { message });
        }
        let width = |channels| multiple_of_8(channels, divisor);
        // torchvision's norms of this network, after the TensorFlow original.
        let norm = NormOptions {
            eps: 1e-3,
            momentum: 0.01,
            ..Default::default()
        };
        let ends = ConvNorm {
            kernel: 1,
            stride: 1,
            groups: 1,
            norm,
            activation: Some(HardSwish),
        };
        let normal = WeightInit::Normal { std: 0.01 };
        Sequential::build(p, config.input_shape)
            .sequential("features", |net| {
                let stem = ConvNorm {
                    kernel: 3,
                    stride: 2,
                    ..ends
                };
                let mut inputs = width(16);
                let mut net = stem.append(net, inputs);
                for &(kernel, expanded, outputs, squeeze, activation, stride) in self.blocks {
                    let (expanded, outputs) = (width(expanded), width(outputs));
                    let squeeze = squeeze.then_some(Squeeze {
                        channels: multiple_of_8(expanded / 4, 1),
                        activation: Relu,
                        gate: HardSigmoid,
                    });
                    let block = InvertedResidual {
                        inputs,
                        expanded,
                        outputs,
                        kernel,
                        stride,
                        squeeze,
                        activation,
                        norm,
                        stochastic_depth: None,
                    };
                    net = block.append(net);
                    inputs = outputs;
                }
                ends.append(net, 6 * inputs)
            })
            .adaptive_avg_pool2d(1, 1)
            .flatten()
            .sequential("classifier", |net| {
                net.linear_with(None, width(self.hidden), normal)
                    .activation(HardSwish)
                    .dropout(config.dropout.unwrap_or(0.2))
                    .linear_with(None, config.classes, normal)
            })
            .finish()
    }
}
