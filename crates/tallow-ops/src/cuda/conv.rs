//! Convolution by cuDNN.

use std::collections::HashSet;
use std::sync::{LazyLock, Mutex, OnceLock, PoisonError};

use candle_core::{CpuStorage, Device, Result, Shape, Tensor};
use tallow_cuda::ops::conv::{self, Convolution, Filters};
use tallow_cuda::ops::norm;
use tallow_cuda::{Precision, View};

use crate::cast::cast;
use crate::cuda::{dtype, elsewhere, tensor};
use crate::kernels::conv::Geometry;
use crate::layout::Layout;
use crate::to_layout::in_channels_last;
use crate::weighted::{Argument, CudaArgument, CudaOutput, Weighted, apply_weighted};
use crate::{custom_op, precision, route};

const NAME: &str = "conv2d";

/// Precision in which cuDNN runs the convolution of `x`: the [current](precision::current) one, or `f32` where it has no engine in that; `None`
/// where it runs none.
pub(crate) fn runs(x: &Tensor, weight: &Tensor, g: &Geometry) -> Option<Precision> {
    let outputs = g.batch.checked_mul(g.out_image());
    let fits = outputs.is_some_and(|outputs| outputs <= i32::MAX as usize);
    let Device::Cuda(device) = x.device() else {
        return None;
    };
    if !route::layer_on_cuda(x, weight) || !fits {
        return None;
    }
    let convolution = convolution(g);
    let is_supported = |precision| {
        let found = conv::is_supported(device, &convolution, precision);
        found.unwrap_or_else(|error| {
            tracing::warn!("a convolution is composed of candle's operators: {error}");
            false
        })
    };
    let wanted = precision::current();
    if is_supported(wanted) {
        return Some(wanted);
    }
    let found =
        (wanted != Precision::F32 && is_supported(Precision::F32)).then_some(Precision::F32);
    if wanted != Precision::F32 {
        say_once(&convolution, wanted);
    }
    found
}

/// Says, once in a process, that a convolution does not run in the precision asked for.
fn say_once(convolution: &Convolution, wanted: Precision) {
    static SAID: LazyLock<Mutex<HashSet<(Convolution, Precision)>>> = LazyLock::new(Mutex::default);
    let mut said = SAID.lock().unwrap_or_else(PoisonError::into_inner);
    // Batches of another size are the same layer.
    let layer = Convolution {
        batch: 0,
        ..*convolution
    };
    if said.insert((layer, wanted)) {
        tracing::warn!(
            "a convolution runs in f32, since cuDNN has no engine for it in {wanted:?}: {convolution:?}"
        );
    }
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

/// Convolution of checked arguments in a precision that [`runs`].
pub(crate) fn conv2d(
    x: &Tensor,
    weight: &Tensor,
    bias: Option<&Tensor>,
    layout: Layout,
    geometry: Geometry,
    precision: Precision,
) -> crate::error::Result<Tensor> {
    if layout == Layout::Nchw {
        return in_channels_last(x, |x| {
            conv2d(x, weight, bias, Layout::Nhwc, geometry, precision)
        });
    }
    let x = cast(x, dtype(precision.numbers()))?;
    let op = Conv2d {
        geometry,
        precision,
        filters: OnceLock::new(),
    };
    Ok(apply_weighted(&x, weight, bias, op)?)
}

/// Operator of one call, in (N, H, W, C).
struct Conv2d {
    geometry: Geometry,
    precision: Precision,
    /// Filters of the forward pass, for the backward pass.
    filters: OnceLock<Filters>,
}

impl Weighted for Conv2d {
    const NAME: &'static str = NAME;

    fn forward(
        &self,
        _: Argument,
        _: Argument,
        _: Option<Argument>,
    ) -> Result<(CpuStorage, Shape)> {
        elsewhere(NAME)
    }

    fn forward_cuda(
        &self,
        x: CudaArgument,
        w: CudaArgument,
        b: Option<CudaArgument>,
    ) -> CudaOutput {
        let c = convolution(&self.geometry);
        let x = View::numbers(NAME, x.0, x.1)?;
        let w = View::floats(NAME, w.0, w.1)?;
        let filters = Filters::of(w, &c, self.precision)?;
        let mut y = conv::forward(x, w, &filters, &c, self.precision)?;
        if let Some(b) = b {
            norm::add_bias(&mut y, View::floats(NAME, b.0, b.1)?)?;
        }
        custom_op::save(&self.filters, filters)?;
        Ok((y, self.geometry.maps().shape(Layout::Nhwc)))
    }

    /// Gradients of input, weight and bias; `None` for those not needed.
    fn backward(
        &self,
        x: &Tensor,
        w: &Tensor,
        b: Option<&Tensor>,
        _: &Tensor,
        dy: &Tensor,
    ) -> Result<[Option<Tensor>; 3]> {
        let dy = dy.contiguous()?;
        let (x_guard, w_guard, dy_guard) = (
            x.storage_and_layout(),
            w.storage_and_layout(),
            dy.storage_and_layout(),
        );
        let xs = View::locked_numbers(NAME, &x_guard.0, x_guard.1)?;
        let ws = View::locked(NAME, &w_guard.0, w_guard.1)?;
        let dys = View::locked_numbers(NAME, &dy_guard.0, dy_guard.1)?;
        let c = convolution(&self.geometry);
        let (mut dx, mut dw, mut db) = (None, None, None);
        if x.track_op() {
            let filters = custom_op::saved(&self.filters)?;
            let found = conv::input_gradient(ws, filters, dys, &c, self.precision)?;
            dx = Some(tensor(found, x.shape()));
        }
        if w.track_op() {
            let found = conv::weight_gradient(xs, dys, &c, self.precision)?;
            dw = Some(tensor(found, w.shape()));
        }
        if let Some(b) = b.filter(|b| b.track_op()) {
            let found = norm::bias_gradient(dys, self.geometry.out_channels)?;
            db = Some(tensor(found, b.shape()));
        }
        Ok([dx, dw, db])
    }
}
