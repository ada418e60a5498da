use tallow_ops::ParamPath;

use super::after_two_convolutions;
use crate::nn::{
    BatchNorm2d, Conv2d, ConvBnRelu, ConvOptions, ConvRelu, Flatten, Linear, MaxPool2d, Relu,
    Sequential,
};
use crate::{ModelConfig, Module, Result};

/// Two convolutions of 6 maps and two linear layers: `conv1`, `conv2`, `fc1`, `fc2`.
pub(crate) fn cnn(
    model: &'static str,
    p: &ParamPath,
    config: &ModelConfig,
) -> Result<Box<dyn Module>> {
    let (h, w) = after_two_convolutions(model, config.input_shape, 0)?;
    Ok(Box::new(
        Sequential::new()
            .add(convolution(p, 1, (config.input_shape.0, 6), 0)?)
            .add(convolution(p, 2, (6, 6), 0)?)
            .add(Flatten::new(p.pp("flatten")))
            .add(Linear::new(p.pp("fc1"), 6 * h * w, 50)?)
            .add(Relu::new(p.pp("relu3")))
            .add(Linear::new(p.pp("fc2"), 50, config.classes)?),
    ))
}

/// The network of PyTorch's CIFAR-10 tutorial, of 6 and 16 maps.
pub(crate) fn cifar_cnn(
    model: &'static str,
    p: &ParamPath,
    config: &ModelConfig,
) -> Result<Box<dyn Module>> {
    two_convolutions(model, p, config, (6, 16), 0)
}

/// The same with batch norm (Ioffe and Szegedy 2015) behind each convolution: `bn1`, `bn2`.
pub(crate) fn cifar_cnn_bn(
    model: &'static str,
    p: &ParamPath,
    config: &ModelConfig,
) -> Result<Box<dyn Module>> {
    let (h, w) = after_two_convolutions(model, config.input_shape, 0)?;
    let convolutions = Sequential::new()
        .add(normalised(p, 1, (config.input_shape.0, 6))?)
        .add(normalised(p, 2, (6, 16))?);
    Ok(Box::new(three_linear(convolutions, p, 16 * h * w, config)?))
}

/// The same, wider: 16 and 32 maps.
pub(crate) fn lenet(
    model: &'static str,
    p: &ParamPath,
    config: &ModelConfig,
) -> Result<Box<dyn Module>> {
    two_convolutions(model, p, config, (16, 32), 0)
}

/// What is now called LeNet-5: the first on digits, padded so that 28 x 28 pixels do, each map seeing all maps before it.
pub(crate) fn lenet5(
    model: &'static str,
    p: &ParamPath,
    config: &ModelConfig,
) -> Result<Box<dyn Module>> {
    two_convolutions(model, p, config, (6, 16), 2)
}

/// `conv1`, `conv2`, `fc1`, `fc2`, `fc3`, of `a` and `b` maps; `padding` is the first convolution's.
fn two_convolutions(
    model: &'static str,
    p: &ParamPath,
    config: &ModelConfig,
    (a, b): (usize, usize),
    padding: usize,
) -> Result<Box<dyn Module>> {
    let (h, w) = after_two_convolutions(model, config.input_shape, padding)?;
    let convolutions = Sequential::new()
        .add(convolution(p, 1, (config.input_shape.0, a), padding)?)
        .add(convolution(p, 2, (a, b), 0)?);
    Ok(Box::new(three_linear(convolutions, p, b * h * w, config)?))
}

/// `fc1`, `fc2`, `fc3` behind convolutions that leave this many features.
fn three_linear(
    convolutions: Sequential,
    p: &ParamPath,
    features: usize,
    config: &ModelConfig,
) -> Result<Sequential> {
    Ok(convolutions
        .add(Flatten::new(p.pp("flatten")))
        .add(Linear::new(p.pp("fc1"), features, 120)?)
        .add(Relu::new(p.pp("relu3")))
        .add(Linear::new(p.pp("fc2"), 120, 84)?)
        .add(Relu::new(p.pp("relu4")))
        .add(Linear::new(p.pp("fc3"), 84, config.classes)?))
}

/// `conv{i}` 5x5, `bn{i}`, `relu{i}`, `pool{i}`.
fn normalised(p: &ParamPath, i: usize, (inputs, outputs): (usize, usize)) -> Result<ConvBnRelu> {
    let conv = Conv2d::new(p.pp(format!("conv{i}")), inputs, outputs, 5)?;
    let norm = BatchNorm2d::new(p.pp(format!("bn{i}")), outputs)?;
    let relu = Relu::new(p.pp(format!("relu{i}")));
    Ok(ConvBnRelu::new(conv, norm, relu).pooled(MaxPool2d::new(p.pp(format!("pool{i}")), 2)))
}

/// `conv{i}` 5x5, `relu{i}`, `pool{i}`.
fn convolution(
    p: &ParamPath,
    i: usize,
    (inputs, outputs): (usize, usize),
    padding: usize,
) -> Result<ConvRelu> {
    let options = ConvOptions {
        padding,
        ..Default::default()
    };
    let conv = Conv2d::with(p.pp(format!("conv{i}")), inputs, outputs, 5, options)?;
    let relu = Relu::new(p.pp(format!("relu{i}")));
    Ok(ConvRelu::new(conv, relu).pooled(MaxPool2d::new(p.pp(format!("pool{i}")), 2)))
}
