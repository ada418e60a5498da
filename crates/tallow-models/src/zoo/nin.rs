use tallow_ops::{ParamPath, Pool2dConfig};

use crate::config::ModelConfig;
use crate::error::Result;
use crate::nn::{ConvOptions, Sequential, SequentialBuilder, WeightInit};

/// Network in network (Lin et al. 2014) for CIFAR, with a 1x1 convolution and global average pooling as the head: `features.N`,
/// `classifier`.
///
/// The ReLU that some versions have after the last convolution is left out, so that the head is linear. Weights of convolutions are
/// initialised normal with standard deviation 0.05, biases with 0.
pub(crate) fn nin(p: &ParamPath, config: &ModelConfig) -> Result<Sequential> {
    features(p, config)?
        .conv2d_with("classifier", config.classes, 1, options(0))
        .adaptive_avg_pool2d(1, 1)
        .flatten()
        .finish()
}

/// `nin` with the average first and a linear layer after it; [`crate::conv_head_to_linear`] converts the state of `nin`.
pub(crate) fn nin_fc(p: &ParamPath, config: &ModelConfig) -> Result<Sequential> {
    features(p, config)?
        .adaptive_avg_pool2d(1, 1)
        .flatten()
        .linear_with("classifier", config.classes, INIT)
        .finish()
}

const INIT: WeightInit = WeightInit::Normal { std: 0.05 };

fn options(padding: usize) -> ConvOptions {
    ConvOptions {
        padding,
        init: INIT,
        ..Default::default()
    }
}

/// Three stages of a convolution and 1x1 convolutions, with pooling and dropout between them.
fn features(p: &ParamPath, config: &ModelConfig) -> Result<SequentialBuilder> {
    let width = config.narrowed(192)?;
    let (reduced, narrow) = (config.narrowed(160)?, config.narrowed(96)?);
    let dropout = config.dropout.unwrap_or(0.5);
    let overlapping = Pool2dConfig {
        stride: (2, 2),
        padding: (1, 1),
        ..Pool2dConfig::new(3)
    };
    let conv = |net: SequentialBuilder, channels, kernel: usize| {
        net.conv2d_with(None, channels, kernel, options(kernel / 2))
            .relu()
    };
    Ok(
        Sequential::build(p, config.input_shape).sequential("features", |mut net| {
            net = conv(net, width, 5);
            net = conv(net, reduced, 1);
            net = conv(net, narrow, 1);
            net = net.max_pool2d_with(overlapping).dropout(dropout);
            net = conv(net, width, 5);
            net = conv(net, width, 1);
            net = conv(net, width, 1);
            net = net.avg_pool2d_with(overlapping).dropout(dropout);
            net = conv(net, width, 3);
            conv(net, width, 1)
        }),
    )
}
