//! Convolution, batch norm, ReLU and pooling as one operator.

use std::sync::{Arc, Mutex, OnceLock, PoisonError};

use candle_core::{CpuStorage, CustomOp3, Shape, Tensor};
#[cfg(feature = "cuda")]
use tallow_cuda::ops::norm::Tail as CudaTail;

use crate::batch_norm::{self, Norm, batch_norm_train, sync, to_f64, update_running};
use crate::conv::{self, Conv2dConfig, conv2d};
#[cfg(feature = "cuda")]
use crate::conv_block::is_on_device;
use crate::conv_block::{is_fast, pooled};
#[cfg(feature = "cuda")]
use crate::cuda::PARAMETERS;
#[cfg(feature = "cuda")]
use crate::cuda::norm::{Statistics, apply};
use crate::error::Result;
use crate::kernels::batch_norm::{Moments, Normal, moments};
use crate::kernels::conv::{Epilogue, Geometry, channels_last};
use crate::kernels::conv_block::{self as kernel, Affine, Tail};
use crate::kernels::fresh::fresh;
use crate::layout::{Extents, Layout};
use crate::relu::relu;
use crate::{cpu, custom_op, tape};

/// [`conv2d`], [`batch_norm_train`], [`relu`] and, if `pool`, a 2x2 max pooling, as one node of the graph.
///
/// Shapes and hyper-parameters are those of the separate operators. The fast path is `f32` in [`Layout::Nhwc`] without groups on
/// the CPU; everything else runs the separate operators. The fast path keeps the output of the convolution for backward and no
/// other intermediate tensor. Its gradient of the convolution's bias is exactly zero, since the normalization subtracts the
/// bias again; PyTorch returns rounding noise. Its gradient of the filters has the same bits for equal numbers of threads, and
/// all other results for any number.
///
/// # Errors
/// As the separate operators.
pub fn conv_bn_relu_train(
    x: &Tensor,
    weight: &Tensor,
    bias: Option<&Tensor>,
    norm: Norm,
    conv: &Conv2dConfig,
    pool: bool,
) -> Result<Tensor> {
    let geometry = conv::geometry(x, weight, bias, conv)?;
    let Norm {
        weight: gamma,
        bias: beta,
        running_mean,
        running_var,
        config,
    } = norm;
    let maps = geometry.maps();
    let is_chunk = sync::is_on();
    #[cfg(feature = "cuda")]
    if !is_chunk
        && is_on_device(x, weight, conv, &config, &geometry)
        && (!pool || maps.h.min(maps.w) >= 2)
    {
        batch_norm::check_parameters(
            maps.c,
            PARAMETERS,
            [gamma, beta, running_mean, running_var],
            &config,
        )?;
        batch_norm::check_count(maps, &maps.shape(conv.layout))?;
        let tail = if pool {
            CudaTail::ReluPool
        } else {
            CudaTail::Relu
        };
        let statistics = Statistics::of_batch(running_mean, running_var, &config);
        // The norm subtracts the convolution's bias again, so that only the running mean needs it.
        let y = conv2d(x, weight, None, conv)?;
        return apply(&y, [gamma, beta], bias, maps, config.eps, statistics, tail);
    }
    let too_small = pool && maps.h.min(maps.w) < 2;
    if is_chunk || too_small || !is_fast(x, conv, &config, &geometry) {
        let y = conv2d(x, weight, bias, conv)?;
        let y = relu(&batch_norm_train(
            &y,
            gamma,
            beta,
            running_mean,
            running_var,
            &config,
        )?)?;
        return pooled(y, conv.layout, pool);
    }
    batch_norm::check_parameters(
        maps.c,
        x.dtype(),
        [gamma, beta, running_mean, running_var],
        &config,
    )?;
    batch_norm::check_count(maps, &maps.shape(conv.layout))?;

    let tail = if pool { Tail::ReluPool } else { Tail::Relu };
    let moments = Arc::new(OnceLock::new());
    let op = Train {
        geometry,
        maps,
        tail,
        eps: config.eps,
        moments: moments.clone(),
        kept: Mutex::new(None),
    };
    // An operator has three arguments at most, so the small parameters are concatenated.
    let parameters: Vec<&Tensor> = [gamma, beta].into_iter().chain(bias).collect();
    let parameters = tape::cat(&parameters)?;
    let out = tape::apply3(&x.contiguous()?, &weight.contiguous()?, &parameters, op)?;

    let Moments { mean, variance } = custom_op::saved(&moments)?;
    let mean = match bias {
        // The convolution runs without its bias, which is part of PyTorch's running mean.
        Some(bias) => mean
            .iter()
            .zip(to_f64(bias)?)
            .map(|(mean, bias)| mean + bias)
            .collect(),
        None => mean.clone(),
    };
    update_running(running_mean, running_var, &mean, variance, maps, &config)?;
    Ok(out)
}

const NAME: &str = "conv_bn_relu";

/// Operator of one call. Its third argument is weight and bias of the norm and, if there is one, the bias of the convolution.
struct Train {
    geometry: Geometry,
    /// Extents of the convolution's output.
    maps: Extents,
    tail: Tail,
    eps: f64,
    /// Statistics of the batch, for the update of the running statistics.
    moments: Arc<OnceLock<Moments>>,
    /// Output of the convolution, until backward overwrites it with its gradient.
    kept: Mutex<Option<Vec<f32>>>,
}

