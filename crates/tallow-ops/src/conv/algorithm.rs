use candle_core::DType;

use crate::kernels::conv::{Geometry, channels_last, depthwise, direct};
use crate::layout::Layout;

/// Algorithm of a convolution on the CPU.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Algorithm {
    /// Matrix products over patches: any convolution.
    Matmul,
    /// Output channels in registers: few channels, NCHW.
    Direct,
    /// Winograd's filtering or unfolding over panels of channels: `f32` in NHWC.
    ChannelsLast,
    /// Multiply-adds of rows or pixels: one input channel per group.
    Depthwise,
}

/// Chooses the algorithm of all passes of a convolution.
pub(super) fn choose(geometry: &Geometry, layout: Layout, dtype: DType) -> Algorithm {
    if depthwise::suits(geometry) {
        Algorithm::Depthwise
    } else if layout == Layout::Nchw && direct::suits(geometry) {
        Algorithm::Direct
    } else if layout == Layout::Nhwc && dtype == DType::F32 && channels_last::suits(geometry) {
        Algorithm::ChannelsLast
    } else {
        Algorithm::Matmul
    }
}
