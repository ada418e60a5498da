use candle_core::{Device, Tensor, Var};
use tallow_ops::{
    BatchNormConfig, Init, Layout, Norm, ParamPath, batch_norm_eval, batch_norm_train,
};

use crate::error::Result;
use crate::module::{Context, Module};

/// Batch normalisation, as `torch.nn.BatchNorm2d` with its defaults (eps 1e-5, momentum 0.1, affine): `weight` and `bias` are trained; `running_mean`,
/// `running_var` and `num_batches_tracked` are buffers, which training updates.
#[derive(Clone, Debug)]
pub struct BatchNorm2d {
    name: String,
    weight: Var,
    bias: Var,
    running_mean: Var,
    running_var: Var,
    num_batches_tracked: Var,
}

const KIND: &str = "BatchNorm2d";

impl BatchNorm2d {
    /// Batch norm of `channels` channels.
    ///
    /// # Errors
    /// When a name is taken.
    pub fn new(p: ParamPath, channels: usize) -> Result<Self> {
        Ok(Self {
            name: p.name().into(),
            weight: p.param("weight", channels, Init::Const(1.))?,
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
                layout,
                ..Default::default()
            },
        }
    }

    /// Adds 1 to `num_batches_tracked`.
    pub(super) fn count_batch(&self) -> Result<()> {
        // Added where it is: reading it would wait for the device at every layer.
        let batches = (self.num_batches_tracked.as_detached_tensor() + 1.)?;
        Ok(self.num_batches_tracked.set(&batches)?)
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
        let parameters = weight.elem_count() + bias.elem_count();
        cx.report(&self.name, KIND, y, parameters, 0)
    }
}
