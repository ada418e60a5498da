//! Elementwise addition and zero padding, recorded on the [`Tape`](crate::Tape).

use candle_core::Tensor;

use crate::error::Result;
use crate::tape::{Op, input, note};

/// Sum of two tensors of equal shape, as `torch.add`. Unlike candle's own, it is recorded on a [`Tape`](crate::Tape).
///
/// # Errors
/// If the shapes or element types differ.
pub fn add(x: &Tensor, y: &Tensor) -> Result<Tensor> {
    let output = input(x).add(&input(y))?;
    note(&output, || Op::Add([x.clone(), y.clone()]));
    Ok(output)
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
