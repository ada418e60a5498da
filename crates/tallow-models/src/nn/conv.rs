use candle_core::{Tensor, Var};
use tallow_ops::{Conv2dConfig, Init, Layout, ParamPath, conv2d};

use crate::error::{Error, Result};
use crate::module::{Context, Module};
use crate::nn::init::{WeightInit, dirac};
use crate::trace::{onnx_optional, onnx_parameter};

/// Settings of a [`Conv2d`] with a square kernel, with the names and defaults of `torch.nn.Conv2d`.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct ConvOptions {
    /// Stride; default 1.
    pub stride: usize,
    /// Rows and columns of zeros added on each side; default 0.
    pub padding: usize,
    /// Distance between the pixels under a kernel; default 1.
    pub dilation: usize,
    /// Number of groups of channels; default 1.
    pub groups: usize,
    /// Whether there is a bias; default true.
    pub bias: bool,
    /// Initialisation of weight and bias; default that of `torch.nn.Conv2d`.
    pub init: WeightInit,
}

impl Default for ConvOptions {
    fn default() -> Self {
        Self {
            stride: 1,
            padding: 0,
            dilation: 1,
            groups: 1,
            bias: true,
            init: WeightInit::Uniform,
        }
    }
}

impl ConvOptions {
    /// Weight of this shape and, unless switched off, a bias with one value per output channel.
    pub(super) fn parameters(
        &self,
        p: &ParamPath,
        shape: (usize, usize, usize, usize),
        outputs: usize,
        (fan_in, fan_out): (usize, usize),
    ) -> Result<(Var, Option<Var>)> {
        let init = self.init.weight(fan_in, fan_out);
        let weight = match self.init {
            // It is made of drawn values, and a store may leave out those of a parameter.
            WeightInit::Dirac => {
                let drawn = init.tensor(shape, p.dtype(), p.device(), &p.generator())?;
                let weight = p.param("weight", shape, Init::Const(0.))?;
                weight.set(&dirac(&drawn)?)?;
                weight
            }
            _ => p.param("weight", shape, init)?,
        };
        let bias = self
            .bias
            .then(|| p.param("bias", outputs, self.init.bias(fan_in)))
            .transpose()?;
        Ok((weight, bias))
    }

    /// Settings of the operator in ONNX.
    pub(super) fn onnx(&self) -> tallow_onnx::Conv {
        tallow_onnx::Conv {
            stride: (self.stride, self.stride),
            padding: (self.padding, self.padding),
            dilation: (self.dilation, self.dilation),
            groups: self.groups,
        }
    }
}

/// 2-D convolution, as `torch.nn.Conv2d` with a square kernel: `weight` is `(O, I / groups, K, K)`, `bias` is `(O)`.
#[derive(Clone, Debug)]
pub struct Conv2d {
    name: String,
    weight: Var,
    bias: Option<Var>,
    options: ConvOptions,
}

const KIND: &str = "Conv2d";

impl Conv2d {
    /// Convolution of stride 1 without padding and with bias.
    ///
    /// # Errors
    /// As [`Conv2d::with`].
    pub fn new(p: ParamPath, inputs: usize, outputs: usize, kernel: usize) -> Result<Self> {
        Self::with(p, inputs, outputs, kernel, ConvOptions::default())
    }

    /// Convolution with all settings.
    ///
    /// # Errors
    /// When a name is taken, when the number of input channels or the kernel size is 0, or when the groups do not divide the channels.
    pub fn with(
        p: ParamPath,
        inputs: usize,
        outputs: usize,
        kernel: usize,
        options: ConvOptions,
    ) -> Result<Self> {
        let groups = options.groups;
        if groups == 0 || !inputs.is_multiple_of(groups) || !outputs.is_multiple_of(groups) {
            let message =
                format!("{groups} groups do not divide {inputs} inputs and {outputs} outputs");
            return Err(Error::layer(p.name(), KIND, message));
        }
        let inputs = inputs / groups;
        let fan_in = inputs * kernel * kernel;
        if fan_in == 0 {
            let message = format!(
                "expected a kernel and input channels above 0, found {kernel} x {kernel} over {inputs} channels"
            );
            return Err(Error::layer(p.name(), KIND, message));
        }
        // As PyTorch counts it: all outputs, whatever the groups.
        let fan_out = outputs * kernel * kernel;
        let shape = (outputs, inputs, kernel, kernel);
        let (weight, bias) = options.parameters(&p, shape, outputs, (fan_in, fan_out))?;
        Ok(Self {
            name: p.name().into(),
            weight,
            bias,
            options,
        })
    }

    /// Kind and name.
    pub(super) fn label(&self) -> (&'static str, &str) {
        (KIND, &self.name)
    }

    /// Weight and bias.
    pub(super) fn parameters(&self) -> (&Tensor, Option<&Tensor>) {
        (&self.weight, self.bias.as_ref().map(Var::as_tensor))
    }

    /// Settings of the operator in an axis order.
    pub(super) fn config(&self, layout: Layout) -> Conv2dConfig {
        let ConvOptions {
            stride,
            padding,
            dilation,
            groups,
            ..
        } = self.options;
        Conv2dConfig {
            stride: (stride, stride),
            padding: (padding, padding),
            dilation: (dilation, dilation),
            groups,
            layout,
        }
    }
}

impl Module for Conv2d {
    fn forward(&self, x: &Tensor, cx: &mut Context) -> Result<Tensor> {
        let (weight, bias) = self.parameters();
        let y = conv2d(x, weight, bias, &self.config(cx.layout))?;
        cx.onnx(&self.name, [x], &y, |layer, [x]| {
            let weight = onnx_parameter(layer, "weight", weight)?;
            let bias = onnx_optional(layer, "bias", bias)?;
            Ok(layer.conv(x, &weight, bias.as_ref(), &self.options.onnx()))
        })?;
        let weights = weight.elem_count();
        let outputs = weight.dims().first().copied().unwrap_or(0);
        // Each weight meets every pixel of its output map once.
        let pixels = y.elem_count() / (y.dims()[0] * outputs).max(1);
        let parameters = weights + bias.map_or(0, Tensor::elem_count);
        cx.report(&self.name, KIND, y, parameters, (weights * pixels) as u64)
    }
}
