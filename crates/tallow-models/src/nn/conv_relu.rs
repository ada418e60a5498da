use candle_core::Tensor;
use tallow_ops::conv_relu;

use super::{Conv2d, MaxPool2d, Relu};
use crate::{Context, Module, Result};

/// Convolution and rectifier, and perhaps a 2x2 max pooling after them.
///
/// It is made from finished layers, so that each keeps its name. They run as one operator, unless an observer asks for what is in
/// between.
#[derive(Clone, Debug)]
pub struct ConvRelu {
    conv: Conv2d,
    relu: Relu,
    pool: Option<MaxPool2d>,
}

impl ConvRelu {
    /// The two in the order they run.
    pub fn new(conv: Conv2d, relu: Relu) -> Self {
        let pool = None;
        Self { conv, relu, pool }
    }

    /// With a pooling at the end.
    pub fn pooled(self, pool: MaxPool2d) -> Self {
        Self {
            pool: Some(pool),
            ..self
        }
    }
}

impl Module for ConvRelu {
    fn forward(&self, x: &Tensor, cx: &mut Context) -> Result<Tensor> {
        if cx.is_observed() {
            let y = self.conv.forward(x, cx)?;
            let y = self.relu.forward(&y, cx)?;
            return match &self.pool {
                Some(pool) => pool.forward(&y, cx),
                None => Ok(y),
            };
        }
        let halving = self.pool.as_ref().is_some_and(MaxPool2d::is_halving);
        let (weight, bias) = self.conv.parameters();
        let y = conv_relu(x, weight, bias, &self.conv.config(cx.layout), halving)?;
        match &self.pool {
            Some(pool) if !halving => pool.forward(&y, cx),
            _ => Ok(y),
        }
    }
}