impl Train {
    fn convolve(&self, x: &[f32], w: &[f32]) -> Vec<f32> {
        let Extents { n, c, h, w: width } = self.maps;
        // SAFETY: the convolution writes every element of its result.
        unsafe {
            fresh(n * c * h * width, |y| {
                channels_last::forward(&self.geometry, x, w, Epilogue::default(), y)
            })
        }
    }

    /// Scale and shift of the norm: `weight / sigma` and `bias - mean * weight / sigma`.
    fn affine(&self, parameters: &[f32], moments: &Moments, normal: &Normal) -> Affine {
        let (gamma, beta) = parameters.split_at(self.maps.c);
        let scale = gamma
            .iter()
            .zip(&normal.inverse)
            .map(|(g, inverse)| *g as f64 * inverse);
        let shift = scale
            .clone()
            .zip(&moments.mean)
            .zip(beta)
            .map(|((scale, mean), beta)| (*beta as f64 - mean * scale) as f32);
        Affine {
            shift: shift.collect(),
            scale: scale.map(|s| s as f32).collect(),
        }
    }

    fn normal(&self, moments: &Moments) -> Normal {
        Normal::new(moments.mean.clone(), &moments.variance, self.eps)
    }
}

impl CustomOp3 for Train {
    fn name(&self) -> &'static str {
        NAME
    }

    fn cpu_fwd(
        &self,
        x: &CpuStorage,
        x_layout: &candle_core::Layout,
        weight: &CpuStorage,
        weight_layout: &candle_core::Layout,
        parameters: &CpuStorage,
        parameters_layout: &candle_core::Layout,
    ) -> candle_core::Result<(CpuStorage, Shape)> {
        let (x, w) = (
            cpu::slice(NAME, x, x_layout)?,
            cpu::slice(NAME, weight, weight_layout)?,
        );
        let parameters = cpu::slice::<f32>(NAME, parameters, parameters_layout)?;
        let y = self.convolve(x, w);
        let moments = moments(&y, self.maps, Layout::Nhwc);
        let affine = self.affine(parameters, &moments, &self.normal(&moments));
        let output = self.tail.output(self.maps);
        // SAFETY: the kernel writes every element of its result.
        let out = unsafe {
            fresh(output.count(), |out| {
                kernel::forward(&y, self.maps, &affine, self.tail, out)
            })
        };
        custom_op::save(&self.moments, moments)?;
        *self.kept.lock().unwrap_or_else(PoisonError::into_inner) = Some(y);
        Ok((custom_op::storage(out), output.shape(Layout::Nhwc)))
    }

    fn bwd(
        &self,
        x: &Tensor,
        weight: &Tensor,
        parameters: &Tensor,
        _out: &Tensor,
        grad: &Tensor,
    ) -> candle_core::Result<(Option<Tensor>, Option<Tensor>, Option<Tensor>)> {
        let grad = grad.contiguous()?;
        let (x_storage, x_layout) = x.storage_and_layout();
        let (w_storage, w_layout) = weight.storage_and_layout();
        let (p_storage, p_layout) = parameters.storage_and_layout();
        let (g_storage, g_layout) = grad.storage_and_layout();
        let (xs, ws) = (
            cpu::locked(NAME, &x_storage, x_layout)?,
            cpu::locked(NAME, &w_storage, w_layout)?,
        );
        let (ps, gs) = (
            cpu::locked(NAME, &p_storage, p_layout)?,
            cpu::locked(NAME, &g_storage, g_layout)?,
        );

        let kept = self
            .kept
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .take();
        // The first backward pass has overwritten it: a second one computes it again.
        let mut y = kept.unwrap_or_else(|| self.convolve(xs, ws));
        let moments = custom_op::saved(&self.moments)?;
        let normal = self.normal(moments);
        let affine = self.affine(ps, moments, &normal);
        let mean: Vec<f32> = moments.mean.iter().map(|&m| m as f32).collect();
        let (sum, dot) = kernel::gradient_sums(&y, gs, self.maps, &affine, &mean, self.tail);

        // Ioffe and Szegedy 2015, section 3: the batch's mean and variance depend on every value.
        let count = (self.maps.n * self.maps.h * self.maps.w) as f64;
        let mut through = Affine::default();
        let mut dp = vec![0f32; parameters.elem_count()];
        for i in 0..self.maps.c {
            let (scale, inverse) = (affine.scale[i] as f64, normal.inverse[i]);
            let slope = -scale * inverse * inverse * dot[i] / count;
            through.scale.push(slope as f32);
            through
                .shift
                .push((-scale * sum[i] / count - slope * moments.mean[i]) as f32);
            dp[i] = (dot[i] * inverse) as f32;
            dp[self.maps.c + i] = sum[i] as f32;
        }
        kernel::gradient(&mut y, gs, self.maps, &affine, &through, self.tail);

        let g = &self.geometry;
        let dw = weight.track_op().then(|| {
            // SAFETY: the pass writes every element of its result.
            unsafe { fresh(ws.len(), |dw| channels_last::weight_grad(g, xs, &y, dw)) }
        });
        let dx = x.track_op().then(|| {
            // SAFETY: the pass writes every element of its result.
            unsafe { fresh(xs.len(), |dx| channels_last::input_grad(g, ws, &y, dx)) }
        });
        let tensor = |v: Option<Vec<f32>>, of: &Tensor| {
            v.map(|v| custom_op::tensor(v, of.shape())).transpose()
        };
        Ok((
            tensor(dx, x)?,
            tensor(dw, weight)?,
            Some(custom_op::tensor(dp, parameters.shape())?),
        ))
    }
}
