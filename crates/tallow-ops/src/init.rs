use candle_core::{DType, Device, Shape, Tensor};

use crate::{Error, Generator, Result};

/// How a new parameter is filled: the formulas of `torch.nn.init`.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Init {
    /// The same value everywhere; draws nothing.
    Const(f64),
    /// Uniform in `[lo, up)`.
    Uniform {
        /// The lower bound.
        lo: f64,
        /// The upper bound.
        up: f64,
    },
    /// Normal.
    Normal {
        /// The mean.
        mean: f64,
        /// The standard deviation.
        std: f64,
    },
    /// `torch.nn.init.kaiming_uniform_` with `leaky_relu` (He et al. 2015): uniform within
    /// `sqrt(6 / ((1 + a^2) fan_in))` of zero. PyTorch's layers use `a = sqrt(5)`, which makes it `1 / sqrt(fan_in)`.
    KaimingUniform {
        /// Inputs that meet in one output: `I` for a linear layer, `I/groups * KH * KW` for a convolution.
        fan_in: usize,
        /// The negative slope of the rectifier that follows.
        a: f64,
    },
}

impl Init {
    /// A tensor filled this way, drawing from `generator`.
    ///
    /// Fails on a range that [`Generator::uniform`] or [`Generator::normal`] refuses, and on `fan_in` 0.
    pub fn tensor(
        self,
        shape: impl Into<Shape>,
        dtype: DType,
        device: &Device,
        generator: &Generator,
    ) -> Result<Tensor> {
        match self {
            Init::Const(value) => Ok(Tensor::full(value, shape, &Device::Cpu)?
                .to_dtype(dtype)?
                .to_device(device)?),
            Init::Uniform { lo, up } => generator.uniform(lo, up, shape, dtype, device),
            Init::Normal { mean, std } => generator.normal(mean, std, shape, dtype, device),
            Init::KaimingUniform { fan_in: 0, .. } => {
                let message = "kaiming_uniform wants at least one input, got fan_in = 0".into();
                Err(Error::Config {
                    op: "init",
                    message,
                })
            }
            Init::KaimingUniform { fan_in, a } => {
                let bound = (6. / ((1. + a * a) * fan_in as f64)).sqrt();
                generator.uniform(-bound, bound, shape, dtype, device)
            }
        }
    }
}
