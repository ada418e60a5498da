use std::sync::{Arc, OnceLock};

use candle_core::{CpuStorage, CustomOp3, DType, Shape, Tensor, Var};

use crate::cpu;
use crate::custom_op::{self, Element, for_float};
use crate::kernels::batch_norm::{self as kernel, Moments, Normal};
use crate::kernels::fresh::fresh;
use crate::layout::Extents;
use crate::{Error, Layout, Result, reference, tape};

/// The constants of a batch norm, with PyTorch's defaults.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct BatchNormConfig {
    /// Added to the variance under the root; 1e-5.
    pub eps: f64,
    /// The weight of the newest batch in the running statistics, in `[0, 1]`; 0.1.
    pub momentum: f64,
    /// The axis order of input and output.
    pub layout: Layout,
}

impl Default for BatchNormConfig {
    fn default() -> Self {
        Self {
            eps: 1e-5,
            momentum: 0.1,
            layout: Layout::default(),
        }
    }
}

/// Normalises each channel by the mean and variance of the batch, then scales by `weight` and adds `bias`, as
/// `torch.nn.functional.batch_norm` with `training=True` (Ioffe and Szegedy 2015).
///
/// `x` is `(N, C, H, W)`, or `(N, H, W, C)` as the configuration says; `weight`, `bias` and the running statistics are `(C)`.
/// The batch is normalised by its biased variance; `running_mean` and `running_var` move by `momentum` towards its mean and
/// its *unbiased* variance, in place, and are no part of the graph. Sums are taken in `f64`.
///
/// # Errors
/// [`Error::Shape`] when a shape does not fit, or when there is only one value a channel, which has no variance;
/// [`Error::Config`] when `eps` is not positive or zero, `momentum` is outside `[0, 1]`, or the element types of `x`, `weight`
/// and `bias` differ. The running statistics are untouched then.
pub fn batch_norm_train(
    x: &Tensor,
    weight: &Tensor,
    bias: &Tensor,
    running_mean: &Var,
    running_var: &Var,
    config: &BatchNormConfig,
) -> Result<Tensor> {
    if !cpu::has_kernels(x) {
        let [x, weight, bias] = [x, weight, bias].map(tape::input);
        return reference::batch_norm_train(&x, &weight, &bias, running_mean, running_var, config);
    }
    let extents = check_train(x, weight, bias, running_mean, running_var, config)?;
    let moments = Arc::new(OnceLock::new());
    let op = Train {
        extents,
        config: *config,
        moments: moments.clone(),
        normal: OnceLock::new(),
    };
    let y = tape::apply3(
        &x.contiguous()?,
        &weight.contiguous()?,
        &bias.contiguous()?,
        op,
    )?;
    let Moments { mean, variance } = custom_op::saved(&moments)?;
    update_running(running_mean, running_var, mean, variance, extents, config)?;
    Ok(y)
}

/// Normalises each channel by the given mean and variance, as `torch.nn.functional.batch_norm` with `training=False`.
///
/// Shapes as for [`batch_norm_train`]. Gradients flow to `x`, `weight` and `bias`; the running statistics are constants.
///
/// # Errors
/// As [`batch_norm_train`], but one value a channel is enough.
pub fn batch_norm_eval(
    x: &Tensor,
    weight: &Tensor,
    bias: &Tensor,
    running_mean: &Tensor,
    running_var: &Tensor,
    config: &BatchNormConfig,
) -> Result<Tensor> {
    if !cpu::has_kernels(x) {
        let [x, weight, bias] = [x, weight, bias].map(tape::input);
        return reference::batch_norm_eval(&x, &weight, &bias, running_mean, running_var, config);
    }
    let extents = check(x, weight, bias, running_mean, running_var, config)?;
    let normal = Normal::new(to_f64(running_mean)?, &to_f64(running_var)?, config.eps);
    let op = Eval {
        extents,
        layout: config.layout,
        normal,
    };
    Ok(tape::apply3(
        &x.contiguous()?,
        &weight.contiguous()?,
        &bias.contiguous()?,
        op,
    )?)
}

const OP: &str = "batch_norm";

