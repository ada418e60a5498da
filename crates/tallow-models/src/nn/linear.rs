use candle_core::{Tensor, Var};
use tallow_ops::{Conv2dConfig, ParamPath, conv2d, linear};

use crate::error::{Error, Result};
use crate::module::{Context, Module};
use crate::nn::init::WeightInit;
use crate::trace::{onnx_optional, onnx_parameter};

/// Linear layer, as `torch.nn.Linear`: `(N, I)` to `(N, O)`, with `weight` `(O, I)` and `bias` `(O)`.
///
/// Feature maps `(N, I, H, W)` become `(N, O, H, W)`, pixel by pixel, as PyTorch's layer does it with the channels as last axis.
#[derive(Clone, Debug)]
pub struct Linear {
    name: String,
    weight: Var,
    bias: Option<Var>,
}

impl Linear {
    /// Linear layer with PyTorch's initialisation.
    ///
    /// # Errors
    /// When a name is taken, or when `inputs` is 0.
    pub fn new(p: ParamPath, inputs: usize, outputs: usize) -> Result<Self> {
        Self::with(p, inputs, outputs, WeightInit::Uniform)
    }

    /// Linear layer with another initialisation.
    ///
    /// # Errors
    /// As [`Linear::new`].
    pub fn with(p: ParamPath, inputs: usize, outputs: usize, init: WeightInit) -> Result<Self> {
        Self::make(p, inputs, outputs, init, true)
    }

    /// Linear layer without bias, with PyTorch's initialisation.
    ///
    /// # Errors
    /// As [`Linear::new`].
    pub fn without_bias(p: ParamPath, inputs: usize, outputs: usize) -> Result<Self> {
        Self::make(p, inputs, outputs, WeightInit::Uniform, false)
    }

    fn make(
        p: ParamPath,
        inputs: usize,
        outputs: usize,
        init: WeightInit,
        bias: bool,
    ) -> Result<Self> {
        if inputs == 0 {
            let message = "expected at least one input, found 0".into();
            return Err(Error::layer(p.name(), "Linear", message));
        }
        let weight = p.param("weight", (outputs, inputs), init.weight(inputs, outputs))?;
        let bias = bias
            .then(|| p.param("bias", outputs, init.bias(inputs)))
            .transpose()?;
        Ok(Self {
            name: p.name().into(),
            weight,
            bias,
        })
    }

    /// Kind and name.
    pub(super) fn label(&self) -> (&'static str, &str) {
        ("Linear", &self.name)
    }

    /// Weight and bias.
    pub(super) fn parameters(&self) -> (&Tensor, Option<&Tensor>) {
        (&self.weight, self.bias.as_ref().map(Var::as_tensor))
    }

    /// Sets all biases to `value`.
    pub(crate) fn fill_bias(&self, value: f64) -> Result<()> {
        let Some(bias) = &self.bias else {
            return Ok(());
        };
        let values = Tensor::full(value, bias.shape(), bias.device())?;
        Ok(bias.set(&values.to_dtype(bias.dtype())?)?)
    }
}

impl Module for Linear {
    fn forward(&self, x: &Tensor, cx: &mut Context) -> Result<Tensor> {
        let bias = self.bias.as_ref().map(Var::as_tensor);
        let weights = self.weight.elem_count();
        let (y, pixels) = match (x.rank(), cx.layout) {
            (4, layout) => {
                // A pixel's linear layer is a 1x1 convolution.
                let (outputs, inputs) = self.weight.dims2()?;
                let kernel = self.weight.reshape((outputs, inputs, 1, 1))?;
                let config = Conv2dConfig {
                    layout,
                    ..Default::default()
                };
                let y = conv2d(x, &kernel, bias, &config)?;
                let pixels = y.elem_count() / (y.dims()[0] * outputs).max(1);
                (y, pixels)
            }
            _ => (linear(x, &self.weight, bias)?, 1),
        };
        cx.onnx(&self.name, [x], &y, |layer, [input]| {
            let weight = onnx_parameter(layer, "weight", &self.weight)?;
            let bias = onnx_optional(layer, "bias", bias)?;
            Ok(match x.rank() {
                4 => layer.linear_on_maps(input, &weight, bias.as_ref()),
                _ => layer.linear(input, &weight, bias.as_ref()),
            })
        })?;
        let parameters = weights + bias.map_or(0, Tensor::elem_count);
        let multiply_adds = (weights * pixels) as u64;
        cx.report(&self.name, "Linear", y, parameters, multiply_adds)
    }
}
