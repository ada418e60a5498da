use candle_core::{Tensor, Var};
use tallow_ops::{Layout, ParamPath, cast, to_layout};

use crate::error::{Error, Result};
use crate::module::{Context, Module};
use crate::nn::conv::ConvOptions;
use crate::trace::{onnx_optional, onnx_parameter};

/// Transposed 2-D convolution, as `torch.nn.ConvTranspose2d` with a square kernel: `weight` is `(I, O, K, K)`, `bias` is `(O)`.
///
/// Each pixel contributes to `K` by `K` pixels, `stride` apart: a side of `n` becomes
/// `(n - 1) * stride - 2 * padding + dilation * (K - 1) + 1`. It runs candle's operator, in `(N, C, H, W)`.
#[derive(Clone, Debug)]
pub struct ConvTranspose2d {
    name: String,
    weight: Var,
    bias: Option<Var>,
    options: ConvOptions,
}

const KIND: &str = "ConvTranspose2d";

impl ConvTranspose2d {
    /// Transposed convolution with all settings.
    ///
    /// # Errors
    /// When a name is taken, when a size or the stride is 0, or when there is more than one group.
    pub fn with(
        p: ParamPath,
        inputs: usize,
        outputs: usize,
        kernel: usize,
        options: ConvOptions,
    ) -> Result<Self> {
        let ConvOptions {
            stride,
            dilation,
            groups,
            ..
        } = options;
        if [inputs, outputs, kernel, stride, dilation].contains(&0) || groups != 1 {
            let message = format!(
                "expected inputs, outputs, kernel, stride and dilation above 0 and one group, found {inputs}, {outputs}, {kernel}, {stride}, {dilation} and {groups} groups"
            );
            return Err(Error::layer(p.name(), KIND, message));
        }
        // PyTorch counts by the axes of the weight, so that the names are the wrong way round here.
        let (fan_in, fan_out) = (outputs * kernel * kernel, inputs * kernel * kernel);
        let shape = (inputs, outputs, kernel, kernel);
        let (weight, bias) = options.parameters(&p, shape, outputs, (fan_in, fan_out))?;
        Ok(Self {
            name: p.name().into(),
            weight,
            bias,
            options,
        })
    }
}

impl Module for ConvTranspose2d {
    fn forward(&self, input: &Tensor, cx: &mut Context) -> Result<Tensor> {
        let ConvOptions {
            stride,
            padding,
            dilation,
            ..
        } = self.options;
        let x = cast(input, self.weight.dtype())?;
        let x = to_layout(&x, cx.layout, Layout::Nchw)?;
        let (_, _, h, w) = x.dims4()?;
        let mut y = x.conv_transpose2d(&self.weight, padding, 0, stride, dilation)?;
        if let Some(bias) = &self.bias {
            y = y.broadcast_add(&bias.reshape((1, (), 1, 1))?)?;
        }
        let y = to_layout(&y, Layout::Nchw, cx.layout)?;
        cx.onnx(&self.name, [input], &y, |layer, [x]| {
            let weight = onnx_parameter(layer, "weight", &self.weight)?;
            let bias = onnx_optional(layer, "bias", self.bias.as_ref().map(Var::as_tensor))?;
            Ok(layer.conv_transpose(x, &weight, bias.as_ref(), &self.options.onnx()))
        })?;
        let weights = self.weight.elem_count();
        let parameters = weights + self.bias.as_ref().map_or(0, |b| b.elem_count());
        // Each weight is multiplied with every pixel of its input map once.
        let multiply_adds = (weights * h * w) as u64;
        cx.report(&self.name, KIND, y, parameters, multiply_adds)
    }
}
