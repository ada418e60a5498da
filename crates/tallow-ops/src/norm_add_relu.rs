//! End of a residual block as one operator: batch norm, addition of the shortcut and ReLU.

use std::sync::{Arc, OnceLock};

use candle_core::{CpuStorage, CustomOp2, CustomOp3, Shape, Tensor};

use crate::batch_norm::{
    BatchNormConfig, Norm, batch_norm_train, check_train, sync, update_running,
};
#[cfg(feature = "cuda")]
use crate::batch_norm::{check_count, check_parameters};
#[cfg(feature = "cuda")]
use crate::cuda::PARAMETERS;
#[cfg(feature = "cuda")]
use crate::cuda::norm::{Statistics, apply_add_relu};
use crate::custom_op::{self, for_float};
use crate::error::{Error, Result};
use crate::kernels::batch_norm::{self as kernel, Moments, Normal};
use crate::kernels::elementwise::map2;
use crate::kernels::fresh::fresh;
use crate::layout::Extents;
#[cfg(feature = "cuda")]
use crate::layout::Layout;
use crate::relu::{self, relu};
use crate::tensor_ops::{add, alike};
use crate::{cpu, route, tape};

/// `relu(batch_norm_train(x) + shortcut)` as one node of the graph (He et al. 2016, equation 1).
///
/// `x` and `shortcut` are `(N, C, H, W)` or `(N, H, W, C)`, the layout of the norm's configuration. Differentiable in both and in
/// the norm's parameters. In `f32` and `f64` on the CPU neither the normalized values nor the sum are stored; elsewhere the
/// separate operators run.
///
/// # Errors
/// As [`batch_norm_train`]; [`Error::Shape`] if the shapes differ.
pub fn batch_norm_add_relu_train(x: &Tensor, shortcut: &Tensor, norm: Norm) -> Result<Tensor> {
    let Norm {
        weight,
        bias,
        running_mean,
        running_var,
        config,
    } = norm;
    check_same("batch_norm_add_relu", x, shortcut)?;
    let is_chunk = sync::is_on();
    #[cfg(feature = "cuda")]
    if !is_chunk
        && route::layer_on_cuda(x, weight)
        && config.layout == Layout::Nhwc
        && route::maps_on_cuda(shortcut)
    {
        let extents = Extents::of("batch_norm", x, config.layout)?;
        let all: [&Tensor; 4] = [weight, bias, running_mean, running_var];
        check_parameters(extents.c, PARAMETERS, all, &config)?;
        check_count(extents, x.shape())?;
        let statistics = Statistics::of_batch(running_mean, running_var, &config);
        let parameters = [weight, bias];
        let eps = config.eps;
        return apply_add_relu(x, shortcut, parameters, None, extents, eps, statistics);
    }
    if is_chunk || !cpu::has_kernels(x) {
        let y = batch_norm_train(x, weight, bias, running_mean, running_var, &config)?;
        return relu(&add(&y, shortcut)?);
    }
    let extents = check_train(x, weight, bias, running_mean, running_var, &config)?;
    let moments = Arc::new(OnceLock::new());
    let op = NormAddRelu {
        extents,
        config,
        moments: moments.clone(),
        normal: OnceLock::new(),
    };
    // An operator has three arguments at most, so the parameters are concatenated.
    let parameters = tape::cat(&[weight, bias])?;
    let out = tape::apply3(&x.contiguous()?, &shortcut.contiguous()?, &parameters, op)?;
    let Moments { mean, variance } = custom_op::saved(&moments)?;
    update_running(running_mean, running_var, mean, variance, extents, &config)?;
    Ok(out)
}

/// `relu(x + y)` of two tensors of equal shape, as one node of the graph.
///
/// # Errors
/// [`Error::Shape`] if the shapes differ.
pub fn add_relu(x: &Tensor, y: &Tensor) -> Result<Tensor> {
    check_same("add_relu", x, y)?;
    let [x, y] = &alike(x, y)?;
    if !route::has_map_kernels(x) || x.dtype() != y.dtype() {
        return relu(&add(x, y)?);
    }
    Ok(tape::apply2(&x.contiguous()?, &y.contiguous()?, AddRelu)?)
}

fn check_same(op: &'static str, x: &Tensor, y: &Tensor) -> Result<()> {
    if x.dims() == y.dims() {
        return Ok(());
    }
    Err(Error::Shape {
        op,
        argument: "shortcut",
        expected: format!("{:?}, as the input", x.dims()),
        found: y.shape().clone(),
    })
}

/// Operator of one call of [`batch_norm_add_relu_train`]. Its third argument is weight and bias of the norm.
struct NormAddRelu {
    extents: Extents,
    config: BatchNormConfig,
    /// Statistics of the batch, for the update of the running statistics.
    moments: Arc<OnceLock<Moments>>,
    normal: OnceLock<Normal>,
}

