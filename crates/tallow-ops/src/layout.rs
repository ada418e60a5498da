use std::fmt;

use candle_core::{CpuStorage, CustomOp1, Shape, Tensor};

use crate::cpu;
use crate::custom_op::{self, for_float};
use crate::{Error, Result, kernels, reference, tape};

/// The real, contiguous axis order of an activation tensor.
///
/// PyTorch's `channels_last` is a view: the shape stays `(N, C, H, W)` and the strides change. Here the shape itself is
/// `(N, H, W, C)`, because candle's backward adds every gradient into a contiguous tensor and would copy a view element by element.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum Layout {
    /// `(N, C, H, W)`.
    #[default]
    Nchw,
    /// `(N, H, W, C)`.
    Nhwc,
}

impl fmt::Display for Layout {
    fn fmt(&self, f: &mut fmt::Formatter) -> fmt::Result {
        f.write_str(match self {
            Self::Nchw => "(N, C, H, W)",
            Self::Nhwc => "(N, H, W, C)",
        })
    }
}

/// The sizes of an activation tensor, by meaning and not by place.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Extents {
    pub n: usize,
    pub c: usize,
    pub h: usize,
    pub w: usize,
}

impl Extents {
    /// Reads the sizes of `x`; every one but the batch must be above zero, as PyTorch's 2-d layers ask.
    pub(crate) fn of(op: &'static str, x: &Tensor, layout: Layout) -> Result<Self> {
        let extents = match (layout, x.dims()) {
            (Layout::Nchw, &[n, c, h, w]) | (Layout::Nhwc, &[n, h, w, c]) => Self { n, c, h, w },
            _ => return Err(wrong_shape(op, x, layout.to_string())),
        };
        if extents.c == 0 || extents.h == 0 || extents.w == 0 {
            return Err(wrong_shape(
                op,
                x,
                format!("{layout} with C, H and W above 0"),
            ));
        }
        Ok(extents)
    }

    /// The shape of a tensor of these sizes.
    pub(crate) fn shape(self, layout: Layout) -> Shape {
        let Self { n, c, h, w } = self;
        match layout {
            Layout::Nchw => (n, c, h, w).into(),
            Layout::Nhwc => (n, h, w, c).into(),
        }
    }

    /// The number of elements.
    pub(crate) fn count(self) -> usize {
        self.n * self.c * self.h * self.w
    }
}

fn wrong_shape(op: &'static str, x: &Tensor, expected: String) -> Error {
    Error::Shape {
        op,
        argument: "input",
        expected,
        found: x.shape().clone(),
    }
}

/// Rearranges an activation tensor from one real axis order to another; the result is contiguous.
///
/// A contiguous `x` is not copied when both orders put the elements in the same places (one channel, or one pixel).
///
/// # Errors
/// [`Error::Shape`] when `x` does not have four axes, or when one of C, H and W is 0.
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

/// Flattens an activation tensor to `(N, C * H * W)`, the features in PyTorch's order (channel, row, column) whatever the layout,
/// so that weights of the linear layer behind it mean the same in both.
///
/// # Errors
/// [`Error::Shape`] when `x` does not have four axes, or when one of C, H and W is 0.
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
            kernels::transpose::batched(x, n, rows, columns, &mut y);
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
