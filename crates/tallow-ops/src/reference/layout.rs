use candle_core::Tensor;

use crate::error::Result;
use crate::layout::{Extents, Layout};

/// Reference of [`crate::to_layout`]: a permutation and a copy.
pub fn to_layout(x: &Tensor, from: Layout, to: Layout) -> Result<Tensor> {
    Extents::of("to_layout", x, from)?;
    let x = match (from, to) {
        (Layout::Nchw, Layout::Nhwc) => x.permute((0, 2, 3, 1))?,
        (Layout::Nhwc, Layout::Nchw) => x.permute((0, 3, 1, 2))?,
        (Layout::Nchw, Layout::Nchw) | (Layout::Nhwc, Layout::Nhwc) => x.clone(),
    };
    Ok(x.contiguous()?)
}

/// Reference of [`crate::flatten`].
pub fn flatten(x: &Tensor, layout: Layout) -> Result<Tensor> {
    Ok(to_layout(x, layout, Layout::Nchw)?.flatten_from(1)?)
}
