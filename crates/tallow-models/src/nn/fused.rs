//! Operators that run several layers at once. Each records the layers that it covers; none is used while an observer wants the
//! features in between.

use candle_core::Tensor;
use tallow_ops::{
    batch_norm_add_relu_train, conv_bn_add_relu_eval, conv_bn_eval, conv_bn_relu_eval,
    conv_bn_relu_train,
};

use crate::error::Result;
use crate::module::{Context, Module};
use crate::nn::conv::Conv2d;
use crate::nn::linear::Linear;
use crate::nn::norm::BatchNorm2d;
use crate::nn::pool::MaxPool2d;
use crate::nn::simple::{Add, Relu};

/// `relu(conv(x))`, with a 2x2 max pooling if `pool` is one.
pub(super) fn conv_relu(
    conv: &Conv2d,
    relu: &Relu,
    pool: Option<&MaxPool2d>,
    x: &Tensor,
    cx: &mut Context,
) -> Result<Tensor> {
    let layers = [conv.label(), relu.label()].into_iter();
    cx.ran(&layers.chain(pool.map(MaxPool2d::label)).collect::<Vec<_>>());
    let (weight, bias) = conv.parameters();
    let config = conv.config(cx.layout);
    Ok(tallow_ops::conv_relu(
        x,
        weight,
        bias,
        &config,
        pool.is_some(),
    )?)
}

/// `relu(linear(x))` of rows.
pub(super) fn linear_relu(
    linear: &Linear,
    relu: &Relu,
    x: &Tensor,
    cx: &mut Context,
) -> Result<Tensor> {
    cx.ran(&[linear.label(), relu.label()]);
    let (weight, bias) = linear.parameters();
    Ok(tallow_ops::linear_relu(x, weight, bias)?)
}

/// `relu(norm(conv(x)))`, with a 2x2 max pooling if `pool` is one.
pub(super) fn conv_bn_relu(
    conv: &Conv2d,
    norm: &BatchNorm2d,
    relu: &Relu,
    pool: Option<&MaxPool2d>,
    x: &Tensor,
    cx: &mut Context,
) -> Result<Tensor> {
    let layers = [conv.label(), norm.label(), relu.label()].into_iter();
    cx.ran(&layers.chain(pool.map(MaxPool2d::label)).collect::<Vec<_>>());
    let block = if cx.train {
        conv_bn_relu_train
    } else {
        conv_bn_relu_eval
    };
    let (weight, bias) = conv.parameters();
    let config = conv.config(cx.layout);
    let y = block(
        x,
        weight,
        bias,
        norm.norm(cx.layout),
        &config,
        pool.is_some(),
    )?;
    if cx.train {
        norm.count_batch()?;
    }
    Ok(y)
}

/// `norm(conv(x))`: one operator in evaluation, two in training.
pub(super) fn conv_bn(
    conv: &Conv2d,
    norm: &BatchNorm2d,
    x: &Tensor,
    cx: &mut Context,
) -> Result<Tensor> {
    if cx.train {
        let y = conv.forward(x, cx)?;
        return norm.forward(&y, cx);
    }
    cx.ran(&[conv.label(), norm.label()]);
    let (weight, bias) = conv.parameters();
    let config = conv.config(cx.layout);
    Ok(conv_bn_eval(
        x,
        weight,
        bias,
        norm.norm(cx.layout),
        &config,
    )?)
}

/// `relu(norm(conv(x)) + shortcut)`: one operator in evaluation, two in training.
pub(super) fn conv_bn_add_relu(
    conv: &Conv2d,
    norm: &BatchNorm2d,
    add: &Add,
    relu: &Relu,
    x: &Tensor,
    shortcut: &Tensor,
    cx: &mut Context,
) -> Result<Tensor> {
    if cx.train {
        let y = conv.forward(x, cx)?;
        cx.ran(&[norm.label(), add.label(), relu.label()]);
        let y = batch_norm_add_relu_train(&y, shortcut, norm.norm(cx.layout))?;
        norm.count_batch()?;
        return Ok(y);
    }
    cx.ran(&[conv.label(), norm.label(), add.label(), relu.label()]);
    let (weight, bias) = conv.parameters();
    let config = conv.config(cx.layout);
    let norm = norm.norm(cx.layout);
    Ok(conv_bn_add_relu_eval(
        x, weight, bias, norm, &config, shortcut,
    )?)
}
