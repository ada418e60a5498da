use candle_core::{DType, Device, Shape, Tensor};

use crate::error::{Error, Result};
use crate::generator::{Generator, GeneratorState};

/// Initialization of a parameter, with the formulas of `torch.nn.init`.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Init {
    /// One value for all elements. No random numbers are drawn.
    Const(f64),
    /// Uniform distribution in `[lo, up)`.
    Uniform {
        /// Lower bound.
        lo: f64,
        /// Upper bound.
        up: f64,
    },
    /// Normal distribution.
    Normal {
        /// Mean.
        mean: f64,
        /// Standard deviation.
        std: f64,
    },
    /// `torch.nn.init.kaiming_uniform_` with `leaky_relu` (He et al. 2015): uniform in
    /// `[-b, b)` with `b = sqrt(6 / ((1 + a^2) fan_in))`. PyTorch's layers use `a = sqrt(5)`, so that `b = 1 / sqrt(fan_in)`.
    KaimingUniform {
        /// Number of inputs of one output: `I` for a linear layer, `I/groups * KH * KW` for a convolution.
        fan_in: usize,
        /// Negative slope of the leaky ReLU that follows.
        a: f64,
    },
}

impl Init {
    /// New tensor with values drawn from `generator`.
    ///
    /// # Errors
    /// As [`Generator::uniform`] and [`Generator::normal`]; [`Error::Config`] if `fan_in` is 0.
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
                let message = "kaiming_uniform: expected fan_in of at least 1, found 0".into();
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

    /// Number of words that [`Init::tensor`] takes from the generator for `count` values.
    fn words(self, count: usize, dtype: DType) -> u64 {
        let count = count as u64;
        match self {
            Init::Const(_) => 0,
            // Pairs of two 64-bit numbers, for every type.
            Init::Normal { .. } => 4 * count.div_ceil(2),
            Init::Uniform { .. } | Init::KaimingUniform { .. } => match dtype {
                DType::F64 => 2 * count,
                _ => count,
            },
        }
    }
}

/// Draw that was left out, to be made up for later: the initialization, and the place of its words in the stream.
#[derive(Clone, Copy, Debug)]
pub(crate) struct SkippedDraw {
    init: Init,
    start: GeneratorState,
}

impl SkippedDraw {
    /// Leaves out the draw of `count` values. `generator` moves on as if it had drawn them.
    ///
    /// # Errors
    /// As [`Init::tensor`].
    pub fn new(init: Init, count: usize, dtype: DType, generator: &Generator) -> Result<Self> {
        // A tensor without values, so that what the draw would refuse is refused here.
        init.tensor(0, dtype, &Device::Cpu, generator)?;
        let start = generator.skip(init.words(count, dtype));
        Ok(Self { init, start })
    }

    /// Values that the draw would have given.
    pub fn tensor(&self, shape: &Shape, dtype: DType, device: &Device) -> Result<Tensor> {
        let generator = Generator::new(self.start.seed);
        generator.set_state(&self.start);
        self.init.tensor(shape, dtype, device, &generator)
    }
}
