//! Convolution, batch norm, ReLU and pooling as one operator.

use std::sync::{Arc, Mutex, OnceLock, PoisonError};

use candle_core::{CpuStorage, CustomOp3, DType, Shape, Tensor, Var};

use crate::add_relu;
use crate::batch_norm::{self, to_f64, update_running};
use crate::kernels::batch_norm::{Moments, Normal, moments};
use crate::kernels::conv::{Epilogue, Geometry, channels_last};
use crate::kernels::conv_block::{self as kernel, Affine, Tail};
use crate::kernels::fresh::fresh;
use crate::kernels::scratch;
use crate::layout::Extents;
use crate::{
    BatchNormConfig, Conv2dConfig, Layout, Pool2dConfig, Result, batch_norm_eval, batch_norm_train,
};
use crate::{conv, conv2d, cpu, custom_op, max_pool2d, relu, tape};

/// The parameters and statistics of a batch norm, each `(C)`.
#[derive(Clone, Copy, Debug)]
pub struct Norm<'a> {
    /// The factor of the normalised values.
    pub weight: &'a Tensor,
    /// What is added to them.
    pub bias: &'a Tensor,
    /// Moved towards the batch's mean in training.
    pub running_mean: &'a Var,
    /// Moved towards the batch's unbiased variance in training.
    pub running_var: &'a Var,
    /// Its constants and the axis order.
    pub config: BatchNormConfig,
}

/// [`conv2d`], [`batch_norm_train`], [`relu`] and, if `pool`, a 2x2 [`max_pool2d`], as one node of the graph.
///
/// Shapes and settings are those of the single operators, which run for everything but `f32` in [`Layout::Nhwc`] without groups
/// on the CPU. There the convolution's output is kept for backward, and nothing else in between is ever stored. The gradient of
/// the convolution's bias is exactly zero, since the normalisation subtracts it again; PyTorch returns rounding noise there.
/// There the gradient of the filters has the same bits for equal numbers of threads, all else for any number.
///
/// # Errors
/// As the single operators.
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
    let maps = extents(&geometry);
    if !is_fast(x, conv, &config, &geometry) || (pool && maps.h.min(maps.w) < 2) {
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
    // An operator has three arguments at most, so the small parameters travel as one.
    let parameters: Vec<&Tensor> = [gamma, beta].into_iter().chain(bias).collect();
    let parameters = tape::cat(&parameters)?;
    let out = tape::apply3(&x.contiguous()?, &weight.contiguous()?, &parameters, op)?;

    let Moments { mean, variance } = custom_op::saved(&moments)?;
    let mean = match bias {
        // The convolution runs without its bias, which PyTorch's running mean contains.
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

/// As [`conv_bn_relu_train`], with [`batch_norm_eval`]: on the fast path the norm is folded into the convolution's filters.
///
/// # Errors
/// As the single operators.
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

/// [`conv2d`] and [`batch_norm_eval`] as one node of the graph: on the fast path of [`conv_bn_relu_eval`] folded in the same way.
///
/// # Errors
/// As the single operators.
pub fn conv_bn_eval(
    x: &Tensor,
    weight: &Tensor,
    bias: Option<&Tensor>,
    norm: Norm,
    conv: &Conv2dConfig,
) -> Result<Tensor> {
    folded(x, weight, bias, norm, conv, Folded::default())
}

/// [`add_relu`] of [`conv_bn_eval`] and `shortcut`: the end of a residual block. Inside [`no_grad`](crate::no_grad) it is one pass.
///
/// # Errors
/// As the single operators.
pub fn conv_bn_add_relu_eval(
    x: &Tensor,
    weight: &Tensor,
    bias: Option<&Tensor>,
    norm: Norm,
    conv: &Conv2dConfig,
    shortcut: &Tensor,
) -> Result<Tensor> {
    let geometry = conv::geometry(x, weight, bias, conv)?;
    let maps = extents(&geometry);
    let fits = shortcut.shape() == &maps.shape(conv.layout) && shortcut.dtype() == x.dtype();
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

/// What follows the norm in evaluation.
#[derive(Clone, Default)]
struct Folded {
    relu: bool,
    /// Halving maxima.
    pool: bool,
    /// Added before the ReLU; only where there is no gradient.
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
    if !is_fast(x, conv, &config, &geometry) {
        let y = composed_eval(x, weight, bias, statistics, conv, &config, tail.relu)?;
        return pooled(y, conv.layout, tail.pool);
    }
    let maps = extents(&geometry);
    batch_norm::check_parameters(maps.c, x.dtype(), statistics, &config)?;
    // With a gradient, the pooling is an operator of its own, which remembers the winners.
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

/// The convolution's output.
fn extents(g: &Geometry) -> Extents {
    Extents {
        n: g.batch,
        c: g.out_channels,
        h: g.out_height,
        w: g.out_width,
    }
}

fn is_fast(x: &Tensor, conv: &Conv2dConfig, norm: &BatchNormConfig, geometry: &Geometry) -> bool {
    (conv.layout, norm.layout) == (Layout::Nhwc, Layout::Nhwc)
        && x.device().is_cpu()
        && x.dtype() == DType::F32
        && channels_last::suits(geometry)
}

fn pooled(y: Tensor, layout: Layout, pool: bool) -> Result<Tensor> {
    if pool {
        max_pool2d(
            &y,
            &Pool2dConfig {
                layout,
                ..Pool2dConfig::new(2)
            },
        )
    } else {
        Ok(y)
    }
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

const NAME: &str = "conv_bn_relu";

/// The operator in training. Its third argument is `weight, bias` of the norm and, if there is one, the convolution's bias.
struct Train {
    geometry: Geometry,
    /// The convolution's output.
    maps: Extents,
    tail: Tail,
    eps: f64,
    /// What the running statistics are moved by once the operator has run.
    moments: Arc<OnceLock<Moments>>,
    /// The convolution's output, until backward turns it into its gradient.
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
        // A second backward pass finds its memory used up by the first.
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

/// The operator in evaluation; its third argument is as in [`Train`].
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
        let maps = extents(g);
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

    /// Gradients in evaluation are rare, so the single operators compute them.
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
