use candle_core::{CpuStorage, CustomOp1, Shape, Tensor};

use crate::cpu;
use crate::custom_op::{self, for_float};
use crate::error::Result;
use crate::kernels::transpose;
use crate::layout::{Extents, Layout};
use crate::{reference, tape};

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
    if !cpu::has_kernels(x) {
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

struct Rearrange {
    extents: Extents,
    from: Layout,
    to: Layout,
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
        let Extents { n, c, h, w } = self.extents;
        let (rows, columns) = match self.from {
            Layout::Nchw => (c, h * w),
            Layout::Nhwc => (h * w, c),
        };
        for_float!(custom_op::dtype(storage), self.name(), T => {
            let x = cpu::slice::<T>(self.name(), storage, layout)?;
            let mut y = custom_op::zeros::<T>(x.len());
            transpose::batched(x, n, rows, columns, &mut y);
            Ok((custom_op::storage(y), self.extents.shape(self.to)))
        })
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
