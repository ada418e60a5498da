//! Convolution by cuDNN.

use candle_core::{CudaStorage, Device, Layout, Result, Tensor};
use tallow_cuda::View;
use tallow_cuda::ops::conv::{self, Convolution};
use tallow_cuda::ops::norm;

use crate::cuda::tensor;
use crate::kernels::conv::Geometry;
use crate::route;

const NAME: &str = "conv2d";

/// True if cuDNN runs the convolution of `x`, in (N, H, W, C).
pub(crate) fn runs(x: &Tensor, g: &Geometry) -> bool {
    let outputs = g.batch.checked_mul(g.out_image());
    if !route::on_cuda(x) || outputs.is_none_or(|outputs| outputs > i32::MAX as usize) {
        return false;
    }
    let Device::Cuda(device) = x.device() else {
        return false;
    };
    conv::is_supported(device, &convolution(g)).unwrap_or_else(|error| {
        tracing::warn!("a convolution is composed of candle's operators: {error}");
        false
    })
}

fn convolution(g: &Geometry) -> Convolution {
    Convolution {
        batch: g.batch,
        channels: g.channels,
        input: (g.height, g.width),
        out_channels: g.out_channels,
        output: (g.out_height, g.out_width),
        kernel: g.kernel,
        stride: g.stride,
        padding: g.padding,
        dilation: g.dilation,
        groups: g.groups,
    }
}

/// Argument of a forward pass: storage and layout.
type Argument<'a> = (&'a CudaStorage, &'a Layout);

/// Output, in (N, H, W, C).
pub(crate) fn forward(
    g: &Geometry,
    x: Argument,
    w: Argument,
    b: Option<Argument>,
) -> Result<CudaStorage> {
    let (x, w) = (View::floats(NAME, x.0, x.1)?, View::floats(NAME, w.0, w.1)?);
    let mut y = conv::forward(x, w, &convolution(g))?;
    if let Some(b) = b {
        norm::add_bias(&mut y, View::floats(NAME, b.0, b.1)?)?;
    }
    Ok(y)
}

/// Gradients of input, weight and bias; `None` for those not needed.
pub(crate) fn backward(
    g: &Geometry,
    x: &Tensor,
    w: &Tensor,
    b: Option<&Tensor>,
    dy: &Tensor,
) -> Result<[Option<Tensor>; 3]> {
    let dy = dy.contiguous()?;
    let (x_guard, w_guard, dy_guard) = (
        x.storage_and_layout(),
        w.storage_and_layout(),
        dy.storage_and_layout(),
    );
    let xs = View::locked(NAME, &x_guard.0, x_guard.1)?;
    let ws = View::locked(NAME, &w_guard.0, w_guard.1)?;
    let dys = View::locked(NAME, &dy_guard.0, dy_guard.1)?;
    let c = convolution(g);
    let (mut dx, mut dw, mut db) = (None, None, None);
    if x.track_op() {
        dx = Some(tensor(conv::input_gradient(ws, dys, &c)?, x.shape()));
    }
    if w.track_op() {
        dw = Some(tensor(conv::weight_gradient(xs, dys, &c)?, w.shape()));
    }
    if let Some(b) = b.filter(|b| b.track_op()) {
        db = Some(tensor(norm::bias_gradient(dys, g.out_channels)?, b.shape()));
    }
    Ok([dx, dw, db])
}
