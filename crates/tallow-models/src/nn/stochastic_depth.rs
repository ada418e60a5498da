use candle_core::Tensor;
use tallow_ops::{Generator, ParamPath};

use crate::error::{Error, Result};
use crate::module::{Context, Module};
use crate::nn::builder::SequentialBuilder;

/// Stochastic depth (Huang et al. 2016), as `torchvision.ops.StochasticDepth` with `mode="row"`: in training replaces the whole
/// activation of an image by zeros with probability `p` and scales the others by `1 / (1 - p)`. At the end of a residual branch it
/// leaves the shortcut alone.
///
/// Random numbers come from the generator of the parameter store, one for each image.
#[derive(Clone, Debug)]
pub struct StochasticDepth {
    name: String,
    probability: f64,
    generator: Generator,
}

const KIND: &str = "StochasticDepth";

impl StochasticDepth {
    /// Stochastic depth with `probability` in `[0, 1]`. With 0 nothing is drawn.
    ///
    /// # Errors
    /// [`Error::Layer`] when the probability is outside that range.
    pub fn new(p: ParamPath, probability: f64) -> Result<Self> {
        if !(0. ..=1.).contains(&probability) {
            let message = format!("expected a probability in [0, 1], found {probability}");
            return Err(Error::layer(p.name(), KIND, message));
        }
        Ok(Self {
            name: p.name().into(),
            probability,
            generator: p.generator(),
        })
    }
}

impl Module for StochasticDepth {
    fn forward(&self, x: &Tensor, cx: &mut Context) -> Result<Tensor> {
        let y = if cx.train && self.probability > 0. {
            let mut shape = vec![1; x.rank()];
            shape[0] = x.dims()[0];
            let survival = 1. - self.probability;
            let kept = (self.generator).bernoulli(survival, shape, x.dtype(), x.device())?;
            // All are dropped at a survival of 0, and there is nothing to scale.
            let factor = if survival > 0. { 1. / survival } else { 1. };
            x.broadcast_mul(&(kept * factor)?)?
        } else {
            x.clone()
        };
        cx.onnx(&self.name, [x], &y, |_, [x]| Ok(x.clone()))?;
        cx.report(&self.name, KIND, y, 0, 0)
    }
}

impl SequentialBuilder {
    /// [`StochasticDepth`] of this name.
    pub fn stochastic_depth(self, name: &str, probability: f64) -> Self {
        self.layer(name, |p, shape| {
            Ok((StochasticDepth::new(p, probability)?, shape.to_vec()))
        })
    }
}
