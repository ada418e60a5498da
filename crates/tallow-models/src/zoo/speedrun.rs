use candle_core::{Tensor, Var};
use tallow_ops::{Conv2dConfig, Init, ParamPath, Pool2dConfig, conv2d};

use crate::config::ModelConfig;
use crate::error::Result;
use crate::module::{Context, Module};
use crate::nn::{
    ActivationKind, ConvOptions, NormOptions, Sequential, SequentialBuilder, WeightInit,
};
use crate::trace::onnx_parameter;
use crate::whiten::WHITENED;

/// Side of the patches that the first layer whitens.
const PATCH: usize = 2;

/// Factor of the logits.
const SCALE: f64 = 1. / 9.;

/// Network of airbench94 (Jordan 2024, "94% on CIFAR-10 in 3.29 seconds on a single GPU").
///
/// A whitening layer of 2x2 patches (`whiten`, weights fixed; see [`Model::whiten`](crate::Model::whiten)), then three groups of 64, 256
/// and 256 channels: convolution, 2x2 max pooling, batch norm, GELU, convolution, batch norm, GELU. The factors of the batch norms are
/// fixed at 1; convolutions begin as identities. At the end 3x3 max pooling, a linear layer without bias, and logits times 1/9.
pub(crate) fn cifar_speedrun(p: &ParamPath, config: &ModelConfig) -> Result<Sequential> {
    let widths = [
        config.narrowed(64)?,
        config.narrowed(256)?,
        config.narrowed(256)?,
    ];
    let mut net = Sequential::build(p, config.input_shape)
        .layer(WHITENED, |p, shape| {
            let (channels, h, w) = match *shape {
                [c, h, w] => (c, h, w),
                _ => (0, 0, 0),
            };
            let layer = Whitening::new(p, channels)?;
            let side = |n: usize| n.saturating_sub(PATCH - 1);
            Ok((layer, vec![2 * channels * PATCH * PATCH, side(h), side(w)]))
        })
        .activation(ActivationKind::Gelu);
    for (index, width) in widths.into_iter().enumerate() {
        let number = index + 1;
        net = convolution(net, &format!("group{number}.conv1"), width).max_pool2d(2);
        net = norm(net, &format!("group{number}.norm1"));
        net = convolution(net, &format!("group{number}.conv2"), width);
        net = norm(net, &format!("group{number}.norm2"));
    }
    net.max_pool2d_with(Pool2dConfig::new(3))
        .flatten()
        .linear_without_bias("head", config.classes)
        .layer("scale", |p, shape| Ok((Scale::new(p), shape.to_vec())))
        .finish()
}

fn convolution(net: SequentialBuilder, name: &str, width: usize) -> SequentialBuilder {
    let options = ConvOptions {
        padding: 1,
        bias: false,
        init: WeightInit::Dirac,
        ..Default::default()
    };
    net.conv2d_with(name, width, 3, options)
}

/// Batch norm and GELU. Its statistics follow the batches fast, since training takes few steps.
fn norm(net: SequentialBuilder, name: &str) -> SequentialBuilder {
    let options = NormOptions {
        eps: 1e-12,
        momentum: 0.4,
        trained_weight: false,
    };
    net.batch_norm2d_with(name, options)
        .activation(ActivationKind::Gelu)
}

/// Convolution of 2x2 patches with fixed weights: `weight` is a buffer `(8 * C, C, 2, 2)`, `bias` is trained.
struct Whitening {
    name: String,
    weight: Var,
    bias: Var,
}

impl Whitening {
    fn new(p: ParamPath, channels: usize) -> Result<Self> {
        let fan_in = channels * PATCH * PATCH;
        let shape = (2 * fan_in, channels, PATCH, PATCH);
        let bound = 1. / (fan_in.max(1) as f64).sqrt();
        let uniform = Init::Uniform {
            lo: -bound,
            up: bound,
        };
        Ok(Self {
            name: p.name().into(),
            weight: p.buffer("weight", shape, uniform)?,
            bias: p.param("bias", 2 * fan_in, uniform)?,
        })
    }
}

impl Module for Whitening {
    fn forward(&self, x: &Tensor, cx: &mut Context) -> Result<Tensor> {
        let config = Conv2dConfig {
            layout: cx.layout,
            ..Default::default()
        };
        // Detached: there is no gradient of fixed weights to compute.
        let weight = self.weight.as_detached_tensor();
        let y = conv2d(x, &weight, Some(&self.bias), &config)?;
        cx.onnx(&self.name, [x], &y, |layer, [x]| {
            let weight = onnx_parameter(layer, "weight", &weight)?;
            let bias = onnx_parameter(layer, "bias", &self.bias)?;
            Ok(layer.conv(x, &weight, Some(&bias), &tallow_onnx::Conv::default()))
        })?;
        let outputs = self.bias.elem_count();
        let pixels = y.elem_count() / (y.dims()[0] * outputs).max(1);
        let multiply_adds = (weight.elem_count() * pixels) as u64;
        cx.report(&self.name, "Conv2d", y, outputs, multiply_adds)
    }
}

/// Multiplication of the logits by a constant, against too confident predictions at the beginning of training.
struct Scale {
    name: String,
}

impl Scale {
    fn new(p: ParamPath) -> Self {
        Self {
            name: p.name().into(),
        }
    }
}

impl Module for Scale {
    fn forward(&self, x: &Tensor, cx: &mut Context) -> Result<Tensor> {
        let y = (x * SCALE)?;
        cx.onnx(&self.name, [x], &y, |layer, [x]| {
            Ok(layer.times(x, SCALE as f32))
        })?;
        cx.report(&self.name, "Scale", y, 0, 0)
    }
}
