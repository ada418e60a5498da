//! Convolution, ReLU and pooling as one operator.

use std::sync::OnceLock;

use candle_core::{CpuStorage, DType, Shape, Tensor};

use crate::conv::{self, Conv2dConfig, conv2d};
use crate::conv_block::pooled;
use crate::error::Result;
use crate::kernels::fresh::fresh;
use crate::kernels::lanes::{Gradients, Kept, Plan, backward, forward};
use crate::layout::Layout;
use crate::relu::relu;
#[cfg(feature = "cuda")]
use crate::to_layout::in_channels_last;
use crate::weighted::{Argument, Weighted, apply_weighted};
use crate::{cpu, custom_op};

/// [`conv2d`], [`relu`] and, if `pool`, a 2x2 max pooling, as one node of the graph.
///
/// Shapes, hyper-parameters and gradients are those of the separate operators. The fast path is small `f32` convolutions of
/// stride 1 in [`Layout::Nchw`] on the CPU: up to 64 channels, without groups or dilation. It stores no intermediate tensor but
/// the input and the position of each maximum, for backward. On a CUDA device with kernels all that follows the convolution is one operator.
/// Everything else runs the separate operators.
///
/// # Errors
/// As [`conv2d`] and [`max_pool2d`](crate::max_pool2d).
pub fn conv_relu(
    x: &Tensor,
    weight: &Tensor,
    bias: Option<&Tensor>,
    config: &Conv2dConfig,
    pool: bool,
) -> Result<Tensor> {
    let geometry = conv::geometry(x, weight, bias, config)?;
    #[cfg(feature = "cuda")]
    if let Some(precision) = crate::cuda::conv::runs(x, weight, &geometry) {
        let maps = geometry.maps();
        let fused = pool && maps.h.min(maps.w) >= 2;
        let block = |x: &Tensor| {
            // The bias comes with the ReLU.
            let y = crate::cuda::conv::conv2d(x, weight, None, Layout::Nhwc, geometry, precision)?;
            let y = crate::cuda::bias_relu::bias_relu(&y, bias, maps, fused)?;
            pooled(y, Layout::Nhwc, pool && !fused)
        };
        return match config.layout {
            Layout::Nchw => in_channels_last(x, block),
            Layout::Nhwc => block(x),
        };
    }
    let fast = x.device().is_cpu() && x.dtype() == DType::F32 && config.layout == Layout::Nchw;
    let Some(plan) = Plan::new(geometry, pool).filter(|_| fast) else {
        let y = relu(&conv2d(x, weight, bias, config)?)?;
        return pooled(y, config.layout, pool);
    };
    let op = ConvRelu {
        plan,
        kept: OnceLock::new(),
    };
    Ok(apply_weighted(x, weight, bias, op)?)
}

const NAME: &str = "conv_relu";

/// Operator of one call of [`conv_relu`].
struct ConvRelu {
    plan: Plan,
    kept: OnceLock<Kept>,
}

impl Weighted for ConvRelu {
    const NAME: &'static str = NAME;

    fn forward(
        &self,
        x: Argument,
        w: Argument,
        b: Option<Argument>,
    ) -> candle_core::Result<(CpuStorage, Shape)> {
        let (x, w) = (cpu::slice(NAME, x.0, x.1)?, cpu::slice(NAME, w.0, w.1)?);
        let b = b.map(|b| cpu::slice(NAME, b.0, b.1)).transpose()?;
        let g = &self.plan.geometry;
        let (h, w_) = self.plan.output();
        let shape = (g.batch, g.out_channels, h, w_);
        let mut kept = None;
        // SAFETY: the kernel writes every element of its result.
        let y = unsafe {
            fresh(g.batch * g.out_channels * h * w_, |y| {
                kept = Some(forward(&self.plan, x, w, b, y));
            })
        };
        if let Some(kept) = kept {
            custom_op::save(&self.kept, kept)?;
        }
        Ok((custom_op::storage(y), shape.into()))
    }

    fn backward(
        &self,
        x: &Tensor,
        w: &Tensor,
        b: Option<&Tensor>,
        _: &Tensor,
        dy: &Tensor,
    ) -> candle_core::Result<[Option<Tensor>; 3]> {
        let dy = dy.contiguous()?;
        let (w_guard, dy_guard) = (w.storage_and_layout(), dy.storage_and_layout());
        let ws = cpu::locked::<f32>(NAME, &w_guard.0, w_guard.1)?;
        let dys = cpu::locked::<f32>(NAME, &dy_guard.0, dy_guard.1)?;
        let kept = custom_op::saved(&self.kept)?;
        let mut dx = None;
        let mut dw = vec![0f32; ws.len()];
        let mut db = b.map(|b| vec![0f32; b.elem_count()]);
        let mut run = |dx: Option<&mut [f32]>| {
            let into = Gradients {
                input: dx,
                weight: &mut dw,
                bias: db.as_deref_mut(),
            };
            backward(&self.plan, ws, kept, dys, into);
        };
        if x.track_op() {
            // SAFETY: the kernel writes every element of the input's gradient.
            dx = Some(unsafe { fresh(x.elem_count(), |dx| run(Some(dx))) });
        } else {
            run(None);
        }
        let tensor = |v: Option<Vec<f32>>, of: &Tensor| {
            v.map(|v| custom_op::tensor(v, of.shape())).transpose()
        };
        Ok([
            tensor(dx, x)?,
            tensor(Some(dw), w)?,
            b.map_or(Ok(None), |b| tensor(db, b))?,
        ])
    }
}
