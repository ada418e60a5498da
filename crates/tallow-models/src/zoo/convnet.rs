use tallow_ops::ParamPath;

use crate::config::ModelConfig;
use crate::error::Result;
use crate::nn::{ConvOptions, Sequential, SequentialBuilder};

/// Three 3x3 convolutions and a linear layer over the remaining map: `conv1` to `conv3`, `bn1` to `bn3`, `classifier`.
pub(crate) fn convnet_fc(p: &ParamPath, config: &ModelConfig) -> Result<Sequential> {
    features(p, config)?
        .flatten()
        .linear("classifier", config.classes)
        .finish()
}

/// `convnet-fc` with a 1x1 convolution and global average pooling (Lin et al. 2014) in place of the linear layer. The number of
/// parameters does not depend on the size of the image.
pub(crate) fn convnet_gap(p: &ParamPath, config: &ModelConfig) -> Result<Sequential> {
    features(p, config)?
        .conv2d("classifier", config.classes, 1)
        .adaptive_avg_pool2d(1, 1)
        .flatten()
        .finish()
}

/// 3x3 convolutions of 32, 64 and 128 channels, each with batch norm, ReLU and pooling.
fn features(p: &ParamPath, config: &ModelConfig) -> Result<SequentialBuilder> {
    let padded = ConvOptions {
        padding: 1,
        ..Default::default()
    };
    let mut net = Sequential::build(p, config.input_shape);
    for channels in [32, 64, 128] {
        net = net
            .conv2d_with(None, config.narrowed(channels)?, 3, padded)
            .batch_norm2d(None)
            .relu()
            .max_pool2d(2);
    }
    Ok(net)
}
