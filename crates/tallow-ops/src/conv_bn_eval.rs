//! Convolution and batch norm in evaluation, followed by ReLU, pooling or an addition, as one operator.

use candle_core::{CpuStorage, CustomOp3, Shape, Tensor, Var};
#[cfg(feature = "cuda")]
use tallow_cuda::ops::norm::Tail as CudaTail;

use crate::batch_norm::{self, BatchNormConfig, Norm, batch_norm_eval, to_f64};
use crate::conv::{self, Conv2dConfig, conv2d};
#[cfg(feature = "cuda")]
use crate::conv_block::is_on_device;
use crate::conv_block::{is_fast, pooled};
#[cfg(feature = "cuda")]
use crate::cuda::PARAMETERS;
#[cfg(feature = "cuda")]
use crate::cuda::norm::{Statistics, apply, apply_add_relu};
use crate::error::Result;
use crate::kernels::conv::{Epilogue, Geometry, channels_last};
use crate::kernels::conv_block::{self as kernel, Affine, Tail};
use crate::kernels::fresh::fresh;
use crate::kernels::scratch;
#[cfg(feature = "cuda")]
use crate::layout::Extents;
use crate::layout::Layout;
use crate::norm_add_relu::add_relu;
use crate::relu::relu;
use crate::{cpu, custom_op, route, tape};

/// [`conv2d`], [`batch_norm_eval`], [`relu`] and, if `pool`, a 2x2 max pooling, as one node of the graph.
///
/// The fast path is that of [`conv_bn_relu_train`](crate::conv_bn_relu_train). There the norm is a scale and a shift of each
/// channel, applied as the convolution writes its result.
///
/// # Errors
/// As the separate operators.
pub fn conv_bn_relu_eval(
    x: &Tensor,
    weight: &Tensor,
    bias: Option<&Tensor>,
    norm: Norm,
    conv: &Conv2dConfig,
    pool: bool,
) -> Result<Tensor> {
    let tail = Folded {
        relu: true,
        pool,
        addend: None,
    };
    folded(x, weight, bias, norm, conv, tail)
}

/// [`conv2d`] and [`batch_norm_eval`] as one node of the graph. The fast path is that of [`conv_bn_relu_eval`].
///
/// # Errors
/// As the separate operators.
pub fn conv_bn_eval(
    x: &Tensor,
    weight: &Tensor,
    bias: Option<&Tensor>,
    norm: Norm,
    conv: &Conv2dConfig,
) -> Result<Tensor> {
    folded(x, weight, bias, norm, conv, Folded::default())
}

/// [`add_relu`] of [`conv_bn_eval`] and `shortcut`: the end of a residual block in evaluation. Inside
/// [`no_grad`](crate::no_grad) it is one pass.
///
/// # Errors
/// As the separate operators.
pub fn conv_bn_add_relu_eval(
    x: &Tensor,
    weight: &Tensor,
    bias: Option<&Tensor>,
    norm: Norm,
    conv: &Conv2dConfig,
    shortcut: &Tensor,
) -> Result<Tensor> {
    let geometry = conv::geometry(x, weight, bias, conv)?;
    let maps = geometry.maps();
    let same_type =
        shortcut.dtype() == x.dtype() || route::maps_on_cuda(shortcut) && route::maps_on_cuda(x);
    let fits = shortcut.shape() == &maps.shape(conv.layout) && same_type;
    #[cfg(feature = "cuda")]
    if fits && is_on_device(x, weight, conv, &norm.config, &geometry) {
        let (parameters, statistics) = checked(&norm, maps)?;
        let y = conv2d(x, weight, None, conv)?;
        let eps = norm.config.eps;
        return apply_add_relu(&y, shortcut, parameters, bias, maps, eps, statistics);
    }
    if tape::grad_enabled() || !fits || !is_fast(x, conv, &norm.config, &geometry) {
        return add_relu(&conv_bn_eval(x, weight, bias, norm, conv)?, shortcut);
    }
    let tail = Folded {
        relu: true,
        pool: false,
        addend: Some(shortcut.contiguous()?.detach()),
    };
    folded(x, weight, bias, norm, conv, tail)
}

