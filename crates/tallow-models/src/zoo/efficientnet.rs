use tallow_ops::ParamPath;

use crate::config::ModelConfig;
use crate::error::{Error, Result};
use crate::nn::ActivationKind::{Sigmoid, Silu};
use crate::nn::{NormOptions, Sequential, WeightInit};
use crate::zoo::inverted::{ConvNorm, InvertedResidual, Squeeze, multiple_of_8};

/// Stages of EfficientNet-B0: expansion, kernel, stride, output channels, blocks. Table 1 of the paper.
const STAGES: [(usize, usize, usize, usize, usize); 7] = [
    (1, 3, 1, 16, 1),
    (6, 3, 2, 24, 2),
    (6, 5, 2, 40, 2),
    (6, 3, 2, 80, 3),
    (6, 5, 1, 112, 3),
    (6, 5, 2, 192, 4),
    (6, 3, 1, 320, 1),
];

/// EfficientNet-B0 (Tan and Le 2019) with torchvision's names: `features.N`, `classifier.1`.
///
/// A width divisor is torchvision's `width_mult` of its inverse, with channels rounded to multiples of 8. Stochastic depth rises
/// linearly from 0 to the configuration's, by default 0.2, over the blocks.
pub(crate) fn efficientnet_b0(p: &ParamPath, config: &ModelConfig) -> Result<Sequential> {
    let divisor = config.width_divisor;
    if divisor == 0 {
        let message = "width_divisor must be at least 1, not 0".into();
        return Err(Error::Config { message });
    }
    let width = |channels| multiple_of_8(channels, divisor);
    let depth = config.stochastic_depth.unwrap_or(0.2);
    let norm = NormOptions::default();
    let ends = ConvNorm {
        kernel: 1,
        stride: 1,
        groups: 1,
        norm,
        activation: Some(Silu),
    };
    let blocks: usize = STAGES.iter().map(|stage| stage.4).sum();
    Sequential::build(p, config.input_shape)
        .sequential("features", |net| {
            let stem = ConvNorm {
                kernel: 3,
                stride: 2,
                ..ends
            };
            let mut inputs = width(32);
            let mut net = stem.append(net, inputs);
            let mut index = 0;
            for (expansion, kernel, stride, outputs, repeats) in STAGES {
                let outputs = width(outputs);
                net = net.sequential(None, |mut net| {
                    for repeat in 0..repeats {
                        let block = InvertedResidual {
                            inputs,
                            expanded: multiple_of_8(inputs * expansion, 1),
                            outputs,
                            kernel,
                            stride: if repeat == 0 { stride } else { 1 },
                            squeeze: Some(Squeeze {
                                channels: (inputs / 4).max(1),
                                activation: Silu,
                                gate: Sigmoid,
                            }),
                            activation: Silu,
                            norm,
                            stochastic_depth: Some(depth * index as f64 / blocks as f64),
                        };
                        net = block.append(net);
                        inputs = outputs;
                        index += 1;
                    }
                    net
                });
            }
            ends.append(net, 4 * inputs)
        })
        .adaptive_avg_pool2d(1, 1)
        .flatten()
        .sequential("classifier", |net| {
            net.dropout(config.dropout.unwrap_or(0.2)).linear_with(
                None,
                config.classes,
                WeightInit::FanOutRange,
            )
        })
        .finish()
}
