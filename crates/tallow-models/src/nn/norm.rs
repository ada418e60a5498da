use candle_core::{Device, Tensor, Var};
use tallow_ops::{
    BatchNormConfig, Init, Layout, Norm, ParamPath, batch_norm_eval, batch_norm_train, increment,
};

use crate::error::Result;
use crate::module::{Context, Module};
use crate::trace::onnx_parameter;

/// Settings of a [`BatchNorm2d`], with the defaults of `torch.nn.BatchNorm2d`.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct NormOptions {
    /// Constant added to the variance before the square root; default 1e-5.
    pub eps: f64,
    /// Weight of the newest batch in the running statistics, in `[0, 1]`; default 0.1.
    pub momentum: f64,
    /// Whether `weight` is trained; default true. Otherwise it is a buffer of ones (`weight.requires_grad = False`).
    pub trained_weight: bool,
}

impl Default for NormOptions {
    fn default() -> Self {
        Self {
            eps: 1e-5,
            momentum: 0.1,
            trained_weight: true,
        }
    }
}

/// Batch normalisation, as `torch.nn.BatchNorm2d`: `weight` and `bias` are trained; `running_mean`, `running_var` and
/// `num_batches_tracked` are buffers, which training updates.
#[derive(Clone, Debug)]
pub struct BatchNorm2d {
    name: String,
    options: NormOptions,
    weight: Var,
    bias: Var,
    running_mean: Var,
    running_var: Var,
    num_batches_tracked: Var,
}

const KIND: &str = "BatchNorm2d";

impl BatchNorm2d {
    /// Batch norm of `channels` channels with PyTorch's defaults.
    ///
    /// # Errors
    /// When a name is taken.
    pub fn new(p: ParamPath, channels: usize) -> Result<Self> {
        Self::with(p, channels, NormOptions::default())
    }

    /// Batch norm with all settings.
    ///
    /// # Errors
    /// When a name is taken. The first forward pass refuses an `eps` or a momentum out of range.
    pub fn with(p: ParamPath, channels: usize, options: NormOptions) -> Result<Self> {
        let weight = match options.trained_weight {
            true => p.param("weight", channels, Init::Const(1.))?,
            false => p.buffer("weight", channels, Init::Const(1.))?,
        };
        Ok(Self {
            name: p.name().into(),
            options,
            weight,
            bias: p.param("bias", channels, Init::Const(0.))?,
            running_mean: p.buffer("running_mean", channels, Init::Const(0.))?,
            running_var: p.buffer("running_var", channels, Init::Const(1.))?,
            num_batches_tracked: p
                .buffer_from("num_batches_tracked", &Tensor::new(0i64, &Device::Cpu)?)?,
        })
    }

    /// Kind and name.
    pub(super) fn label(&self) -> (&'static str, &str) {
        (KIND, &self.name)
    }

    /// Parameters and statistics for an operator.
    pub(super) fn norm(&self, layout: Layout) -> Norm<'_> {
        Norm {
            weight: &self.weight,
            bias: &self.bias,
            running_mean: &self.running_mean,
            running_var: &self.running_var,
            config: BatchNormConfig {
                eps: self.options.eps,
                momentum: self.options.momentum,
                layout,
            },
        }
    }

    /// Adds 1 to `num_batches_tracked`.
    pub(super) fn count_batch(&self) -> Result<()> {
        Ok(increment(&self.num_batches_tracked)?)
    }
}

impl Module for BatchNorm2d {
    fn forward(&self, x: &Tensor, cx: &mut Context) -> Result<Tensor> {
        let Norm {
            weight,
            bias,
            running_mean,
            running_var,
            config,
        } = self.norm(cx.layout);
        let y = if cx.train {
            let y = batch_norm_train(x, weight, bias, running_mean, running_var, &config)?;
            self.count_batch()?;
            y
        } else {
            batch_norm_eval(x, weight, bias, running_mean, running_var, &config)?
        };
        cx.onnx(&self.name, [x], &y, |layer, [x]| {
            let weight = onnx_parameter(layer, "weight", weight)?;
            let bias = onnx_parameter(layer, "bias", bias)?;
            let mean = onnx_parameter(layer, "running_mean", running_mean)?;
            let var = onnx_parameter(layer, "running_var", running_var)?;
            Ok(layer.batch_norm(x, &weight, &bias, &mean, &var, config.eps))
        })?;
        let weights = match self.options.trained_weight {
            true => weight.elem_count(),
            false => 0,
        };
        let parameters = weights + bias.elem_count();
        cx.report(&self.name, KIND, y, parameters, 0)
    }
}
