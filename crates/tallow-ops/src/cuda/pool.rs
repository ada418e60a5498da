//! Windows of a pooling as tallow-cuda describes them.

use tallow_cuda::Numbers;
use tallow_cuda::ops::pool::{self, Windows};

use crate::kernels::pool::Axis;
use crate::layout::{Extents, Layout};

/// Windows over maps of these extents.
pub(crate) fn windows(
    numbers: Numbers,
    extents: Extents,
    layout: Layout,
    rows: Axis,
    columns: Axis,
) -> Windows {
    Windows {
        numbers,
        batch: extents.n as u32,
        channels: extents.c as u32,
        channels_last: layout == Layout::Nhwc,
        rows: axis(rows),
        columns: axis(columns),
    }
}

/// Axis of an adaptive pooling, of which only the sizes count.
pub(crate) fn adaptive(input: usize, output: usize) -> Axis {
    Axis {
        input,
        output,
        kernel: 1,
        stride: 1,
        padding: 0,
        dilation: 1,
    }
}

fn axis(axis: Axis) -> pool::Axis {
    // Maps have fewer than 2^31 elements, and a stride beyond that leaves one window as any does that is larger than the image.
    let size = |value: usize| value.min(i32::MAX as usize) as u32;
    pool::Axis {
        input: size(axis.input),
        output: size(axis.output),
        kernel: size(axis.kernel),
        stride: size(axis.stride),
        padding: size(axis.padding),
        dilation: size(axis.dilation),
    }
}
