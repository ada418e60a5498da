use tallow_ops::ParamPath;

use super::after_two_convolutions;
use crate::nn::{Conv2d, ConvRelu, Flatten, Linear, MaxPool2d, Relu, Sequential};
use crate::{ModelConfig, Module, Result};

/// Two convolutions of 6 maps and two linear layers: `conv1`, `conv2`, `fc1`, `fc2`.
pub(crate) fn cnn(p: &ParamPath, config: &ModelConfig) -> Result<Box<dyn Module>> {
    let (h, w) = after_two_convolutions("cnn", config.input_shape)?;
    Ok(Box::new(
        Sequential::new()
            .add(convolution(p, 1, config.input_shape.0, 6)?)
            .add(convolution(p, 2, 6, 6)?)
            .add(Flatten::new(p.pp("flatten")))
            .add(Linear::new(p.pp("fc1"), 6 * h * w, 50)?)
            .add(Relu::new(p.pp("relu3")))
            .add(Linear::new(p.pp("fc2"), 50, config.classes)?),
    ))
}

/// The network of PyTorch's CIFAR-10 tutorial, of 6 and 16 maps.
pub(crate) fn cifar_cnn(p: &ParamPath, config: &ModelConfig) -> Result<Box<dyn Module>> {
    two_convolutions("cifar-cnn", p, config, 6, 16)
}

/// The same, wider: 16 and 32 maps.
pub(crate) fn lenet(p: &ParamPath, config: &ModelConfig) -> Result<Box<dyn Module>> {
    two_convolutions("lenet", p, config, 16, 32)
}

/// `conv1`, `conv2`, `fc1`, `fc2`, `fc3`.
fn two_convolutions(
    model: &'static str,
    p: &ParamPath,
    config: &ModelConfig,
    a: usize,
    b: usize,
) -> Result<Box<dyn Module>> {
    let (h, w) = after_two_convolutions(model, config.input_shape)?;
    Ok(Box::new(
        Sequential::new()
            .add(convolution(p, 1, config.input_shape.0, a)?)
            .add(convolution(p, 2, a, b)?)
            .add(Flatten::new(p.pp("flatten")))
            .add(Linear::new(p.pp("fc1"), b * h * w, 120)?)
            .add(Relu::new(p.pp("relu3")))
            .add(Linear::new(p.pp("fc2"), 120, 84)?)
            .add(Relu::new(p.pp("relu4")))
            .add(Linear::new(p.pp("fc3"), 84, config.classes)?),
    ))
}

/// `conv{i}` 5x5, `relu{i}`, `pool{i}`.
fn convolution(p: &ParamPath, i: usize, inputs: usize, outputs: usize) -> Result<ConvRelu> {
    let conv = Conv2d::new(p.pp(format!("conv{i}")), inputs, outputs, 5)?;
    let relu = Relu::new(p.pp(format!("relu{i}")));
    Ok(ConvRelu::new(conv, relu).pooled(MaxPool2d::new(p.pp(format!("pool{i}")), 2)))
}