pub(crate) fn check(
    x: &Tensor,
    weight: &Tensor,
    bias: &Tensor,
    running_mean: &Tensor,
    running_var: &Tensor,
    config: &BatchNormConfig,
) -> Result<Extents> {
    let extents = Extents::of(OP, x, config.layout)?;
    check_parameters(
        extents.c,
        x.dtype(),
        [weight, bias, running_mean, running_var],
        config,
    )?;
    Ok(extents)
}

/// Checks weight, bias, running mean and running variance against the input's channels and type.
pub(crate) fn check_parameters(
    channels: usize,
    dtype: DType,
    tensors: [&Tensor; 4],
    config: &BatchNormConfig,
) -> Result<()> {
    for (argument, tensor) in ["weight", "bias", "running_mean", "running_var"]
        .into_iter()
        .zip(tensors)
    {
        if tensor.dims() != [channels] {
            let expected = format!("({channels}), one value a channel");
            return Err(Error::Shape {
                op: OP,
                argument,
                expected,
                found: tensor.shape().clone(),
            });
        }
    }
    let bad = |message| Err(Error::Config { op: OP, message });
    for (name, tensor) in ["weight", "bias"].into_iter().zip(tensors) {
        if tensor.dtype() != dtype {
            return bad(format!(
                "{name} is {:?}, the input {dtype:?}",
                tensor.dtype()
            ));
        }
    }
    if !(config.eps >= 0. && config.eps.is_finite()) {
        return bad(format!("eps must be at least 0, got {}", config.eps));
    }
    if !(0. ..=1.).contains(&config.momentum) {
        return bad(format!(
            "momentum must be in [0, 1], got {}",
            config.momentum
        ));
    }
    Ok(())
}

pub(crate) fn check_train(
    x: &Tensor,
    weight: &Tensor,
    bias: &Tensor,
    running_mean: &Var,
    running_var: &Var,
    config: &BatchNormConfig,
) -> Result<Extents> {
    let extents = check(x, weight, bias, running_mean, running_var, config)?;
    check_count(extents, x.shape())?;
    Ok(extents)
}

/// One value a channel has no variance.
pub(crate) fn check_count(extents: Extents, found: &Shape) -> Result<()> {
    if extents.n * extents.h * extents.w < 2 {
        let expected = "more than 1 value a channel when training".into();
        return Err(Error::Shape {
            op: OP,
            argument: "input",
            expected,
            found: found.clone(),
        });
    }
    Ok(())
}

pub(crate) fn to_f64(x: &Tensor) -> Result<Vec<f64>> {
    Ok(x.to_dtype(DType::F64)?.to_vec1()?)
}

/// Moves the running statistics towards the mean and the unbiased variance of a batch of these extents.
pub(crate) fn update_running(
    running_mean: &Var,
    running_var: &Var,
    mean: &[f64],
    variance: &[f64],
    extents: Extents,
    config: &BatchNormConfig,
) -> Result<()> {
    let count = (extents.n * extents.h * extents.w) as f64;
    move_towards(running_mean, mean, 1., config.momentum)?;
    move_towards(running_var, variance, count / (count - 1.), config.momentum)
}

/// `running = (1 - momentum) * running + momentum * factor * batch`.
fn move_towards(running: &Var, batch: &[f64], factor: f64, momentum: f64) -> Result<()> {
    let moved: Vec<f64> = to_f64(running)?
        .iter()
        .zip(batch)
        .map(|(r, b)| (1. - momentum) * r + momentum * factor * b)
        .collect();
    let moved = Tensor::from_vec(moved, running.shape(), running.device())?;
    Ok(running.set(&moved.to_dtype(running.dtype())?)?)
}

struct Train {
    extents: Extents,
    config: BatchNormConfig,
    /// What the running statistics are moved by once the operator has run.
    moments: Arc<OnceLock<Moments>>,
    normal: OnceLock<Normal>,
}

struct Eval {
    extents: Extents,
    layout: Layout,
    normal: Normal,
}

