//! Fully connected layer.

pub(crate) mod shape;

use candle_core::{CpuStorage, DType, Device, Tensor, WithDType};

pub(crate) use self::shape::shape;
use crate::cast::widened;
use crate::error::Result;
use crate::kernels::fresh::fresh;
use crate::kernels::linear::{Shape, forward, grad_bias, grad_input, grad_weight};
use crate::kernels::real::Real;
use crate::relu::relu;
use crate::weighted::{Argument, Weighted, apply_weighted};
use crate::{cpu, reference, tape};

const NAME: &str = "linear";

/// Linear layer: `x * weight^T + bias`, as `torch.nn.functional.linear`.
///
/// `x` is `(N, I)`, `weight` `(O, I)`, `bias` `(O)`; the result is `(N, O)`. Differentiable in all three arguments. In `f32` and
/// `f64` on the CPU this is one matrix product that includes the bias; in `f32` on a CUDA device too, in the precision of
/// [`with_precision`](crate::with_precision); everything else is [`reference::linear`].
///
/// # Errors
/// [`Error::Shape`](crate::Error::Shape) if the shapes differ from these, or `weight` is empty.
///
/// ```
/// use candle_core::{Device, Tensor};
/// use tallow_ops::linear;
///
/// let x = Tensor::new(&[[1f32, 2.0]], &Device::Cpu)?;
/// let weight = Tensor::new(&[[3f32, 4.0], [5.0, 6.0]], &Device::Cpu)?;
/// let bias = Tensor::new(&[0.5f32, 0.25], &Device::Cpu)?;
/// assert_eq!(linear(&x, &weight, Some(&bias))?.to_vec2::<f32>()?, [[11.5, 17.25]]);
/// # Ok::<(), tallow_ops::Error>(())
/// ```
pub fn linear(x: &Tensor, weight: &Tensor, bias: Option<&Tensor>) -> Result<Tensor> {
    let shape = shape(x, weight, bias)?;
    #[cfg(feature = "cuda")]
    if crate::route::layer_on_cuda(x, weight) {
        return crate::cuda::linear::linear(x, weight, bias, false, sizes(shape));
    }
    if !cpu::has_kernels(x) {
        let x = tape::input(&widened(x, weight)?);
        let bias = bias.map(tape::input);
        return reference::linear::composed(&x, &tape::input(weight), bias.as_ref());
    }
    Ok(apply_weighted(x, weight, bias, Linear { shape })?)
}

/// [`linear`] and [`relu`](crate::relu()), as one node of the graph on a CUDA device with kernels.
///
/// Shapes and gradients are those of the separate operators, which run elsewhere.
///
/// # Errors
/// As [`linear`].
///
/// ```
/// use candle_core::{Device, Tensor};
/// use tallow_ops::linear_relu;
///
/// let x = Tensor::new(&[[1f32, -2.0]], &Device::Cpu)?;
/// let weight = Tensor::new(&[[3f32, 1.0], [1.0, 1.0]], &Device::Cpu)?;
/// assert_eq!(linear_relu(&x, &weight, None)?.to_vec2::<f32>()?, [[1.0, 0.0]]);
/// # Ok::<(), tallow_ops::Error>(())
/// ```
pub fn linear_relu(x: &Tensor, weight: &Tensor, bias: Option<&Tensor>) -> Result<Tensor> {
    #[cfg(feature = "cuda")]
    if crate::route::layer_on_cuda(x, weight) {
        let shape = shape(x, weight, bias)?;
        return crate::cuda::linear::linear(x, weight, bias, true, sizes(shape));
    }
    relu(&linear(x, weight, bias)?)
}

#[cfg(feature = "cuda")]
fn sizes(shape: Shape) -> tallow_cuda::ops::linear::Sizes {
    tallow_cuda::ops::linear::Sizes {
        rows: shape.batch,
        inputs: shape.inputs,
        outputs: shape.outputs,
    }
}

/// Operator of one call of [`linear`], with shapes already checked, on contiguous arguments of one type.
struct Linear {
    shape: Shape,
}

impl Linear {
    fn forward_as<T: Real + WithDType>(
        &self,
        x: Argument,
        w: Argument,
        b: Option<Argument>,
    ) -> candle_core::Result<CpuStorage> {
        let (x, w) = (
            cpu::slice::<T>(NAME, x.0, x.1)?,
            cpu::slice::<T>(NAME, w.0, w.1)?,
        );
        let b = b.map(|b| cpu::slice::<T>(NAME, b.0, b.1)).transpose()?;
        let fill = |y: &mut [T]| forward(self.shape, x, w, b, y);
        // SAFETY: the product writes every element.
        let y = unsafe { fresh(self.shape.batch * self.shape.outputs, fill) };
        Ok(T::to_cpu_storage_owned(y))
    }

    /// Gradients; `None` for those not needed.
    fn backward_as<T: Real + WithDType>(
        &self,
        x: &Tensor,
        w: &Tensor,
        b: Option<&Tensor>,
        dy: &Tensor,
    ) -> candle_core::Result<[Option<Tensor>; 3]> {
        let (s, dy) = (self.shape, dy.contiguous()?);
        let (x_guard, w_guard, dy_guard) = (
            x.storage_and_layout(),
            w.storage_and_layout(),
            dy.storage_and_layout(),
        );
        let xs = cpu::locked::<T>(NAME, &x_guard.0, x_guard.1)?;
        let ws = cpu::locked::<T>(NAME, &w_guard.0, w_guard.1)?;
        let dys = cpu::locked::<T>(NAME, &dy_guard.0, dy_guard.1)?;
        let gradient = |of: &Tensor, fill: &dyn Fn(&mut [T])| {
            if !of.track_op() {
                return Ok(None);
            }
            let values = if s.batch == 0 {
                vec![T::ZERO; of.elem_count()]
            } else {
                // SAFETY: every pass writes all of its result, if there are rows.
                unsafe { fresh(of.elem_count(), fill) }
            };
            Tensor::from_vec(values, of.shape(), &Device::Cpu).map(Some)
        };
        Ok([
            gradient(x, &|dx| grad_input(s, ws, dys, dx))?,
            gradient(w, &|dw| grad_weight(s, xs, dys, dw))?,
            b.map_or(Ok(None), |b| gradient(b, &|db| grad_bias(s, dys, db)))?,
        ])
    }
}

impl Weighted for Linear {
    const NAME: &'static str = NAME;

    fn forward(
        &self,
        x: Argument,
        w: Argument,
        b: Option<Argument>,
    ) -> candle_core::Result<(CpuStorage, candle_core::Shape)> {
        let storage = match x.0 {
            CpuStorage::F64(_) => self.forward_as::<f64>(x, w, b)?,
            _ => self.forward_as::<f32>(x, w, b)?,
        };
        Ok((storage, (self.shape.batch, self.shape.outputs).into()))
    }

    fn backward(
        &self,
        x: &Tensor,
        w: &Tensor,
        b: Option<&Tensor>,
        _: &Tensor,
        dy: &Tensor,
    ) -> candle_core::Result<[Option<Tensor>; 3]> {
        match x.dtype() {
            DType::F64 => self.backward_as::<f64>(x, w, b, dy),
            _ => self.backward_as::<f32>(x, w, b, dy),
        }
    }
}
