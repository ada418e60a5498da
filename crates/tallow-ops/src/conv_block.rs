//! Shared parts of the fused convolution blocks.

use candle_core::{DType, Tensor};

use crate::batch_norm::BatchNormConfig;
use crate::conv::Conv2dConfig;
use crate::error::Result;
use crate::kernels::conv::{Geometry, channels_last};
use crate::layout::Layout;
use crate::pool::{Pool2dConfig, max_pool2d};

/// Fast path of a fused block: `f32` in [`Layout::Nhwc`] on the CPU, with a geometry that its kernels accept.
pub(crate) fn is_fast(
    x: &Tensor,
    conv: &Conv2dConfig,
    norm: &BatchNormConfig,
    geometry: &Geometry,
) -> bool {
    (conv.layout, norm.layout) == (Layout::Nhwc, Layout::Nhwc)
        && x.device().is_cpu()
        && x.dtype() == DType::F32
        && channels_last::suits(geometry)
}

/// Block of a CUDA device: its kernels are those of [`Layout::Nhwc`], and cuDNN has the convolution.
#[cfg(feature = "cuda")]
pub(crate) fn is_on_device(
    x: &Tensor,
    weight: &Tensor,
    conv: &Conv2dConfig,
    norm: &BatchNormConfig,
    geometry: &Geometry,
) -> bool {
    (conv.layout, norm.layout) == (Layout::Nhwc, Layout::Nhwc)
        && crate::cuda::conv::runs(x, weight, geometry).is_some()
}

/// 2x2 max pooling of `y` if `pool`, otherwise `y`.
pub(crate) fn pooled(y: Tensor, layout: Layout, pool: bool) -> Result<Tensor> {
    if pool {
        max_pool2d(
            &y,
            &Pool2dConfig {
                layout,
                ..Pool2dConfig::new(2)
            },
        )
    } else {
        Ok(y)
    }
}
