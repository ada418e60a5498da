//! Linear layer composed of candle operations.

use candle_core::Tensor;

use crate::error::Result;
use crate::linear::shape::shape;

/// Reference of [`crate::linear`](crate::linear()), composed of candle tensor operations.
///
/// # Errors
/// As [`crate::linear`](crate::linear()).
pub fn linear(x: &Tensor, weight: &Tensor, bias: Option<&Tensor>) -> Result<Tensor> {
    shape(x, weight, bias)?;
    composed(x, weight, bias)
}

/// [`linear`] with the arguments already checked.
pub(crate) fn composed(x: &Tensor, weight: &Tensor, bias: Option<&Tensor>) -> Result<Tensor> {
    let y = x.matmul(&weight.t()?)?;
    Ok(match bias {
        Some(bias) => y.broadcast_add(bias)?,
        None => y,
    })
}
