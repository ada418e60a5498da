//! Shortcut without parameters of a residual network.

use candle_core::Tensor;

use crate::error::Result;
use crate::layout::{Extents, Layout};
use crate::pool::{Pool2dConfig, avg_pool2d};
use crate::tensor_ops::pad_with_zeros;

/// Shortcut without parameters of a residual block: every `stride`-th pixel, and channels of zeros up to `outputs`, half of them (rounded down) before
/// the input's and the others after (option A of He et al. 2016).
///
/// # Errors
/// [`Error::Shape`](crate::Error::Shape) if `x` has other axes than the layout, or an empty one; [`Error::Config`](crate::Error::Config) if the stride
/// is 0.
///
/// ```
/// use candle_core::{Device, Tensor};
/// use tallow_ops::{Layout, zero_pad_shortcut};
///
/// let x = Tensor::new(&[[[[1f32], [2.0], [3.0]]]], &Device::Cpu)?;
/// let y = zero_pad_shortcut(&x, 2, 3, Layout::Nhwc)?;
/// assert_eq!(y.squeeze(0)?.squeeze(0)?.to_vec2::<f32>()?, [[0.0, 1.0, 0.0], [0.0, 3.0, 0.0]]);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
pub fn zero_pad_shortcut(
    x: &Tensor,
    stride: usize,
    outputs: usize,
    layout: Layout,
) -> Result<Tensor> {
    let extents = Extents::of("zero_pad_shortcut", x, layout)?;
    #[cfg(feature = "cuda")]
    if layout == Layout::Nhwc
        && let Some(sizes) = crate::cuda::shortcut::sizes(x, extents, stride, outputs)
    {
        return crate::cuda::shortcut::shortcut(x, sizes);
    }
    // The average over a window of one pixel is that pixel.
    let every = Pool2dConfig {
        stride: (stride, stride),
        layout,
        ..Pool2dConfig::new(1)
    };
    let y = avg_pool2d(x, &every, true)?;
    let axis = match layout {
        Layout::Nchw => 1,
        Layout::Nhwc => 3,
    };
    let missing = outputs.saturating_sub(extents.c);
    pad_with_zeros(&y, axis, missing / 2, missing - missing / 2)
}
