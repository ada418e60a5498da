use candle_core::Tensor;
use tallow_ops::{ParamPath, gelu, hard_sigmoid, hard_swish, relu, sigmoid, silu};

use crate::error::Result;
use crate::module::{Context, Module};
use crate::nn::builder::SequentialBuilder;

/// Elementwise function of an [`Activation`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ActivationKind {
    /// `max(x, 0)`, as `torch.nn.ReLU`.
    Relu,
    /// `x * sigmoid(x)`, as `torch.nn.SiLU` (Elfwing et al. 2018).
    Silu,
    /// `x * Φ(x)` with the exact error function, as `torch.nn.GELU` (Hendrycks and Gimpel 2016).
    Gelu,
    /// `x * relu6(x + 3) / 6`, as `torch.nn.Hardswish` (Howard et al. 2019).
    HardSwish,
    /// `relu6(x + 3) / 6`, as `torch.nn.Hardsigmoid`.
    HardSigmoid,
    /// `1 / (1 + exp(-x))`, as `torch.nn.Sigmoid`.
    Sigmoid,
}

impl ActivationKind {
    /// PyTorch's name of the layer.
    fn kind(self) -> &'static str {
        match self {
            Self::Relu => "ReLU",
            Self::Silu => "SiLU",
            Self::Gelu => "GELU",
            Self::HardSwish => "Hardswish",
            Self::HardSigmoid => "Hardsigmoid",
            Self::Sigmoid => "Sigmoid",
        }
    }
}

/// Elementwise activation of any [`ActivationKind`], on inputs of any shape.
///
/// [`Relu`](crate::nn::Relu) is the layer that joins a convolution before it.
#[derive(Clone, Debug)]
pub struct Activation {
    name: String,
    function: ActivationKind,
}

impl Activation {
    /// Layer with the name of the path.
    pub fn new(p: ParamPath, function: ActivationKind) -> Self {
        Self {
            name: p.name().into(),
            function,
        }
    }
}

impl Module for Activation {
    fn forward(&self, x: &Tensor, cx: &mut Context) -> Result<Tensor> {
        let y = match self.function {
            ActivationKind::Relu => relu(x)?,
            ActivationKind::Silu => silu(x)?,
            ActivationKind::Gelu => gelu(x)?,
            ActivationKind::HardSwish => hard_swish(x)?,
            ActivationKind::HardSigmoid => hard_sigmoid(x)?,
            ActivationKind::Sigmoid => sigmoid(x)?,
        };
        cx.onnx(&self.name, [x], &y, |layer, [x]| {
            Ok(match self.function {
                ActivationKind::Relu => layer.plain("Relu", &[x]),
                ActivationKind::Silu => layer.silu(x),
                ActivationKind::Gelu => layer.gelu(x),
                ActivationKind::HardSwish => layer.plain("HardSwish", &[x]),
                ActivationKind::HardSigmoid => layer.hard_sigmoid(x),
                ActivationKind::Sigmoid => layer.plain("Sigmoid", &[x]),
            })
        })?;
        cx.report(&self.name, self.function.kind(), y, 0, 0)
    }
}

impl SequentialBuilder {
    /// [`Activation`]; [`ActivationKind::Relu`] becomes a [`Relu`](crate::nn::Relu). Its automatic name is `relu1` or `act1`.
    pub fn activation(self, function: ActivationKind) -> Self {
        match function {
            ActivationKind::Relu => self.relu(),
            _ => self.elementwise("act", |p| Activation::new(p, function)),
        }
    }
}
