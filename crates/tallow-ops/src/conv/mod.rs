//! Two-dimensional convolution.

mod algorithm;
pub(crate) mod config;
mod op;
#[cfg(test)]
mod tests;

use candle_core::Tensor;

use self::algorithm::choose;
pub use self::config::Conv2dConfig;
pub(crate) use self::config::geometry;
use crate::cast::widened;
use crate::error::Result;
use crate::weighted::apply_weighted;
use crate::{cpu, reference, tape};

/// Two-dimensional convolution of `x` with `weight`, plus `bias`, as `torch.nn.functional.conv2d`.
///
/// `x` is `(N, C, H, W)`, or `(N, H, W, C)` in [`Layout::Nhwc`](crate::Layout::Nhwc); `weight` is `(O, C / groups, KH, KW)` in either layout; `bias`
/// is `(O)`. The result is `(N, O, OH, OW)` or `(N, OH, OW, O)` with
/// `OH = (H + 2 * padding - dilation * (KH - 1) - 1) / stride + 1`, rounded down, and `OW` likewise.
///
/// Differentiable in all three arguments, for all hyper-parameters. In `f32` and `f64` on the CPU the kernels of this crate run,
/// and equal arguments with an equal number of threads give equal bits. In `f32` on a CUDA device cuDNN runs, where it is installed and has a
/// deterministic engine, in the precision of [`with_precision`](crate::with_precision). Everything else is [`reference::conv2d`].
///
/// # Errors
/// [`Error::Shape`](crate::Error::Shape) if a tensor has the wrong rank, the channels do not fit or the kernel is larger than
/// the padded input; [`Error::Config`](crate::Error::Config) if a stride, a dilation or the groups are zero, the groups do not
/// divide the channels, or sizes overflow.
///
/// ```
/// use candle_core::{Device, Tensor};
/// use tallow_ops::{Conv2dConfig, conv2d};
///
/// let x = Tensor::randn(0f32, 1.0, (2, 3, 32, 32), &Device::Cpu)?;
/// let weight = Tensor::randn(0f32, 0.1, (8, 3, 3, 3), &Device::Cpu)?;
/// let y = conv2d(&x, &weight, None, &Conv2dConfig { padding: (1, 1), ..Default::default() })?;
/// assert_eq!(y.dims(), [2, 8, 32, 32]);
/// # Ok::<(), tallow_ops::Error>(())
/// ```
pub fn conv2d(
    x: &Tensor,
    weight: &Tensor,
    bias: Option<&Tensor>,
    config: &Conv2dConfig,
) -> Result<Tensor> {
    let geometry = geometry(x, weight, bias, config)?;
    #[cfg(feature = "cuda")]
    if let Some(precision) = crate::cuda::conv::runs(x, weight, &geometry) {
        return crate::cuda::conv::conv2d(x, weight, bias, config.layout, geometry, precision);
    }
    if !cpu::has_kernels(x) {
        let x = tape::input(&widened(x, weight)?);
        let (weight, bias) = (tape::input(weight), bias.map(tape::input));
        return reference::conv::composed(&x, &weight, bias.as_ref(), config.layout, &geometry);
    }
    let op = op::Conv2d {
        geometry,
        layout: config.layout,
        algorithm: choose(&geometry, config.layout, x.dtype()),
    };
    Ok(apply_weighted(x, weight, bias, op)?)
}
