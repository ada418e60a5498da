use candle_core::{Tensor, Var};
use tallow_ops::{ParamPath, linear};

use crate::error::{Error, Result};
use crate::module::{Context, Module};
use crate::nn::init::WeightInit;

/// Linear layer, as `torch.nn.Linear`: `(N, I)` to `(N, O)`, with `weight` `(O, I)` and `bias` `(O)`.
#[derive(Clone, Debug)]
pub struct Linear {
    name: String,
    weight: Var,
    bias: Var,
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
        if inputs == 0 {
            let message = "expected at least one input, found 0".into();
            return Err(Error::layer(p.name(), "Linear", message));
        }
        let weight = p.param("weight", (outputs, inputs), init.weight(inputs, outputs))?;
        let bias = p.param("bias", outputs, init.bias(inputs))?;
        Ok(Self {
            name: p.name().into(),
            weight,
            bias,
        })
    }

    /// Sets all biases to `value`.
    pub(crate) fn fill_bias(&self, value: f64) -> Result<()> {
        let bias = Tensor::full(value, self.bias.shape(), self.bias.device())?;
        Ok(self.bias.set(&bias.to_dtype(self.bias.dtype())?)?)
    }
}

impl Module for Linear {
    fn forward(&self, x: &Tensor, cx: &mut Context) -> Result<Tensor> {
        let y = linear(x, &self.weight, Some(&self.bias))?;
        let weights = self.weight.elem_count();
        cx.report(
            &self.name,
            "Linear",
            y,
            weights + self.bias.elem_count(),
            weights as u64,
        )
    }
}
