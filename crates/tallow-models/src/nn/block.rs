use candle_core::Tensor;
use tallow_ops::{
    batch_norm_add_relu_train, conv_bn_add_relu_eval, conv_bn_eval, conv_bn_relu_eval,
    conv_bn_relu_train,
};

use super::{Add, BatchNorm2d, Conv2d, MaxPool2d, Relu};
use crate::{Context, Module, Result};

/// Convolution, batch norm and rectifier, which almost always come together, and perhaps a 2x2 max pooling after them.
///
/// It is made from finished layers, so that each keeps the name PyTorch code would give it: `conv1`, `bn1`, `relu`, or
/// `features.0`, `features.1`, `features.2`. The layers run as one operator, unless an observer asks for what is in between.
#[derive(Clone, Debug)]
pub struct ConvBnRelu {
    conv: Conv2d,
    norm: BatchNorm2d,
    relu: Relu,
    pool: Option<MaxPool2d>,
}

impl ConvBnRelu {
    /// The three in the order they run.
    pub fn new(conv: Conv2d, norm: BatchNorm2d, relu: Relu) -> Self {
        Self {
            conv,
            norm,
            relu,
            pool: None,
        }
    }

    /// With a pooling at the end.
    pub fn pooled(self, pool: MaxPool2d) -> Self {
        Self {
            pool: Some(pool),
            ..self
        }
    }

    fn one_by_one(&self, x: &Tensor, cx: &mut Context) -> Result<Tensor> {
        let y = self.conv.forward(x, cx)?;
        let y = self.norm.forward(&y, cx)?;
        let y = self.relu.forward(&y, cx)?;
        match &self.pool {
            Some(pool) => pool.forward(&y, cx),
            None => Ok(y),
        }
    }
}

impl Module for ConvBnRelu {
    fn forward(&self, x: &Tensor, cx: &mut Context) -> Result<Tensor> {
        if cx.is_observed() {
            return self.one_by_one(x, cx);
        }
        let halving = self.pool.as_ref().is_some_and(MaxPool2d::is_halving);
        let block = if cx.train {
            conv_bn_relu_train
        } else {
            conv_bn_relu_eval
        };
        let (weight, bias) = self.conv.parameters();
        let config = self.conv.config(cx.layout);
        let y = block(x, weight, bias, self.norm.norm(cx.layout), &config, halving)?;
        if cx.train {
            self.norm.count_batch()?;
        }
        match &self.pool {
            Some(pool) if !halving => pool.forward(&y, cx),
            _ => Ok(y),
        }
    }
}

/// Convolution and batch norm without a rectifier: the shortcut that changes the shape, and the end of a residual block.
#[derive(Clone, Debug)]
pub struct ConvBn {
    conv: Conv2d,
    norm: BatchNorm2d,
}

impl ConvBn {
    /// The two in the order they run.
    pub fn new(conv: Conv2d, norm: BatchNorm2d) -> Self {
        Self { conv, norm }
    }

    /// `relu(norm(conv(x)) + shortcut)`: where the two ways through a residual block meet.
    ///
    /// `shortcut` has the shape of the convolution's output.
    pub fn forward_add_relu(
        &self,
        x: &Tensor,
        shortcut: &Tensor,
        add: &Add,
        relu: &Relu,
        cx: &mut Context,
    ) -> Result<Tensor> {
        if cx.is_observed() {
            let y = self.forward(x, cx)?;
            let y = add.forward(&y, shortcut, cx)?;
            return relu.forward(&y, cx);
        }
        if !cx.train {
            let (weight, bias) = self.conv.parameters();
            let (config, norm) = (self.conv.config(cx.layout), self.norm.norm(cx.layout));
            return Ok(conv_bn_add_relu_eval(
                x, weight, bias, norm, &config, shortcut,
            )?);
        }
        let y = self.conv.forward(x, cx)?;
        let y = batch_norm_add_relu_train(&y, shortcut, self.norm.norm(cx.layout))?;
        self.norm.count_batch()?;
        Ok(y)
    }
}

impl Module for ConvBn {
    fn forward(&self, x: &Tensor, cx: &mut Context) -> Result<Tensor> {
        if cx.train || cx.is_observed() {
            let y = self.conv.forward(x, cx)?;
            return self.norm.forward(&y, cx);
        }
        let (weight, bias) = self.conv.parameters();
        let config = self.conv.config(cx.layout);
        let norm = self.norm.norm(cx.layout);
        Ok(conv_bn_eval(x, weight, bias, norm, &config)?)
    }
}
