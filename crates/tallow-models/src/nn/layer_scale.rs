use candle_core::{Tensor, Var};
use tallow_ops::{Init, Layout, ParamPath, cast};

use crate::error::Result;
use crate::module::{Context, Module};
use crate::trace::onnx_parameter;

/// Layer scale (Touvron et al. 2021): multiplies each channel by a trained factor.
///
/// `(N, C, H, W)` to the same shape. The parameter is `(C, 1, 1)` and has the name of the path itself, as `layer_scale` of torchvision's
/// ConvNeXt.
#[derive(Clone, Debug)]
pub struct LayerScale {
    name: String,
    scale: Var,
}

impl LayerScale {
    /// Factors of `channels` channels that begin at `value`. `p` is the path above the parameter `name`.
    ///
    /// # Errors
    /// When the name is taken.
    pub fn new(p: &ParamPath, name: &str, channels: usize, value: f64) -> Result<Self> {
        Ok(Self {
            name: p.pp(name).name().into(),
            scale: p.param(name, (channels, 1, 1), Init::Const(value))?,
        })
    }
}

impl Module for LayerScale {
    fn forward(&self, x: &Tensor, cx: &mut Context) -> Result<Tensor> {
        let channels = self.scale.elem_count();
        let scale = match cx.layout {
            Layout::Nchw => self.scale.reshape((1, channels, 1, 1))?,
            Layout::Nhwc => self.scale.reshape((1, 1, 1, channels))?,
        };
        let y = cast(x, scale.dtype())?.broadcast_mul(&scale)?;
        cx.onnx(&self.name, [x], &y, |layer, [x]| {
            let scale = onnx_parameter(layer, "", &self.scale)?;
            Ok(layer.plain("Mul", &[x, &scale]))
        })?;
        cx.report(&self.name, "LayerScale", y, channels, 0)
    }
}
