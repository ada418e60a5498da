//! Elementwise addition and zero padding, recorded on the [`Tape`](crate::Tape), and counters.

use candle_core::{DType, Tensor, Var};

use crate::cast::cast;
use crate::error::Result;
use crate::route;
use crate::tape::{Op, input, note};

/// Sum of two tensors of equal shape, as `torch.add`. Unlike candle's own, it is recorded on a [`Tape`](crate::Tape).
///
/// # Errors
/// If the shapes or element types differ.
pub fn add(x: &Tensor, y: &Tensor) -> Result<Tensor> {
    let [x, y] = alike(x, y)?;
    let output = input(&x).add(&input(&y))?;
    note(&output, || Op::Add([x, y]));
    Ok(output)
}

/// Two tensors for a sum: both in `f32`, if one of them is and the other in `bf16` on a CUDA device.
pub(crate) fn alike(x: &Tensor, y: &Tensor) -> Result<[Tensor; 2]> {
    match route::is_mixed(x, y) || route::is_mixed(y, x) {
        true => Ok([cast(x, DType::F32)?, cast(y, DType::F32)?]),
        false => Ok([x.clone(), y.clone()]),
    }
}

/// Zero padding along one axis, as `torch.nn.functional.pad`: `before` zeros in front and `after` behind. Unlike
/// [`Tensor::pad_with_zeros`], it is recorded on a [`Tape`](crate::Tape).
///
/// # Errors
/// If there is no such axis.
pub fn pad_with_zeros(x: &Tensor, axis: usize, before: usize, after: usize) -> Result<Tensor> {
    let output = input(x).pad_with_zeros(axis, before, after)?;
    if output.id() != x.id() {
        note(&output, || Op::Pad(x.clone(), axis, before));
    }
    Ok(output)
}

/// Adds 1 to each value of a variable, where it is: reading it would wait for the device. It is no part of a graph.
///
/// # Errors
/// If the device fails.
///
/// ```
/// use candle_core::{Device, Tensor, Var};
///
/// let batches = Var::from_tensor(&Tensor::new(4i64, &Device::Cpu)?)?;
/// tallow_ops::increment(&batches)?;
/// assert_eq!(batches.to_scalar::<i64>()?, 5);
/// # Ok::<(), tallow_ops::Error>(())
/// ```
pub fn increment(counter: &Var) -> Result<()> {
    #[cfg(feature = "cuda")]
    if counter.device().is_cuda() && counter.dtype() == DType::I64 {
        let done = tallow_cuda::ops::optimizer::increment(counter);
        return Ok(done.map_err(candle_core::Error::from)?);
    }
    let next = (counter.as_detached_tensor() + 1.)?;
    Ok(counter.set(&next)?)
}
