use candle_core::Tensor;

use crate::error::Result;

/// Reference of [`crate::relu`]: a choice between `x` and 0.
pub fn relu(x: &Tensor) -> Result<Tensor> {
    let zeros = x.zeros_like()?;
    Ok(x.le(&zeros)?.where_cond(&zeros, x)?)
}

/// Reference of [`crate::dropout`] with a mask already drawn: a product.
pub fn masked(x: &Tensor, mask: &Tensor) -> Result<Tensor> {
    Ok(x.mul(&mask.detach())?)
}
