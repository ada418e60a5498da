use candle_core::{CpuStorage, CustomOp1, Shape, Tensor};
#[cfg(feature = "cuda")]
use tallow_cuda::{
    View,
    ops::pool::{self, Divisor, Windows},
};

use super::config::{Pool2dConfig, check_dilation, check_output};
use crate::cpu;
#[cfg(feature = "cuda")]
use crate::cuda::numbers;
#[cfg(feature = "cuda")]
use crate::cuda::pool::{adaptive as adaptive_axis, windows};
use crate::custom_op::{self, for_float};
use crate::error::Result;
use crate::kernels::fresh::fresh;
use crate::kernels::pool::Axis;
use crate::kernels::pool::avg::{self, Span, Spans};
use crate::layout::{Extents, Layout};
use crate::{reference, route, tape};

/// Average pooling, as `torch.nn.functional.avg_pool2d`.
///
/// `x` and the result are `(N, C, H, W)` or `(N, H, W, C)`, the layout of the configuration. With `count_include_pad` the zeros of
/// the padding count in the divisor; positions beyond the padding, which a window of `ceil_mode` can have, never do.
///
/// # Errors
/// As [`max_pool2d`](crate::max_pool2d); also [`Error::Config`](crate::Error::Config) if the dilation is not 1.
pub fn avg_pool2d(x: &Tensor, config: &Pool2dConfig, count_include_pad: bool) -> Result<Tensor> {
    if !route::has_map_kernels(x) {
        return reference::avg_pool2d(&tape::input(x), config, count_include_pad);
    }
    check_dilation(config)?;
    let (extents, rows, columns) = config.axes("avg_pool2d", x)?;
    let spans = Spans {
        rows: regular(rows, count_include_pad),
        columns: regular(columns, count_include_pad),
    };
    Ok(tape::apply1(
        &x.contiguous()?,
        AvgPool {
            name: "avg_pool2d",
            extents,
            layout: config.layout,
            spans,
            #[cfg(feature = "cuda")]
            windows: (
                windows(numbers(x), extents, config.layout, rows, columns),
                match count_include_pad {
                    true => Divisor::Padded,
                    false => Divisor::Inside,
                },
            ),
        },
    )?)
}

/// Average pooling to `output` rows and columns, as `torch.nn.functional.adaptive_avg_pool2d`.
///
/// Output `i` of `m` is the average of inputs `floor(i * n / m)` to `ceil((i + 1) * n / m)`, so bins may overlap by one.
///
/// # Errors
/// [`Error::Shape`](crate::Error::Shape) if `x` does not have four axes; [`Error::Config`](crate::Error::Config) if the output is
/// empty.
pub fn adaptive_avg_pool2d(x: &Tensor, output: (usize, usize), layout: Layout) -> Result<Tensor> {
    if !route::has_map_kernels(x) {
        return reference::adaptive_avg_pool2d(&tape::input(x), output, layout);
    }
    check_output(output)?;
    let extents = Extents::of("adaptive_avg_pool2d", x, layout)?;
    let spans = Spans {
        rows: adaptive(extents.h, output.0),
        columns: adaptive(extents.w, output.1),
    };
    Ok(tape::apply1(
        &x.contiguous()?,
        AvgPool {
            name: "adaptive_avg_pool2d",
            extents,
            layout,
            spans,
            #[cfg(feature = "cuda")]
            windows: (
                windows(
                    numbers(x),
                    extents,
                    layout,
                    adaptive_axis(extents.h, output.0),
                    adaptive_axis(extents.w, output.1),
                ),
                Divisor::Adaptive,
            ),
        },
    )?)
}

fn regular(axis: Axis, count_include_pad: bool) -> Vec<Span> {
    let span = |o| {
        let taps = axis.taps(o);
        let start = if taps.is_empty() {
            0
        } else {
            axis.position(o, taps.start)
        };
        let padded = axis
            .kernel
            .min(axis.input + 2 * axis.padding - o * axis.stride);
        let divisor = if count_include_pad {
            padded
        } else {
            taps.len()
        };
        Span {
            start,
            end: start + taps.len(),
            divisor,
        }
    };
    (0..axis.output).map(span).collect()
}

fn adaptive(input: usize, output: usize) -> Vec<Span> {
    let span = |o: usize| {
        let (start, end) = (o * input / output, ((o + 1) * input).div_ceil(output));
        Span {
            start,
            end,
            divisor: end - start,
        }
    };
    (0..output).map(span).collect()
}

struct AvgPool {
    name: &'static str,
    extents: Extents,
    layout: Layout,
    spans: Spans,
    /// The same for a CUDA device, whose kernels compute the spans themselves.
    #[cfg(feature = "cuda")]
    windows: (Windows, Divisor),
}

impl CustomOp1 for AvgPool {
    fn name(&self) -> &'static str {
        self.name
    }

    fn cpu_fwd(
        &self,
        storage: &CpuStorage,
        layout: &candle_core::Layout,
    ) -> candle_core::Result<(CpuStorage, Shape)> {
        let out = Extents {
            h: self.spans.rows.len(),
            w: self.spans.columns.len(),
            ..self.extents
        };
        for_float!(custom_op::dtype(storage), self.name, T => {
            let x = cpu::slice::<T>(self.name, storage, layout)?;
            // SAFETY: the pass writes every element.
            let y = unsafe { fresh(out.count(), |y| avg::forward(x, self.extents, self.layout, &self.spans, y)) };
            Ok((custom_op::storage(y), out.shape(self.layout)))
        })
    }

    #[cfg(feature = "cuda")]
    fn cuda_fwd(
        &self,
        storage: &candle_core::CudaStorage,
        layout: &candle_core::Layout,
    ) -> candle_core::Result<(candle_core::CudaStorage, Shape)> {
        let out = Extents {
            h: self.spans.rows.len(),
            w: self.spans.columns.len(),
            ..self.extents
        };
        let x = View::numbers(self.name, storage, layout)?;
        let y = pool::average(x, &self.windows.0, self.windows.1)?;
        Ok((y, out.shape(self.layout)))
    }

    fn bwd(&self, x: &Tensor, _y: &Tensor, grad: &Tensor) -> candle_core::Result<Option<Tensor>> {
        let grad = grad.contiguous()?;
        #[cfg(feature = "cuda")]
        if grad.device().is_cuda() {
            let (storage, layout) = grad.storage_and_layout();
            let gradients = View::locked_numbers(self.name, &storage, layout)?;
            let dx = pool::average_gradient(gradients, &self.windows.0, self.windows.1)?;
            return Ok(Some(crate::cuda::tensor(dx, x.shape())));
        }
        for_float!(grad.dtype(), self.name, T => {
            let (storage, layout) = grad.storage_and_layout();
            let gy = cpu::locked::<T>(self.name, &storage, layout)?;
            // SAFETY: the pass writes every element.
            let gx = unsafe {
                fresh(self.extents.count(), |gx| avg::backward(gy, self.extents, self.layout, &self.spans, gx))
            };
            Ok(Some(custom_op::tensor(gx, x.shape())?))
        })
    }
}
