use candle_core::Tensor;

use crate::error::{Error, Result};
use crate::kernels::conv::Geometry;
use crate::layout::Layout;
use crate::route;

/// Hyper-parameters of a convolution, with the names of `torch.nn.Conv2d`; pairs are (vertical, horizontal).
///
/// The default is stride 1, no padding, dilation 1, one group, [`Layout::Nchw`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Conv2dConfig {
    /// Stride in pixels; at least 1.
    pub stride: (usize, usize),
    /// Zeros added on each side.
    pub padding: (usize, usize),
    /// Dilation: pixels between kernel positions; at least 1.
    pub dilation: (usize, usize),
    /// Groups of channels convolved separately; divides the input and the output channels.
    pub groups: usize,
    /// Layout of input and output.
    pub layout: Layout,
}

impl Default for Conv2dConfig {
    fn default() -> Self {
        Self {
            stride: (1, 1),
            padding: (0, 0),
            dilation: (1, 1),
            groups: 1,
            layout: Layout::Nchw,
        }
    }
}

/// Checks the arguments and computes the sizes.
pub(crate) fn geometry(
    x: &Tensor,
    weight: &Tensor,
    bias: Option<&Tensor>,
    config: &Conv2dConfig,
) -> Result<Geometry> {
    const OP: &str = "conv2d";
    let shape = |argument, expected: String, found: &Tensor| {
        Err(Error::Shape {
            op: OP,
            argument,
            expected,
            found: found.shape().clone(),
        })
    };
    let bad = |message: String| Err(Error::Config { op: OP, message });

    let (&[batch, a, b, c], layout) = (x.dims(), config.layout) else {
        return shape("x", format!("four dimensions, {}", config.layout), x);
    };
    let (channels, height, width) = match layout {
        Layout::Nchw => (a, b, c),
        Layout::Nhwc => (c, a, b),
    };
    let &[out_channels, group_in, kernel_height, kernel_width] = weight.dims() else {
        return shape(
            "weight",
            "four dimensions, (O, C / groups, KH, KW)".into(),
            weight,
        );
    };
    let Conv2dConfig {
        stride,
        padding,
        dilation,
        groups,
        ..
    } = *config;
    if stride.0 == 0 || stride.1 == 0 || dilation.0 == 0 || dilation.1 == 0 || groups == 0 {
        return bad(format!(
            "stride {stride:?}, dilation {dilation:?} and groups {groups} must be at least 1"
        ));
    }
    if channels == 0 || height == 0 || width == 0 {
        return shape("x", "at least one channel and one pixel".into(), x);
    }
    if out_channels == 0 || kernel_height == 0 || kernel_width == 0 {
        return shape("weight", "no dimension of size 0".into(), weight);
    }
    if channels % groups != 0 || out_channels % groups != 0 {
        return bad(format!(
            "{groups} groups do not divide {channels} input and {out_channels} output channels"
        ));
    }
    if group_in != channels / groups {
        let expected = format!(
            "(O, {}, KH, KW) for {channels} input channels in {groups} groups",
            channels / groups
        );
        return shape("weight", expected, weight);
    }
    if let Some(bias) = bias.filter(|bias| bias.dims() != [out_channels]) {
        return shape("bias", format!("({out_channels})"), bias);
    }
    for other in [Some(weight), bias].into_iter().flatten() {
        if other.dtype() != x.dtype() && !route::is_mixed(x, other) {
            let (lhs, rhs) = (x.dtype(), other.dtype());
            return Err(candle_core::Error::DTypeMismatchBinaryOp { lhs, rhs, op: OP }.into());
        }
    }

    let span = |kernel: usize, dilation: usize| (kernel - 1).checked_mul(dilation)?.checked_add(1);
    let padded = |size: usize, padding: usize| padding.checked_mul(2)?.checked_add(size);
    let spans = (
        span(kernel_height, dilation.0),
        span(kernel_width, dilation.1),
    );
    let padded = (padded(height, padding.0), padded(width, padding.1));
    let ((Some(span_height), Some(span_width)), (Some(padded_height), Some(padded_width))) =
        (spans, padded)
    else {
        return bad(format!(
            "padding {padding:?} or dilation {dilation:?} is too large"
        ));
    };
    if span_height > padded_height || span_width > padded_width {
        let expected = format!(
            "at least {span_height} x {span_width} pixels (the dilated kernel) after padding by {padding:?}"
        );
        return shape("x", expected, x);
    }
    let out_height = (padded_height - span_height) / stride.0 + 1;
    let out_width = (padded_width - span_width) / stride.1 + 1;
    let elements = [batch.max(1), out_channels, padded_height, padded_width, 8];
    if elements
        .into_iter()
        .try_fold(1usize, usize::checked_mul)
        .is_none_or(|bytes| bytes > isize::MAX as usize)
    {
        return bad(format!(
            "padding {padding:?} makes the result too large to address"
        ));
    }
    Ok(Geometry {
        batch,
        channels,
        height,
        width,
        out_channels,
        out_height,
        out_width,
        kernel: (kernel_height, kernel_width),
        stride,
        padding,
        dilation,
        groups,
    })
}
