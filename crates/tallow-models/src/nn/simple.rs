use candle_core::Tensor;
use tallow_ops::{Generator, ParamPath, add, dropout, flatten, relu};

use crate::{Context, Module, Result};

/// `torch.nn.ReLU`.
#[derive(Clone, Debug)]
pub struct Relu {
    name: String,
}

impl Relu {
    /// The name is the path's.
    pub fn new(p: ParamPath) -> Self {
        Self {
            name: p.name().into(),
        }
    }
}

impl Module for Relu {
    fn forward(&self, x: &Tensor, cx: &mut Context) -> Result<Tensor> {
        let y = relu(x)?;
        cx.report(&self.name, "ReLU", y, 0, 0)
    }
}

/// The sum of two activations of one shape, as where a shortcut meets what it went round.
///
/// PyTorch has no module for it; the kind it reports is `Add`.
#[derive(Clone, Debug)]
pub struct Add {
    name: String,
}

impl Add {
    /// The name is the path's.
    pub fn new(p: ParamPath) -> Self {
        Self {
            name: p.name().into(),
        }
    }

    /// `x + y`. Fails when the shapes differ.
    pub fn forward(&self, x: &Tensor, y: &Tensor, cx: &mut Context) -> Result<Tensor> {
        let sum = add(x, y)?;
        cx.report(&self.name, "Add", sum, 0, 0)
    }
}

/// `torch.nn.Tanh`.
#[derive(Clone, Debug)]
pub struct Tanh {
    name: String,
}

impl Tanh {
    /// The name is the path's.
    pub fn new(p: ParamPath) -> Self {
        Self {
            name: p.name().into(),
        }
    }
}

impl Module for Tanh {
    fn forward(&self, x: &Tensor, cx: &mut Context) -> Result<Tensor> {
        let y = x.tanh()?;
        cx.report(&self.name, "Tanh", y, 0, 0)
    }
}

/// `torch.nn.Dropout`: in training zeroes each value with probability `p` and scales the rest by `1 / (1 - p)`. It draws from the
/// parameter store's generator.
#[derive(Clone, Debug)]
pub struct Dropout {
    name: String,
    probability: f64,
    generator: Generator,
}

impl Dropout {
    /// `probability` in `[0, 1)`; the first training pass fails outside it.
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
        cx.report(&self.name, "Dropout", y, 0, 0)
    }
}

/// `torch.nn.Flatten`: `(N, C, H, W)` to `(N, C * H * W)`, in that order whatever the layout.
#[derive(Clone, Debug)]
pub struct Flatten {
    name: String,
}

impl Flatten {
    /// The name is the path's.
    pub fn new(p: ParamPath) -> Self {
        Self {
            name: p.name().into(),
        }
    }
}

impl Module for Flatten {
    fn forward(&self, x: &Tensor, cx: &mut Context) -> Result<Tensor> {
        let y = flatten(x, cx.layout)?;
        cx.report(&self.name, "Flatten", y, 0, 0)
    }
}
