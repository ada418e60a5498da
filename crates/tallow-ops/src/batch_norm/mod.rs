pub(crate) mod config;
pub(crate) mod running;
pub(crate) mod sync;

use std::sync::{Arc, OnceLock};

use candle_core::{CpuStorage, CustomOp3, Shape, Tensor, Var};

pub use self::config::{BatchNormConfig, Norm};
pub(crate) use self::config::{check, check_count, check_parameters, check_train};
use self::running::move_running;
pub(crate) use self::running::to_f64;
pub use self::running::with_running_momentum;
pub use self::sync::{NormExchange, with_norm_exchange};
#[cfg(feature = "cuda")]
use crate::cuda::PARAMETERS;
#[cfg(feature = "cuda")]
use crate::cuda::norm::Statistics;
use crate::custom_op::{self, Element, for_float};
use crate::error::Result;
use crate::kernels::batch_norm::{self as kernel, Moments, Normal};
use crate::kernels::fresh::fresh;
use crate::layout::{Extents, Layout};
#[cfg(feature = "cuda")]
use crate::route;
#[cfg(feature = "cuda")]
use crate::to_layout::in_channels_last;
use crate::{cpu, reference, tape};

/// Batch normalization in training, as `torch.nn.functional.batch_norm` with `training=True` (Ioffe and Szegedy 2015).
///
/// Each channel is normalized by the mean and variance of the batch, multiplied by `weight` and shifted by `bias`. `x` is
/// `(N, C, H, W)` or `(N, H, W, C)`, the layout of the configuration; `weight`, `bias` and the running statistics are `(C)`. The
/// batch is normalized by its biased variance. `running_mean` and `running_var` move by `momentum` towards its mean and its
/// *unbiased* variance, in place, and are not part of the graph. Sums are computed in `f64`. In [`with_norm_exchange`] the batch is that
/// of all chunks.
///
/// # Errors
/// [`Error::Shape`](crate::Error::Shape) if a shape does not fit, or if there is only one value per channel, which has no
/// variance; [`Error::Config`](crate::Error::Config) if `eps` is negative or not finite, `momentum` is outside `[0, 1]`, or the
/// element types of `x`, `weight` and `bias` differ. The running statistics are unchanged then.
pub fn batch_norm_train(
    x: &Tensor,
    weight: &Tensor,
    bias: &Tensor,
    running_mean: &Var,
    running_var: &Var,
    config: &BatchNormConfig,
) -> Result<Tensor> {
    if let Some(call) = sync::next() {
        return sync::batch_norm_train(call, x, weight, bias, running_mean, running_var, config);
    }
    #[cfg(feature = "cuda")]
    if route::layer_on_cuda(x, weight) {
        let extents = Extents::of(NAME, x, config.layout)?;
        let all: [&Tensor; 4] = [weight, bias, running_mean, running_var];
        check_parameters(extents.c, PARAMETERS, all, config)?;
        check_count(extents, x.shape())?;
        let statistics = Statistics::of_batch(running_mean, running_var, config);
        return on_the_device(x, [weight, bias], extents, config, statistics);
    }
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

/// Batch normalization in evaluation, by the running mean and variance, as `torch.nn.functional.batch_norm` with
/// `training=False`.
///
/// Shapes as for [`batch_norm_train`]. Gradients flow to `x`, `weight` and `bias`; the running statistics are constants.
///
/// # Errors
/// As [`batch_norm_train`], but one value per channel is enough.
pub fn batch_norm_eval(
    x: &Tensor,
    weight: &Tensor,
    bias: &Tensor,
    running_mean: &Tensor,
    running_var: &Tensor,
    config: &BatchNormConfig,
) -> Result<Tensor> {
    #[cfg(feature = "cuda")]
    if route::layer_on_cuda(x, weight) {
        let extents = Extents::of(NAME, x, config.layout)?;
        let all = [weight, bias, running_mean, running_var];
        check_parameters(extents.c, PARAMETERS, all, config)?;
        let statistics = Statistics::running(running_mean, running_var);
        return on_the_device(x, [weight, bias], extents, config, statistics);
    }
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

/// Norm of checked arguments on a CUDA device.
#[cfg(feature = "cuda")]
fn on_the_device(
    x: &Tensor,
    parameters: [&Tensor; 2],
    extents: Extents,
    config: &BatchNormConfig,
    statistics: Statistics,
) -> Result<Tensor> {
    let tail = tallow_cuda::ops::norm::Tail::Linear;
    let norm = |x: &Tensor| {
        crate::cuda::norm::apply(x, parameters, None, extents, config.eps, statistics, tail)
    };
    match config.layout {
        Layout::Nchw => in_channels_last(x, norm),
        Layout::Nhwc => norm(x),
    }
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
    move_running([running_mean, running_var], mean, variance, count, config)
}

const NAME: &str = "batch_norm";

struct Train {
    extents: Extents,
    config: BatchNormConfig,
    /// Statistics of the batch, for the update of the running statistics.
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
    let xs = cpu::locked(NAME, &x_storage, x_layout)?;
    let grads = cpu::locked(NAME, &grad_storage, grad_layout)?;
    let weights = cpu::locked(NAME, &weight_storage, weight_layout)?;
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
