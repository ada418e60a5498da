use candle_core::Tensor;

use crate::error::{Error, Result};
use crate::kernels::pool::Axis;
use crate::layout::{Extents, Layout};

/// Hyper-parameters of a pooling, with the names of `torch.nn.MaxPool2d`; pairs are (vertical, horizontal).
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
    /// Size of a window; at least 1.
    pub kernel: (usize, usize),
    /// Stride in pixels; at least 1.
    pub stride: (usize, usize),
    /// Rows and columns added on each side; at most half the kernel.
    pub padding: (usize, usize),
    /// Dilation: pixels between positions of a window; at least 1. Max pooling only.
    pub dilation: (usize, usize),
    /// Rounds the output size up instead of down: a last window may exceed the image.
    pub ceil_mode: bool,
    /// Layout of input and output.
    pub layout: Layout,
}

impl Pool2dConfig {
    /// Square windows without overlap: stride equal to the kernel, no padding.
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

    /// Axes of a pooling of `x`, with PyTorch's checks.
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
                "expected kernel, stride and dilation of at least 1, found {kernel}, {stride} and {dilation} along the {axis}"
            ));
        }
        if padding > kernel / 2 {
            return bad(format!(
                "expected padding of at most half the kernel, found padding {padding} for kernel {kernel} along the {axis}"
            ));
        }
        // PyTorch's pooling_output_shape. Saturating: a size beyond usize fits no image either way.
        let reach = (kernel - 1).saturating_mul(dilation).saturating_add(1);
        let overhang = if self.ceil_mode { stride - 1 } else { 0 };
        let room = input.saturating_add(2 * padding).saturating_add(overhang);
        let Some(slack) = room.checked_sub(reach) else {
            return bad(format!(
                "the window spans {reach} {axis}, more than the {input} of the input with padding {padding} on each side"
            ));
        };
        let mut output = slack / stride + 1;
        // A window that would start in the padding after the image is left out.
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

pub(crate) fn check_dilation(config: &Pool2dConfig) -> Result<()> {
    if config.dilation == (1, 1) {
        return Ok(());
    }
    let message = format!(
        "average pooling has no dilation: expected (1, 1), found {:?}",
        config.dilation
    );
    Err(Error::Config {
        op: "avg_pool2d",
        message,
    })
}

pub(crate) fn check_output(output: (usize, usize)) -> Result<()> {
    if output.0 > 0 && output.1 > 0 {
        return Ok(());
    }
    let message = format!("expected an output of at least one row and column, found {output:?}");
    Err(Error::Config {
        op: "adaptive_avg_pool2d",
        message,
    })
}
