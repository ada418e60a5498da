use candle_core::{CpuStorage, CustomOp1, Shape, Tensor};
#[cfg(feature = "cuda")]
use tallow_cuda::View;

use crate::cpu;
use crate::custom_op::{self, for_float};
use crate::error::Result;
use crate::kernels::fresh::fresh;
use crate::kernels::transpose;
use crate::layout::{Extents, Layout};
use crate::{reference, route, tape};

/// Conversion of an activation tensor from one [`Layout`] to another, as `x.to(memory_format=...)` in PyTorch. The result is
/// contiguous.
///
/// A contiguous `x` is not copied if both layouts have the same order of elements (one channel, or one pixel).
///
/// # Errors
/// [`Error::Shape`](crate::Error::Shape) if `x` does not have four axes, or if one of C, H and W is 0.
pub fn to_layout(x: &Tensor, from: Layout, to: Layout) -> Result<Tensor> {
    let extents = Extents::of("to_layout", x, from)?;
    if from == to || extents.c == 1 || extents.h * extents.w == 1 {
        return Ok(tape::reshape(&x.contiguous()?, extents.shape(to))?);
    }
    if !route::has_map_kernels(x) {
        return reference::to_layout(&tape::input(x), from, to);
    }
    Ok(tape::apply1(
        &x.contiguous()?,
        Rearrange { extents, from, to },
    )?)
}

/// Activation tensor flattened to `(N, C * H * W)`, as `torch.flatten(x, 1)`.
///
/// The features are in PyTorch's order (channel, row, column) for either layout, so that the weights of a linear layer after it
/// are the same for both.
///
/// # Errors
/// [`Error::Shape`](crate::Error::Shape) if `x` does not have four axes, or if one of C, H and W is 0.
pub fn flatten(x: &Tensor, layout: Layout) -> Result<Tensor> {
    let x = to_layout(x, layout, Layout::Nchw)?;
    let (n, features) = (x.dim(0)?, x.dims()[1..].iter().product::<usize>());
    Ok(tape::reshape(&x, (n, features))?)
}

/// Result of `f` in (N, C, H, W), for operators whose kernels have only (N, H, W, C): `x` and the result are turned.
#[cfg(feature = "cuda")]
pub(crate) fn in_channels_last(
    x: &Tensor,
    f: impl FnOnce(&Tensor) -> Result<Tensor>,
) -> Result<Tensor> {
    let y = f(&to_layout(x, Layout::Nchw, Layout::Nhwc)?)?;
    to_layout(&y, Layout::Nhwc, Layout::Nchw)
}

struct Rearrange {
    extents: Extents,
    from: Layout,
    to: Layout,
}

impl Rearrange {
    /// Rows and columns of the matrices that are turned.
    fn matrix(&self) -> (usize, usize) {
        let Extents { c, h, w, .. } = self.extents;
        match self.from {
            Layout::Nchw => (c, h * w),
            Layout::Nhwc => (h * w, c),
        }
    }
}

impl CustomOp1 for Rearrange {
    fn name(&self) -> &'static str {
        "to_layout"
    }

    fn cpu_fwd(
        &self,
        storage: &CpuStorage,
        layout: &candle_core::Layout,
    ) -> candle_core::Result<(CpuStorage, Shape)> {
        let (n, (rows, columns)) = (self.extents.n, self.matrix());
        for_float!(custom_op::dtype(storage), self.name(), T => {
            let x = cpu::slice::<T>(self.name(), storage, layout)?;
            // SAFETY: each element of the matrices has its place in the turned ones.
            let y = unsafe { fresh(x.len(), |y| transpose::batched(x, n, rows, columns, y)) };
            Ok((custom_op::storage(y), self.extents.shape(self.to)))
        })
    }

    #[cfg(feature = "cuda")]
    fn cuda_fwd(
        &self,
        storage: &candle_core::CudaStorage,
        layout: &candle_core::Layout,
    ) -> candle_core::Result<(candle_core::CudaStorage, Shape)> {
        let x = View::numbers(self.name(), storage, layout)?;
        let (rows, columns) = self.matrix();
        let y = tallow_cuda::ops::layout::transpose(x, (self.extents.n, rows, columns))?;
        Ok((y, self.extents.shape(self.to)))
    }

    fn bwd(&self, _x: &Tensor, _y: &Tensor, grad: &Tensor) -> candle_core::Result<Option<Tensor>> {
        let back = Self {
            extents: self.extents,
            from: self.to,
            to: self.from,
        };
        Ok(Some(grad.contiguous()?.apply_op1_no_bwd(&back)?))
    }
}
