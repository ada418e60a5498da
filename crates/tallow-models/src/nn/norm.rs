use candle_core::{Device, Tensor, Var};
use tallow_ops::{BatchNormConfig, Init, ParamPath, batch_norm_eval, batch_norm_train};

use crate::{Context, Module, Result};

/// `torch.nn.BatchNorm2d` with its defaults (eps 1e-5, momentum 0.1, affine): `weight` and `bias` are trained; `running_mean`,
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

impl BatchNorm2d {
    /// Fails when the name is taken.
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
}

impl Module for BatchNorm2d {
    fn forward(&self, x: &Tensor, cx: &mut Context) -> Result<Tensor> {
        let config = BatchNormConfig {
            layout: cx.layout,
            ..Default::default()
        };
        let (weight, bias, mean, var) = (
            &self.weight,
            &self.bias,
            &self.running_mean,
            &self.running_var,
        );
        let y = if cx.train {
            let y = batch_norm_train(x, weight, bias, mean, var, &config)?;
            let batches = self.num_batches_tracked.to_scalar::<i64>()? + 1;
            self.num_batches_tracked
                .set(&Tensor::new(batches, x.device())?)?;
            y
        } else {
            batch_norm_eval(x, weight, bias, mean, var, &config)?
        };
        cx.report(
            &self.name,
            "BatchNorm2d",
            &y,
            weight.elem_count() + bias.elem_count(),
            0,
        );
        Ok(y)
    }
}
