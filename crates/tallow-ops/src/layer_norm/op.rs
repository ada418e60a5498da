//! Layer norm as a candle operator.

use std::sync::OnceLock;

use candle_core::{CpuStorage, Result, Shape, Tensor};

use crate::cpu;
use crate::custom_op::{self, for_float};
use crate::kernels::fresh::fresh;
use crate::kernels::layer_norm::{
    Affine, backward_planes, backward_rows, forward_planes, forward_rows,
};
use crate::weighted::{Argument, Weighted};

const NAME: &str = "layer_norm";

/// Operator of one call, with arguments already checked.
pub(super) struct LayerNorm {
    /// Normalized elements.
    pub(super) size: usize,
    /// Pixels of a plane if the normalized elements are channels of planes; `None` if they are adjacent.
    pub(super) plane: Option<usize>,
    pub(super) eps: f64,
    /// Means and inverse deviations.
    pub(super) stats: OnceLock<CpuStorage>,
}

impl Weighted for LayerNorm {
    const NAME: &'static str = NAME;

    fn forward(
        &self,
        x: Argument,
        weight: Argument,
        bias: Option<Argument>,
    ) -> Result<(CpuStorage, Shape)> {
        for_float!(custom_op::dtype(x.0), NAME, T => {
            let xs = cpu::slice::<T>(NAME, x.0, x.1)?;
            let affine = Affine {
                weight: cpu::slice::<T>(NAME, weight.0, weight.1)?,
                bias: bias.map(|b| cpu::slice::<T>(NAME, b.0, b.1)).transpose()?,
            };
            let mut stats = custom_op::zeros::<T>(xs.len() / self.size * 2);
            let fill = |y: &mut [T]| match self.plane {
                Some(plane) => forward_planes(xs, plane, affine, self.eps, y, &mut stats),
                None => forward_rows(xs, affine, self.eps, y, &mut stats),
            };
            // SAFETY: both passes write every element of their results.
            let y = unsafe { fresh(xs.len(), fill) };
            custom_op::save(&self.stats, custom_op::storage(stats))?;
            Ok((custom_op::storage(y), x.1.shape().clone()))
        })
    }

    fn backward(
        &self,
        x: &Tensor,
        weight: &Tensor,
        bias: Option<&Tensor>,
        _: &Tensor,
        dy: &Tensor,
    ) -> Result<[Option<Tensor>; 3]> {
        let (stats, dy) = (custom_op::saved(&self.stats)?, dy.contiguous()?);
        for_float!(x.dtype(), NAME, T => {
            let (x_guard, w_guard, dy_guard) = (
                x.storage_and_layout(),
                weight.storage_and_layout(),
                dy.storage_and_layout(),
            );
            let xs = cpu::locked::<T>(NAME, &x_guard.0, x_guard.1)?;
            let weights = cpu::locked::<T>(NAME, &w_guard.0, w_guard.1)?;
            let dys = cpu::locked::<T>(NAME, &dy_guard.0, dy_guard.1)?;
            let stats = stats.as_slice::<T>()?;
            let mut grads = custom_op::zeros::<T>(2 * self.size);
            let fill = |dx: &mut [T]| match self.plane {
                Some(plane) => backward_planes(xs, plane, weights, stats, dys, dx, &mut grads),
                None => backward_rows(xs, weights, stats, dys, dx, &mut grads),
            };
            // SAFETY: both passes write every element of their results.
            let dx = unsafe { fresh(xs.len(), fill) };
            let db = grads.split_off(self.size);
            let dw = weight.track_op().then(|| custom_op::tensor(grads, self.size)).transpose()?;
            let db = bias
                .filter(|bias| bias.track_op())
                .map(|_| custom_op::tensor(db, self.size))
                .transpose()?;
            Ok([Some(custom_op::tensor(dx, x.shape())?), dw, db])
        })
    }
}