impl CustomOp3 for Train {
    fn name(&self) -> &'static str {
        "batch_norm_train"
    }

    fn cpu_fwd(
        &self,
        x: &CpuStorage,
        x_layout: &candle_core::Layout,
        weight: &CpuStorage,
        weight_layout: &candle_core::Layout,
        bias: &CpuStorage,
        bias_layout: &candle_core::Layout,
    ) -> candle_core::Result<(CpuStorage, Shape)> {
        let (extents, layout) = (self.extents, self.config.layout);
        for_float!(custom_op::dtype(x), self.name(), T => {
            let x = cpu::slice::<T>(self.name(), x, x_layout)?;
            let (weight, bias) = (cpu::slice(self.name(), weight, weight_layout)?, cpu::slice(self.name(), bias, bias_layout)?);
            let moments = kernel::moments(x, extents, layout);
            let normal = Normal::new(moments.mean.clone(), &moments.variance, self.config.eps);
            // SAFETY: a map writes every element of its result.
            let y = unsafe { fresh(x.len(), |y| kernel::forward(x, extents, layout, &normal, weight, bias, y)) };
            custom_op::save(&self.moments, moments)?;
            custom_op::save(&self.normal, normal)?;
            Ok((custom_op::storage(y), x_layout.shape().clone()))
        })
    }

    fn bwd(
        &self,
        x: &Tensor,
        weight: &Tensor,
        _bias: &Tensor,
        _y: &Tensor,
        grad: &Tensor,
    ) -> candle_core::Result<(Option<Tensor>, Option<Tensor>, Option<Tensor>)> {
        let normal = custom_op::saved(&self.normal)?;
        for_float!(x.dtype(), self.name(), T => {
            backward::<T>(kernel::backward_train, x, weight, grad, self.extents, self.config.layout, normal)
        })
    }
}

impl CustomOp3 for Eval {
    fn name(&self) -> &'static str {
        "batch_norm_eval"
    }

    fn cpu_fwd(
        &self,
        x: &CpuStorage,
        x_layout: &candle_core::Layout,
        weight: &CpuStorage,
        weight_layout: &candle_core::Layout,
        bias: &CpuStorage,
        bias_layout: &candle_core::Layout,
    ) -> candle_core::Result<(CpuStorage, Shape)> {
        for_float!(custom_op::dtype(x), self.name(), T => {
            let x = cpu::slice::<T>(self.name(), x, x_layout)?;
            let (weight, bias) = (cpu::slice(self.name(), weight, weight_layout)?, cpu::slice(self.name(), bias, bias_layout)?);
            // SAFETY: a map writes every element of its result.
            let y = unsafe { fresh(x.len(), |y| kernel::forward(x, self.extents, self.layout, &self.normal, weight, bias, y)) };
            Ok((custom_op::storage(y), x_layout.shape().clone()))
        })
    }

    fn bwd(
        &self,
        x: &Tensor,
        weight: &Tensor,
        _bias: &Tensor,
        _y: &Tensor,
        grad: &Tensor,
    ) -> candle_core::Result<(Option<Tensor>, Option<Tensor>, Option<Tensor>)> {
        for_float!(x.dtype(), self.name(), T => {
            backward::<T>(kernel::backward_eval, x, weight, grad, self.extents, self.layout, &self.normal)
        })
    }
}

/// `(x, gy, extents, layout, normal, weight, gx) -> (gradient of weight, gradient of bias)`.
type Backward<T> = fn(&[T], &[T], Extents, Layout, &Normal, &[T], &mut [T]) -> (Vec<T>, Vec<T>);

fn backward<T: Element>(
    kernel: Backward<T>,
    x: &Tensor,
    weight: &Tensor,
    grad: &Tensor,
    extents: Extents,
    layout: Layout,
    normal: &Normal,
) -> candle_core::Result<(Option<Tensor>, Option<Tensor>, Option<Tensor>)> {
    let grad = grad.contiguous()?;
    let (x_storage, x_layout) = x.storage_and_layout();
    let (weight_storage, weight_layout) = weight.storage_and_layout();
    let (grad_storage, grad_layout) = grad.storage_and_layout();
    let xs = cpu::locked(OP, &x_storage, x_layout)?;
    let grads = cpu::locked(OP, &grad_storage, grad_layout)?;
    let weights = cpu::locked(OP, &weight_storage, weight_layout)?;
    let mut parameters = (Vec::new(), Vec::new());
    // SAFETY: a map writes every element of its result.
    let gx = unsafe {
        fresh(extents.count(), |gx| {
            parameters = kernel(xs, grads, extents, layout, normal, weights, gx);
        })
    };
    let (gw, gb) = parameters;
    let c = extents.c;
    Ok((
        Some(custom_op::tensor(gx, x.shape())?),
        Some(custom_op::tensor(gw, c)?),
        Some(custom_op::tensor(gb, c)?),
    ))
}
