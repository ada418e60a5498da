use candle_core::{Tensor, Var};
use tallow_ops::{Conv2dConfig, Layout, ParamPath, conv2d};

use super::WeightInit;
use crate::{Context, Module, Result};

/// The settings of a [`Conv2d`] with square kernels, as `torch.nn.Conv2d` names them and with its defaults.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct ConvOptions {
    /// 1.
    pub stride: usize,
    /// Zeros added on each side; 0.
    pub padding: usize,
    /// 1.
    pub dilation: usize,
    /// Groups of channels convolved apart; 1.
    pub groups: usize,
    /// Whether a bias is added; yes.
    pub bias: bool,
    /// How weights and bias start; as `torch.nn.Conv2d` has them.
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
    /// A weight of this shape and, if there is to be one, a bias with a value for each output.
    pub(super) fn parameters(
        &self,
        p: &ParamPath,
        shape: (usize, usize, usize, usize),
        outputs: usize,
        (fan_in, fan_out): (usize, usize),
    ) -> Result<(Var, Option<Var>)> {
        let weight = p.param("weight", shape, self.init.weight(fan_in, fan_out))?;
        let bias = self
            .bias
            .then(|| p.param("bias", outputs, self.init.bias(fan_in)))
            .transpose()?;
        Ok((weight, bias))
    }
}

/// `torch.nn.Conv2d` with a square kernel: `weight` is `(O, I / groups, K, K)`, `bias` is `(O)`.
#[derive(Clone, Debug)]
pub struct Conv2d {
    name: String,
    weight: Var,
    bias: Option<Var>,
    options: ConvOptions,
}

impl Conv2d {
    /// Stride 1, no padding, with bias.
    pub fn new(p: ParamPath, inputs: usize, outputs: usize, kernel: usize) -> Result<Self> {
        Self::with(p, inputs, outputs, kernel, ConvOptions::default())
    }

    /// With all settings. Fails when the name is taken, when there are no inputs, or when the groups do not divide the channels.
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
            return Err(tallow_ops::Error::Config {
                op: "conv2d",
                message,
            }
            .into());
        }
        let inputs = inputs / groups;
        let fan_in = inputs * kernel * kernel;
        if fan_in == 0 {
            let message =
                format!("a kernel of {kernel} x {kernel} over {inputs} maps sees nothing");
            return Err(tallow_ops::Error::Config {
                op: "conv2d",
                message,
            }
            .into());
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

    /// Weight and bias.
    pub(super) fn parameters(&self) -> (&Tensor, Option<&Tensor>) {
        (&self.weight, self.bias.as_ref().map(Var::as_tensor))
    }

    /// The settings in an axis order.
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
        let weights = weight.elem_count();
        let outputs = weight.dims().first().copied().unwrap_or(0);
        // Each weight meets every pixel of its output map once.
        let pixels = y.elem_count() / (y.dims()[0] * outputs).max(1);
        let parameters = weights + bias.map_or(0, Tensor::elem_count);
        cx.report(
            &self.name,
            "Conv2d",
            y,
            parameters,
            (weights * pixels) as u64,
        )
    }
}
