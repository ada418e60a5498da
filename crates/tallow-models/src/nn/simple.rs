use candle_core::Tensor;
use tallow_ops::{Generator, ParamPath, add, dropout, flatten, relu};

use crate::error::Result;
use crate::module::{Context, Module};

/// Rectifier, as `torch.nn.ReLU`.
#[derive(Clone, Debug)]
pub struct Relu {
    name: String,
}

impl Relu {
    /// Kind and name.
    pub(super) fn label(&self) -> (&'static str, &str) {
        ("ReLU", &self.name)
    }

    /// Layer with the name of the path.
    pub fn new(p: ParamPath) -> Self {
        Self {
            name: p.name().into(),
        }
    }
}

impl Module for Relu {
    fn forward(&self, x: &Tensor, cx: &mut Context) -> Result<Tensor> {
        let y = relu(x)?;
        cx.onnx(&self.name, [x], &y, |layer, [x]| {
            Ok(layer.plain("Relu", &[x]))
        })?;
        cx.report(&self.name, "ReLU", y, 0, 0)
    }
}

/// Sum of two activations of the same shape, as at the end of a residual block.
///
/// PyTorch has no module for it; its kind is `Add`.
#[derive(Clone, Debug)]
pub struct Add {
    name: String,
}

impl Add {
    /// Kind and name.
    pub(super) fn label(&self) -> (&'static str, &str) {
        ("Add", &self.name)
    }

    /// Layer with the name of the path.
    pub fn new(p: ParamPath) -> Self {
        Self {
            name: p.name().into(),
        }
    }

    /// `x + y`.
    ///
    /// # Errors
    /// When the shapes differ.
    pub fn forward(&self, x: &Tensor, y: &Tensor, cx: &mut Context) -> Result<Tensor> {
        let sum = add(x, y)?;
        cx.onnx(&self.name, [x, y], &sum, |layer, [x, y]| {
            Ok(layer.plain("Add", &[x, y]))
        })?;
        cx.report(&self.name, "Add", sum, 0, 0)
    }
}

/// Hyperbolic tangent, as `torch.nn.Tanh`.
#[derive(Clone, Debug)]
pub struct Tanh {
    name: String,
}

impl Tanh {
    /// Layer with the name of the path.
    pub fn new(p: ParamPath) -> Self {
        Self {
            name: p.name().into(),
        }
    }
}

impl Module for Tanh {
    fn forward(&self, x: &Tensor, cx: &mut Context) -> Result<Tensor> {
        let y = x.tanh()?;
        cx.onnx(&self.name, [x], &y, |layer, [x]| {
            Ok(layer.plain("Tanh", &[x]))
        })?;
        cx.report(&self.name, "Tanh", y, 0, 0)
    }
}

/// Dropout, as `torch.nn.Dropout`: in training zeroes each value with probability `p` and scales the rest by `1 / (1 - p)`. Random numbers
/// come from the generator of the parameter store.
#[derive(Clone, Debug)]
pub struct Dropout {
    name: String,
    probability: f64,
    generator: Generator,
}

impl Dropout {
    /// Dropout with `probability` in `[0, 1)`; outside this range the first training pass fails.
    pub fn new(p: ParamPath, probability: f64) -> Self {
        Self {
            name: p.name().into(),
            probability,
            generator: p.generator(),
        }
    }
}

impl Module for Dropout {
    fn forward(&self, x: &Tensor, cx: &mut Context) -> Result<Tensor> {
        let y = if cx.train {
            dropout(x, self.probability, &self.generator)?
        } else {
            x.clone()
        };
        cx.onnx(&self.name, [x], &y, |_, [x]| Ok(x.clone()))?;
        cx.report(&self.name, "Dropout", y, 0, 0)
    }
}

/// Flattening, as `torch.nn.Flatten`: `(N, C, H, W)` to `(N, C * H * W)`, in that order in either layout.
#[derive(Clone, Debug)]
pub struct Flatten {
    name: String,
}

impl Flatten {
    /// Layer with the name of the path.
    pub fn new(p: ParamPath) -> Self {
        Self {
            name: p.name().into(),
        }
    }
}

impl Module for Flatten {
    fn forward(&self, x: &Tensor, cx: &mut Context) -> Result<Tensor> {
        let y = flatten(x, cx.layout)?;
        cx.onnx(&self.name, [x], &y, |layer, [x]| Ok(layer.flatten(x)))?;
        cx.report(&self.name, "Flatten", y, 0, 0)
    }
}
