use candle_core::{Tensor, Var};
use tallow_ops::{Init, ParamPath, layer_norm, layer_norm_2d};

use crate::error::Result;
use crate::module::{Context, Module};
use crate::nn::builder::{Name, SequentialBuilder};
use crate::trace::onnx_parameter;

/// Layer normalisation over the channels of each pixel (Ba et al. 2016), as `torch.nn.LayerNorm(C)` on `(N, H, W, C)` and as
/// torchvision's `LayerNorm2d`: `weight` and `bias` are `(C)`.
///
/// `(N, C, H, W)` or `(N, C)` to the same shape.
#[derive(Clone, Debug)]
pub struct LayerNorm {
    name: String,
    weight: Var,
    bias: Var,
    eps: f64,
}

impl LayerNorm {
    /// Norm of `channels` channels. `eps` is added to the variance: 1e-5 by default in PyTorch, 1e-6 in ConvNeXt.
    ///
    /// # Errors
    /// When a name is taken.
    pub fn new(p: ParamPath, channels: usize, eps: f64) -> Result<Self> {
        Ok(Self {
            name: p.name().into(),
            weight: p.param("weight", channels, Init::Const(1.))?,
            bias: p.param("bias", channels, Init::Const(0.))?,
            eps,
        })
    }
}

impl Module for LayerNorm {
    fn forward(&self, x: &Tensor, cx: &mut Context) -> Result<Tensor> {
        let (weight, bias) = (Some(self.weight.as_tensor()), Some(self.bias.as_tensor()));
        let y = match x.rank() {
            4 => layer_norm_2d(x, weight, bias, self.eps, cx.layout)?,
            _ => layer_norm(x, weight, bias, self.eps)?,
        };
        cx.onnx(&self.name, [x], &y, |layer, [input]| {
            let weight = onnx_parameter(layer, "weight", &self.weight)?;
            let bias = onnx_parameter(layer, "bias", &self.bias)?;
            Ok(layer.layer_norm(input, &weight, &bias, self.eps, x.rank() == 4))
        })?;
        let parameters = self.weight.elem_count() + self.bias.elem_count();
        cx.report(&self.name, "LayerNorm", y, parameters, 0)
    }
}

impl SequentialBuilder {
    /// [`LayerNorm`] over the channels of a map.
    pub fn layer_norm(self, name: impl Into<Name>, eps: f64) -> Self {
        self.on_maps(name, "norm", "LayerNorm", |p, [c, h, w]| {
            Ok((LayerNorm::new(p, c, eps)?, [c, h, w]))
        })
    }
}
