//! Pooling over windows of the two spatial axes.

mod avg;
mod max;

use candle_core::Tensor;

pub use avg::{adaptive_avg_pool2d, avg_pool2d};
pub(crate) use avg::{check_dilation, check_output};
pub use max::max_pool2d;

use crate::kernels::pool::Axis;
use crate::layout::Extents;
use crate::{Error, Layout, Result};

/// How the windows of a pooling lie on the image; pairs are `(rows, columns)`.
///
/// ```
/// use tallow_ops::{Layout, Pool2dConfig};
///
/// let halves = Pool2dConfig::new(2);
/// let overlapping = Pool2dConfig { stride: (2, 2), padding: (1, 1), ..Pool2dConfig::new(3) };
/// let channels_last = Pool2dConfig { layout: Layout::Nhwc, ..halves };
/// # let _ = (overlapping, channels_last);
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Pool2dConfig {
    /// The size of a window; at least 1.
    pub kernel: (usize, usize),
    /// The step from one window to the next; at least 1.
    pub stride: (usize, usize),
    /// Rows and columns added on each side; at most half the kernel.
    pub padding: (usize, usize),
    /// The step within a window; at least 1. Maximum pooling only.
    pub dilation: (usize, usize),
    /// Whether a last window may hang over the edge rather than be left out.
    pub ceil_mode: bool,
    /// The axis order of input and output.
    pub layout: Layout,
}

impl Pool2dConfig {
    /// Square windows side by side: stride equal to the kernel, no padding.
    pub fn new(kernel: usize) -> Self {
        Self {
            kernel: (kernel, kernel),
            stride: (kernel, kernel),
            padding: (0, 0),
            dilation: (1, 1),
            ceil_mode: false,
            layout: Layout::default(),
        }
    }

    /// The axes of a pooling of `x`, checked as PyTorch checks them.
    pub(crate) fn axes(&self, op: &'static str, x: &Tensor) -> Result<(Extents, Axis, Axis)> {
        let extents = Extents::of(op, x, self.layout)?;
        let rows = self.axis(op, "rows", extents.h, |pair| pair.0)?;
        let columns = self.axis(op, "columns", extents.w, |pair| pair.1)?;
        Ok((extents, rows, columns))
    }

    fn axis(
        &self,
        op: &'static str,
        axis: &str,
        input: usize,
        of: impl Fn((usize, usize)) -> usize,
    ) -> Result<Axis> {
        let bad = |message| Err(Error::Config { op, message });
        let (kernel, stride, padding, dilation) = (
            of(self.kernel),
            of(self.stride),
            of(self.padding),
            of(self.dilation),
        );
        if kernel == 0 || stride == 0 || dilation == 0 {
            return bad(format!(
                "kernel, stride and dilation must be at least 1, got {kernel}, {stride} and {dilation} over the {axis}"
            ));
        }
        if padding > kernel / 2 {
            return bad(format!(
                "padding must be at most half the kernel, got padding {padding} for kernel {kernel} over the {axis}"
            ));
        }
        // PyTorch's pooling_output_shape. Saturating: a size beyond usize fits no image either way.
        let reach = (kernel - 1).saturating_mul(dilation).saturating_add(1);
        let overhang = if self.ceil_mode { stride - 1 } else { 0 };
        let room = input.saturating_add(2 * padding).saturating_add(overhang);
        let Some(slack) = room.checked_sub(reach) else {
            return bad(format!(
                "no window fits: it spans {reach} of {input} {axis} with padding {padding} on each side"
            ));
        };
        let mut output = slack / stride + 1;
        // A window that would begin in the padding behind the image is left out.
        if self.ceil_mode && (output - 1) * stride >= input + padding {
            output -= 1;
        }
        Ok(Axis {
            input,
            output,
            kernel,
            stride,
            padding,
            dilation,
        })
    }
}
