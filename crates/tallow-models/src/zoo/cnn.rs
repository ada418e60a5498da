use tallow_ops::ParamPath;

use crate::config::ModelConfig;
use crate::error::Result;
use crate::nn::{ConvOptions, Sequential, SequentialBuilder};

/// Two 5x5 convolutions of 6 channels and two linear layers: `conv1`, `conv2`, `fc1`, `fc2`.
pub(crate) fn cnn(p: &ParamPath, config: &ModelConfig) -> Result<Sequential> {
    Sequential::build(p, config.input_shape)
        .conv2d("conv1", 6, 5)
        .relu()
        .max_pool2d(2)
        .conv2d("conv2", 6, 5)
        .relu()
        .max_pool2d(2)
        .flatten()
        .linear("fc1", 50)
        .relu()
        .linear("fc2", config.classes)
        .finish()
}

/// Network of PyTorch's CIFAR-10 tutorial, with 6 and 16 channels.
pub(crate) fn cifar_cnn(p: &ParamPath, config: &ModelConfig) -> Result<Sequential> {
    two_convolutions(p, config, (6, 16), 0)
}

/// `cifar-cnn` with 16 and 32 channels.
pub(crate) fn lenet(p: &ParamPath, config: &ModelConfig) -> Result<Sequential> {
    two_convolutions(p, config, (16, 32), 0)
}

/// LeNet-5 as it is usually written today: padded for images of 28 x 28, with ReLU, max pooling and full connections.
pub(crate) fn lenet5(p: &ParamPath, config: &ModelConfig) -> Result<Sequential> {
    two_convolutions(p, config, (6, 16), 2)
}

/// `cifar-cnn` with batch norm (Ioffe and Szegedy 2015) after each convolution: `bn1`, `bn2`.
pub(crate) fn cifar_cnn_bn(p: &ParamPath, config: &ModelConfig) -> Result<Sequential> {
    let net = Sequential::build(p, config.input_shape)
        .conv2d("conv1", 6, 5)
        .batch_norm2d("bn1")
        .relu()
        .max_pool2d(2)
        .conv2d("conv2", 16, 5)
        .batch_norm2d("bn2")
        .relu()
        .max_pool2d(2);
    three_linear(net, config)
}

/// A 5x5 convolution of 32 channels with stride 2 and three 3x3 ones of 64, 64 and 128, each with batch norm, and a linear layer:
/// `conv1`, `bn1`, ..., `fc`. Images of 28 x 28 become maps of 12, 6 and 4 pixels a side, which the 4 x 4 tiles of Winograd's filtering
/// cover with little or no padding.
pub(crate) fn mnist_cnn(p: &ParamPath, config: &ModelConfig) -> Result<Sequential> {
    let options = |stride, padding| ConvOptions {
        stride,
        padding,
        bias: false,
        ..Default::default()
    };
    Sequential::build(p, config.input_shape)
        .conv2d_with("conv1", 32, 5, options(2, 0))
        .batch_norm2d("bn1")
        .relu()
        .conv2d_with("conv2", 64, 3, options(1, 1))
        .batch_norm2d("bn2")
        .relu()
        .max_pool2d(2)
        .conv2d_with("conv3", 64, 3, options(1, 1))
        .batch_norm2d("bn3")
        .relu()
        .conv2d_with("conv4", 128, 3, options(1, 0))
        .batch_norm2d("bn4")
        .relu()
        .max_pool2d(2)
        .flatten()
        .dropout(config.dropout.unwrap_or(0.25))
        .linear("fc", config.classes)
        .finish()
}

/// `conv1`, `conv2`, `fc1`, `fc2`, `fc3`, with `channels` channels and `padding` in the first convolution.
fn two_convolutions(
    p: &ParamPath,
    config: &ModelConfig,
    channels: (usize, usize),
    padding: usize,
) -> Result<Sequential> {
    let padded = ConvOptions {
        padding,
        ..Default::default()
    };
    let net = Sequential::build(p, config.input_shape)
        .conv2d_with("conv1", channels.0, 5, padded)
        .relu()
        .max_pool2d(2)
        .conv2d("conv2", channels.1, 5)
        .relu()
        .max_pool2d(2);
    three_linear(net, config)
}

/// `fc1`, `fc2`, `fc3`.
fn three_linear(net: SequentialBuilder, config: &ModelConfig) -> Result<Sequential> {
    net.flatten()
        .linear("fc1", 120)
        .relu()
        .linear("fc2", 84)
        .relu()
        .linear("fc3", config.classes)
        .finish()
}