/// Operations after the norm in evaluation.
#[derive(Clone, Default)]
struct Folded {
    relu: bool,
    /// 2x2 max pooling.
    pool: bool,
    /// Tensor added before the ReLU; only without gradients.
    addend: Option<Tensor>,
}

fn folded(
    x: &Tensor,
    weight: &Tensor,
    bias: Option<&Tensor>,
    norm: Norm,
    conv: &Conv2dConfig,
    tail: Folded,
) -> Result<Tensor> {
    let geometry = conv::geometry(x, weight, bias, conv)?;
    let Norm {
        weight: gamma,
        bias: beta,
        running_mean,
        running_var,
        config,
    } = norm;
    let (mean, var) = (
        running_mean.as_detached_tensor(),
        running_var.as_detached_tensor(),
    );
    let statistics = [gamma, beta, &mean, &var];
    #[cfg(feature = "cuda")]
    if tail.addend.is_none() && is_on_device(x, weight, conv, &config, &geometry) {
        let maps = geometry.maps();
        let (parameters, statistics) = checked(&norm, maps)?;
        let fused = tail.pool && tail.relu && maps.h.min(maps.w) >= 2;
        let then_pool = tail.pool && !fused;
        let cuda_tail = match (tail.relu, fused) {
            (_, true) => CudaTail::ReluPool,
            (true, false) => CudaTail::Relu,
            (false, false) => CudaTail::Linear,
        };
        let y = conv2d(x, weight, None, conv)?;
        let y = apply(
            &y, parameters, bias, maps, config.eps, statistics, cuda_tail,
        )?;
        return pooled(y, conv.layout, then_pool);
    }
    if !is_fast(x, conv, &config, &geometry) {
        let y = composed_eval(x, weight, bias, statistics, conv, &config, tail.relu)?;
        return pooled(y, conv.layout, tail.pool);
    }
    let maps = geometry.maps();
    batch_norm::check_parameters(maps.c, x.dtype(), statistics, &config)?;
    // With a gradient, the pooling is a separate operator, which keeps the positions of the maxima.
    let fused = tail.pool && tail.relu && !tape::grad_enabled() && maps.h.min(maps.w) >= 2;
    let then_pool = tail.pool && !fused;
    let parameters: Vec<&Tensor> = [gamma, beta].into_iter().chain(bias).collect();
    let parameters = tape::cat(&parameters)?;
    let op = Eval {
        geometry,
        conv: *conv,
        config,
        statistics: [mean, var],
        tail: Folded {
            pool: fused,
            ..tail
        },
    };
    let y = tape::apply3(&x.contiguous()?, &weight.contiguous()?, &parameters, op)?;
    pooled(y, conv.layout, then_pool)
}