impl CustomOp3 for NormAddRelu {
    fn name(&self) -> &'static str {
        "batch_norm_add_relu"
    }

    fn cpu_fwd(
        &self,
        x: &CpuStorage,
        x_layout: &candle_core::Layout,
        shortcut: &CpuStorage,
        shortcut_layout: &candle_core::Layout,
        parameters: &CpuStorage,
        parameters_layout: &candle_core::Layout,
    ) -> candle_core::Result<(CpuStorage, Shape)> {
        let (extents, layout) = (self.extents, self.config.layout);
        for_float!(custom_op::dtype(x), self.name(), T => {
            let x = cpu::slice::<T>(self.name(), x, x_layout)?;
            let shortcut = cpu::slice::<T>(self.name(), shortcut, shortcut_layout)?;
            let parameters = cpu::slice::<T>(self.name(), parameters, parameters_layout)?;
            let (weight, bias) = parameters.split_at(extents.c);
            let moments = kernel::moments(x, extents, layout);
            let normal = Normal::new(moments.mean.clone(), &moments.variance, self.config.eps);
            // SAFETY: a map writes every element of its result.
            let out = unsafe {
                fresh(x.len(), |out| kernel::forward_add_relu([x, shortcut], extents, layout, &normal, weight, bias, out))
            };
            custom_op::save(&self.moments, moments)?;
            custom_op::save(&self.normal, normal)?;
            Ok((custom_op::storage(out), x_layout.shape().clone()))
        })
    }

    fn bwd(
        &self,
        x: &Tensor,
        _shortcut: &Tensor,
        parameters: &Tensor,
        out: &Tensor,
        grad: &Tensor,
    ) -> candle_core::Result<(Option<Tensor>, Option<Tensor>, Option<Tensor>)> {
        let normal = custom_op::saved(&self.normal)?;
        let (extents, layout) = (self.extents, self.config.layout);
        let sum_grad = relu::backward(self.name(), out, grad)?;
        for_float!(x.dtype(), self.name(), T => {
            let (x_storage, x_layout) = x.storage_and_layout();
            let (p_storage, p_layout) = parameters.storage_and_layout();
            let (d_storage, d_layout) = sum_grad.storage_and_layout();
            let xs = cpu::locked::<T>(self.name(), &x_storage, x_layout)?;
            let ds = cpu::locked::<T>(self.name(), &d_storage, d_layout)?;
            let weight = &cpu::locked::<T>(self.name(), &p_storage, p_layout)?[..extents.c];
            let mut parameter_grads = (Vec::new(), Vec::new());
            // SAFETY: a map writes every element of its result.
            let dx = unsafe {
                fresh(xs.len(), |dx| parameter_grads = kernel::backward_train(xs, ds, extents, layout, normal, weight, dx))
            };
            let (mut dp, db) = parameter_grads;
            dp.extend(db);
            Ok((
                Some(custom_op::tensor(dx, x.shape())?),
                Some(sum_grad.clone()),
                Some(custom_op::tensor(dp, parameters.shape())?),
            ))
        })
    }
}

/// Operator of one call of [`add_relu`].
struct AddRelu;

impl CustomOp2 for AddRelu {
    fn name(&self) -> &'static str {
        "add_relu"
    }

    fn cpu_fwd(
        &self,
        x: &CpuStorage,
        x_layout: &candle_core::Layout,
        y: &CpuStorage,
        y_layout: &candle_core::Layout,
    ) -> candle_core::Result<(CpuStorage, Shape)> {
        for_float!(custom_op::dtype(x), self.name(), T => {
            let x = cpu::slice::<T>(self.name(), x, x_layout)?;
            let y = cpu::slice::<T>(self.name(), y, y_layout)?;
            // SAFETY: a map writes every element of its result.
            let out = unsafe {
                fresh(x.len(), |out| map2(x, y, out, #[inline(always)] |x, y| if x + y <= 0. { 0. } else { x + y }))
            };
            Ok((custom_op::storage(out), x_layout.shape().clone()))
        })
    }

    #[cfg(feature = "cuda")]
    fn cuda_fwd(
        &self,
        x: &candle_core::CudaStorage,
        x_layout: &candle_core::Layout,
        y: &candle_core::CudaStorage,
        y_layout: &candle_core::Layout,
    ) -> candle_core::Result<(candle_core::CudaStorage, Shape)> {
        let x = tallow_cuda::View::numbers(self.name(), x, x_layout)?;
        let y = tallow_cuda::View::numbers(self.name(), y, y_layout)?;
        let out = tallow_cuda::ops::elementwise::add_relu(x, y)?;
        Ok((out, x_layout.shape().clone()))
    }

    fn bwd(
        &self,
        _x: &Tensor,
        _y: &Tensor,
        out: &Tensor,
        grad: &Tensor,
    ) -> candle_core::Result<(Option<Tensor>, Option<Tensor>)> {
        let d = relu::backward(self.name(), out, grad)?;
        Ok((Some(d.clone()), Some(d)))
    }
}
