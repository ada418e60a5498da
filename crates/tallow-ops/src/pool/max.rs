use std::sync::OnceLock;

use candle_core::{CpuStorage, CustomOp1, Shape, Tensor};
#[cfg(feature = "cuda")]
use tallow_cuda::{
    View,
    ops::pool::{self, Windows, Winners},
};

use super::config::Pool2dConfig;
use crate::cpu;
use crate::custom_op::{self, for_float};
use crate::error::{Error, Result};
use crate::kernels::fresh::fresh;
use crate::kernels::pool::{Axis, max};
use crate::layout::{Extents, Layout};
use crate::{reference, route, tape};

/// Max pooling, as `torch.nn.functional.max_pool2d`.
///
/// `x` and the result are `(N, C, H, W)` or `(N, H, W, C)`, the layout of the configuration. The gradient of a window goes to its
/// maximum; of equal ones, to the first in row-major order. NaN counts as the maximum. Windows may overlap; gradients are summed.
///
/// # Errors
/// [`Error::Shape`] if `x` does not have four axes; [`Error::Config`] if kernel, stride or dilation is 0, padding exceeds half
/// the kernel, or no window fits.
pub fn max_pool2d(x: &Tensor, config: &Pool2dConfig) -> Result<Tensor> {
    if !route::has_map_kernels(x) {
        return reference::max_pool2d(&tape::input(x), config);
    }
    let (extents, rows, columns) = config.axes("max_pool2d", x)?;
    if extents.h * extents.w >= u32::MAX as usize {
        return Err(Error::Config {
            op: "max_pool2d",
            message: "a plane of H x W must have fewer than 2^32 - 1 elements".into(),
        });
    }
    Ok(tape::apply1(
        &x.contiguous()?,
        MaxPool {
            extents,
            layout: config.layout,
            axes: (rows, columns),
            winner: OnceLock::new(),
            #[cfg(feature = "cuda")]
            numbers: crate::cuda::numbers(x),
            #[cfg(feature = "cuda")]
            winners: OnceLock::new(),
        },
    )?)
}

struct MaxPool {
    extents: Extents,
    layout: Layout,
    axes: (Axis, Axis),
    /// Position of each maximum in its input plane.
    winner: OnceLock<Vec<u32>>,
    /// Type of the maps on a CUDA device.
    #[cfg(feature = "cuda")]
    numbers: tallow_cuda::Numbers,
    /// Position of each maximum on a CUDA device.
    #[cfg(feature = "cuda")]
    winners: OnceLock<Winners>,
}

#[cfg(feature = "cuda")]
impl MaxPool {
    fn windows(&self) -> Windows {
        let (rows, columns) = self.axes;
        crate::cuda::pool::windows(self.numbers, self.extents, self.layout, rows, columns)
    }
}

impl CustomOp1 for MaxPool {
    fn name(&self) -> &'static str {
        "max_pool2d"
    }

    fn cpu_fwd(
        &self,
        storage: &CpuStorage,
        layout: &candle_core::Layout,
    ) -> candle_core::Result<(CpuStorage, Shape)> {
        let out = Extents {
            h: self.axes.0.output,
            w: self.axes.1.output,
            ..self.extents
        };
        for_float!(custom_op::dtype(storage), self.name(), T => {
            let x = cpu::slice::<T>(self.name(), storage, layout)?;
            let mut winner = Vec::new();
            // SAFETY: the pass writes every element of both.
            let y = unsafe {
                fresh(out.count(), |y| {
                    winner = fresh(y.len(), |winner| max::forward(x, self.extents, self.layout, self.axes, y, winner));
                })
            };
            custom_op::save(&self.winner, winner)?;
            Ok((custom_op::storage(y), out.shape(self.layout)))
        })
    }

    #[cfg(feature = "cuda")]
    fn cuda_fwd(
        &self,
        storage: &candle_core::CudaStorage,
        layout: &candle_core::Layout,
    ) -> candle_core::Result<(candle_core::CudaStorage, Shape)> {
        let out = Extents {
            h: self.axes.0.output,
            w: self.axes.1.output,
            ..self.extents
        };
        let x = View::numbers(self.name(), storage, layout)?;
        let (y, winners) = pool::max(x, &self.windows())?;
        custom_op::save(&self.winners, winners)?;
        Ok((y, out.shape(self.layout)))
    }

    fn bwd(&self, x: &Tensor, _y: &Tensor, grad: &Tensor) -> candle_core::Result<Option<Tensor>> {
        let grad = grad.contiguous()?;
        #[cfg(feature = "cuda")]
        if grad.device().is_cuda() {
            let (storage, layout) = grad.storage_and_layout();
            let gradients = View::locked_numbers(self.name(), &storage, layout)?;
            let winners = custom_op::saved(&self.winners)?;
            let dx = pool::max_gradient(gradients, winners, &self.windows())?;
            return Ok(Some(crate::cuda::tensor(dx, x.shape())));
        }
        let winner = custom_op::saved(&self.winner)?;
        for_float!(grad.dtype(), self.name(), T => {
            let (storage, layout) = grad.storage_and_layout();
            let gy = cpu::locked::<T>(self.name(), &storage, layout)?;
            // SAFETY: the pass writes every element.
            let gx = unsafe {
                fresh(self.extents.count(), |gx| max::backward(gy, winner, self.extents, self.layout, self.axes, gx))
            };
            Ok(Some(custom_op::tensor(gx, x.shape())?))
        })
    }
}
