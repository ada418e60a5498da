use candle_core::{DType, Device};
use tallow_ops::Layout;

use crate::error::{Error, Result};

/// Configuration of a model: classes, input shape, and settings of the network.
#[derive(Clone, Debug)]
pub struct ModelConfig {
    /// Number of classes; at least 1.
    pub classes: usize,
    /// Shape of an input image, `(C, H, W)`.
    pub input_shape: (usize, usize, usize),
    /// Widths of the hidden linear layers. Only for models that take them.
    pub hidden: Option<Vec<usize>>,
    /// Divisor of the number of channels of every convolution; default 1. Only for models that take it.
    pub width_divisor: usize,
    /// Dropout probability in `[0, 1)`; the model's own when `None`. Only for models with dropout.
    pub dropout: Option<f64>,
    /// Probability of stochastic depth in the last block, in `[0, 1]`, from 0 in the first one; the model's own when `None`. Only for models
    /// with stochastic depth.
    pub stochastic_depth: Option<f64>,
    /// Axis order of activations inside the model; the model's own when `None`. The input is `(N, C, H, W)` in either case.
    pub layout: Option<Layout>,
    /// Seed of initialisation and dropout; default 0.
    pub seed: u64,
    /// Type of parameters and input; default `f32`.
    pub dtype: DType,
    /// Device of the parameters; default the CPU.
    pub device: Device,
}

impl ModelConfig {
    /// Configuration for `classes` classes and images of `(C, H, W)`, with defaults for the rest.
    pub fn new(classes: usize, input_shape: (usize, usize, usize)) -> Self {
        Self {
            classes,
            input_shape,
            hidden: None,
            width_divisor: 1,
            dropout: None,
            stochastic_depth: None,
            layout: None,
            seed: 0,
            dtype: DType::F32,
            device: Device::Cpu,
        }
    }

    /// Number of channels `width` divided by [`ModelConfig::width_divisor`].
    ///
    /// # Errors
    /// [`Error::Config`] when the divisor is 0 or does not divide `width`.
    pub fn narrowed(&self, width: usize) -> Result<usize> {
        let divisor = self.width_divisor;
        if divisor == 0 || !width.is_multiple_of(divisor) {
            return Err(Error::Config {
                message: format!("width_divisor {divisor} does not divide {width} channels"),
            });
        }
        Ok(width / divisor)
    }
}
