use std::sync::OnceLock;

use candle_core::{CpuStorage, CustomOp1, Shape, Tensor};

use super::Pool2dConfig;
use crate::cpu;
use crate::custom_op::{self, for_float};
use crate::kernels::pool::{Axis, max};
use crate::layout::Extents;
use crate::{Error, Layout, Result, reference, tape};

/// The maximum over each window, as `torch.nn.functional.max_pool2d`.
///
/// `x` is `(N, C, H, W)`, or `(N, H, W, C)` as the configuration says, and so is the result. The whole gradient of a window
/// goes to the element that won it: the first in row-major order among equals. A NaN wins over everything and so shows in
/// the result. Windows may overlap; gradients add up.
///
/// # Errors
/// [`Error::Shape`] when `x` does not have four axes; [`Error::Config`] when kernel, stride or dilation is 0, padding exceeds
/// half the kernel, or no window fits.
pub fn max_pool2d(x: &Tensor, config: &Pool2dConfig) -> Result<Tensor> {
    if !cpu::has_kernels(x) {
        return reference::max_pool2d(&tape::input(x), config);
    }
    let (extents, rows, columns) = config.axes("max_pool2d", x)?;
    if extents.h * extents.w >= u32::MAX as usize {
        return Err(Error::Config {
            op: "max_pool2d",
            message: "a plane has too many elements".into(),
        });
    }
    Ok(tape::apply1(
        &x.contiguous()?,
        MaxPool {
            extents,
            layout: config.layout,
            axes: (rows, columns),
            winner: OnceLock::new(),
        },
    )?)
}

struct MaxPool {
    extents: Extents,
    layout: Layout,
    axes: (Axis, Axis),
    /// Where in its input plane each output came from.
    winner: OnceLock<Vec<u32>>,
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
            let mut y = custom_op::zeros::<T>(out.count());
            let mut winner = vec![0; out.count()];
            max::forward(x, self.extents, self.layout, self.axes, &mut y, &mut winner);
            custom_op::save(&self.winner, winner)?;
            Ok((custom_op::storage(y), out.shape(self.layout)))
        })
    }

    fn bwd(&self, x: &Tensor, _y: &Tensor, grad: &Tensor) -> candle_core::Result<Option<Tensor>> {
        let grad = grad.contiguous()?;
        let winner = custom_op::saved(&self.winner)?;
        for_float!(grad.dtype(), self.name(), T => {
            let (storage, layout) = grad.storage_and_layout();
            let mut gx = custom_op::zeros::<T>(self.extents.count());
            max::backward(cpu::locked(self.name(), &storage, layout)?, winner, self.extents, self.layout, self.axes, &mut gx);
            Ok(Some(custom_op::tensor(gx, x.shape())?))
        })
    }
}
