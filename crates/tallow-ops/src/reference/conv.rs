//! Convolution composed of candle operations.
//!
//! candle's own `conv2d` has one number for both directions, and its gradient fails with a shape mismatch when the stride leaves
//! different remainders (7 x 8 pixels, kernel 3, stride 2, padding 1). The reference gathers the patches by index and multiplies.
//! Its gradient is an index-add and two matrix products, correct for all hyper-parameters on all devices.

use candle_core::Tensor;

use crate::conv::config::{Conv2dConfig, geometry};
use crate::error::Result;
use crate::kernels::conv::Geometry;
use crate::layout::Layout;

/// Reference of [`crate::conv2d`], composed of candle tensor operations.
///
/// # Errors
/// As [`crate::conv2d`].
pub fn conv2d(
    x: &Tensor,
    weight: &Tensor,
    bias: Option<&Tensor>,
    config: &Conv2dConfig,
) -> Result<Tensor> {
    composed(
        x,
        weight,
        bias,
        config.layout,
        &geometry(x, weight, bias, config)?,
    )
}

/// [`conv2d`] with the arguments already checked.
pub(crate) fn composed(
    x: &Tensor,
    weight: &Tensor,
    bias: Option<&Tensor>,
    layout: Layout,
    g: &Geometry,
) -> Result<Tensor> {
    let x = match layout {
        Layout::Nchw => x.clone(),
        Layout::Nhwc => x.permute((0, 3, 1, 2))?,
    };
    let padded = x
        .pad_with_zeros(2, g.padding.0, g.padding.0)?
        .pad_with_zeros(3, g.padding.1, g.padding.1)?;
    let width = g.width + 2 * g.padding.1;
    let mut indices = Vec::with_capacity(g.taps() * g.out_plane());
    for ky in 0..g.kernel.0 {
        for kx in 0..g.kernel.1 {
            for oy in 0..g.out_height {
                let row = oy * g.stride.0 + ky * g.dilation.0;
                indices.extend(
                    (0..g.out_width)
                        .map(|ox| (row * width + ox * g.stride.1 + kx * g.dilation.1) as i64),
                );
            }
        }
    }
    let indices = Tensor::from_vec(indices, g.taps() * g.out_plane(), x.device())?;
    let patches = padded
        .contiguous()?
        .flatten_from(2)?
        .index_select(&indices, 2)?;
    let y = if g.groups == 1 {
        // The filters have stride 0 along the batch; `broadcast_matmul` would copy them for every image.
        let filters = weight.reshape((1, g.out_channels, g.depth()))?;
        let patches = patches.reshape((g.batch, g.depth(), g.out_plane()))?;
        filters
            .broadcast_as((g.batch, g.out_channels, g.depth()))?
            .matmul(&patches)?
    } else {
        let filters = weight.reshape((1, g.groups, g.group_out(), g.depth()))?;
        let patches = patches.reshape((g.batch, g.groups, g.depth(), g.out_plane()))?;
        filters.broadcast_matmul(&patches)?
    };
    let y = y.reshape((g.batch, g.out_channels, g.out_height, g.out_width))?;
    let y = match bias {
        Some(bias) => y.broadcast_add(&bias.reshape((1, g.out_channels, 1, 1))?)?,
        None => y,
    };
    Ok(match layout {
        Layout::Nchw => y,
        Layout::Nhwc => y.permute((0, 2, 3, 1))?.contiguous()?,
    })
}
