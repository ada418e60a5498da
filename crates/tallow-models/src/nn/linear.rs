use candle_core::{Tensor, Var};
use tallow_ops::{Init, ParamPath, linear};

use crate::{Context, Module, Result};

/// `torch.nn.Linear`: `(N, I)` to `(N, O)`, with `weight` `(O, I)` and `bias` `(O)`.
#[derive(Clone, Debug)]
pub struct Linear {
    name: String,
    weight: Var,
    bias: Var,
}

impl Linear {
    /// Fails when the name is taken, or when there are no inputs.
    pub fn new(p: ParamPath, inputs: usize, outputs: usize) -> Result<Self> {
        let weight = p.param("weight", (outputs, inputs), weight_init(inputs))?;
        let bias = p.param("bias", outputs, bias_init(inputs))?;
        Ok(Self {
            name: p.name().into(),
            weight,
            bias,
        })
    }
}

impl Module for Linear {
    fn forward(&self, x: &Tensor, cx: &mut Context) -> Result<Tensor> {
        let y = linear(x, &self.weight, Some(&self.bias))?;
        let weights = self.weight.elem_count();
        cx.report(
            &self.name,
            "Linear",
            &y,
            weights + self.bias.elem_count(),
            weights as u64,
        );
        Ok(y)
    }
}

/// What `reset_parameters` of PyTorch's linear and convolution layers gives the weights: uniform within `1 / sqrt(fan_in)`.
pub(super) fn weight_init(fan_in: usize) -> Init {
    Init::KaimingUniform {
        fan_in,
        a: 5f64.sqrt(),
    }
}

/// What it gives the biases: the same range.
pub(super) fn bias_init(fan_in: usize) -> Init {
    let bound = 1. / (fan_in as f64).sqrt();
    Init::Uniform {
        lo: -bound,
        up: bound,
    }
}