/// Parameters and running statistics of a norm on a CUDA device, checked against maps of these extents.
#[cfg(feature = "cuda")]
fn checked<'a>(norm: &Norm<'a>, maps: Extents) -> Result<([&'a Tensor; 2], Statistics)> {
    let all: [&Tensor; 4] = [norm.weight, norm.bias, norm.running_mean, norm.running_var];
    batch_norm::check_parameters(maps.c, PARAMETERS, all, &norm.config)?;
    Ok(([norm.weight, norm.bias], Statistics::of(norm, false)))
}

fn composed_eval(
    x: &Tensor,
    weight: &Tensor,
    bias: Option<&Tensor>,
    [gamma, beta, mean, var]: [&Tensor; 4],
    conv: &Conv2dConfig,
    config: &BatchNormConfig,
    rectify: bool,
) -> Result<Tensor> {
    let y = conv2d(x, weight, bias, conv)?;
    let y = batch_norm_eval(&y, gamma, beta, mean, var, config)?;
    if rectify { relu(&y) } else { Ok(y) }
}

const NAME: &str = "conv_bn_eval";

/// Operator of one call. Its third argument is weight and bias of the norm and, if there is one, the bias of the convolution.
struct Eval {
    geometry: Geometry,
    conv: Conv2dConfig,
    config: BatchNormConfig,
    /// Running mean and variance.
    statistics: [Tensor; 2],
    tail: Folded,
}

impl CustomOp3 for Eval {
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
            cpu::slice::<f32>(NAME, x, x_layout)?,
            cpu::slice::<f32>(NAME, weight, weight_layout)?,
        );
        let parameters = cpu::slice::<f32>(NAME, parameters, parameters_layout)?;
        let (g, c) = (&self.geometry, self.geometry.out_channels);
        let (gamma, rest) = parameters.split_at(c);
        let (beta, bias) = rest.split_at(c);
        let (mean, var) = (to_f64(&self.statistics[0])?, to_f64(&self.statistics[1])?);
        let scale: Vec<f64> = (0..c)
            .map(|i| gamma[i] as f64 / (var[i] + self.config.eps).sqrt())
            .collect();
        let shift: Vec<f32> = (0..c)
            .map(|i| {
                (beta[i] as f64 + (bias.get(i).map_or(0., |&b| b as f64) - mean[i]) * scale[i])
                    as f32
            })
            .collect();
        let scale: Vec<f32> = scale.iter().map(|&s| s as f32).collect();
        let count = g.batch * g.out_image();
        let maps = g.maps();
        if self.tail.pool {
            let affine = Affine { scale, shift };
            let mut y = scratch::take::<f32>(count);
            channels_last::forward(g, x, w, Epilogue::default(), &mut y);
            let output = Tail::ReluPool.output(maps);
            // SAFETY: the kernel writes every element of its result.
            let out = unsafe {
                fresh(output.count(), |out| {
                    kernel::forward(&y, maps, &affine, Tail::ReluPool, out)
                })
            };
            return Ok((custom_op::storage(out), output.shape(Layout::Nhwc)));
        }
        let addend = self.tail.addend.as_ref().map(Tensor::storage_and_layout);
        let addend = match &addend {
            Some((storage, layout)) => Some(cpu::locked::<f32>(NAME, storage, layout)?),
            None => None,
        };
        let epilogue = Epilogue {
            scale: Some(&scale),
            bias: Some(&shift),
            addend,
            relu: self.tail.relu,
        };
        // SAFETY: the convolution writes every element of its result.
        let out = unsafe { fresh(count, |y| channels_last::forward(g, x, w, epilogue, y)) };
        Ok((custom_op::storage(out), maps.shape(Layout::Nhwc)))
    }

    /// Gradients in evaluation are rare, so the separate operators compute them.
    fn bwd(
        &self,
        x: &Tensor,
        weight: &Tensor,
        parameters: &Tensor,
        _out: &Tensor,
        grad: &Tensor,
    ) -> candle_core::Result<(Option<Tensor>, Option<Tensor>, Option<Tensor>)> {
        let [x, weight, parameters] =
            [x, weight, parameters].map(|t| Var::from_tensor(&t.detach()));
        let (x, weight, parameters) = (x?, weight?, parameters?);
        let c = self.geometry.out_channels;
        let (gamma, beta) = (parameters.narrow(0, 0, c)?, parameters.narrow(0, c, c)?);
        let bias = (parameters.elem_count() > 2 * c)
            .then(|| parameters.narrow(0, 2 * c, c))
            .transpose()?;
        let [mean, var] = &self.statistics;
        let y = composed_eval(
            &x,
            &weight,
            bias.as_ref(),
            [&gamma, &beta, mean, var],
            &self.conv,
            &self.config,
            self.tail.relu,
        )?;
        let mut gradients = (y * grad)?.sum_all()?.backward()?;
        Ok((
            gradients.remove(&x),
            gradients.remove(&weight),
            gradients.remove(&parameters),
        ))
    }
}
