//! Shortcut without parameters, in one launch.

use candle_core::{CudaStorage, CustomOp1, Layout, Tensor};
use tallow_cuda::View;
use tallow_cuda::ops::layout::{self, Shortcut};

use crate::cuda::{cuda_only, numbers, tensor};
use crate::error::Result;
use crate::layout::Extents;
use crate::{route, tape};

const NAME: &str = "zero_pad_shortcut";

/// Sizes of the shortcut; `None` where there is no kernel for it.
pub(crate) fn sizes(
    x: &Tensor,
    extents: Extents,
    stride: usize,
    outputs: usize,
) -> Option<Shortcut> {
    if stride == 0 || !route::maps_on_cuda(x) {
        return None;
    }
    let sizes = Shortcut {
        numbers: numbers(x),
        batch: extents.n as u32,
        size: (extents.h as u32, extents.w as u32),
        channels: extents.c as u32,
        outputs: tallow_cuda::count(outputs.max(extents.c))?,
        // Beyond the image one stride is as another.
        stride: stride.min(i32::MAX as usize) as u32,
    };
    tallow_cuda::count(sizes.outputs())?;
    Some(sizes)
}

/// The shortcut of maps in (N, H, W, C).
pub(crate) fn shortcut(x: &Tensor, sizes: Shortcut) -> Result<Tensor> {
    Ok(tape::apply1(&x.contiguous()?, ZeroPad(sizes))?)
}

/// Operator of one call.
struct ZeroPad(Shortcut);

impl CustomOp1 for ZeroPad {
    cuda_only!(1);

    fn cuda_fwd(
        &self,
        x: &CudaStorage,
        x_layout: &Layout,
    ) -> candle_core::Result<(CudaStorage, candle_core::Shape)> {
        let y = layout::shortcut(View::numbers(NAME, x, x_layout)?, &self.0)?;
        let ((high, across), s) = (self.0.taken(), &self.0);
        let shape = [s.batch, high, across, s.outputs].map(|size| size as usize);
        Ok((y, shape.to_vec().into()))
    }

    fn bwd(&self, x: &Tensor, _y: &Tensor, grad: &Tensor) -> candle_core::Result<Option<Tensor>> {
        let grad = grad.contiguous()?;
        let (storage, grad_layout) = grad.storage_and_layout();
        let grads = View::locked_numbers(NAME, &storage, grad_layout)?;
        let dx = layout::shortcut_gradient(grads, &self.0)?;
        Ok(Some(tensor(dx, x.shape())))
    }
}
