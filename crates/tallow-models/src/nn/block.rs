use candle_core::Tensor;

use super::{BatchNorm2d, Conv2d, Relu};
use crate::{Context, Module, Result};

/// Convolution, batch norm and rectifier, which almost always come together.
///
/// It is made from finished layers, so that each keeps the name PyTorch code would give it: `conv1`, `bn1`, `relu`, or
/// `features.0`, `features.1`, `features.2`.
#[derive(Clone, Debug)]
pub struct ConvBnRelu {
    conv: Conv2d,
    norm: BatchNorm2d,
    relu: Relu,
}

impl ConvBnRelu {
    /// The three in the order they run.
    pub fn new(conv: Conv2d, norm: BatchNorm2d, relu: Relu) -> Self {
        Self { conv, norm, relu }
    }
}

impl Module for ConvBnRelu {
    fn forward(&self, x: &Tensor, cx: &mut Context) -> Result<Tensor> {
        let y = self.conv.forward(x, cx)?;
        let y = self.norm.forward(&y, cx)?;
        self.relu.forward(&y, cx)
    }
}
