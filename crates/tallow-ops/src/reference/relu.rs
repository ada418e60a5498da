use candle_core::Tensor;

use crate::Result;

/// [`crate::relu`], as a choice between `x` and 0.
pub fn relu(x: &Tensor) -> Result<Tensor> {
    let zeros = x.zeros_like()?;
    Ok(x.le(&zeros)?.where_cond(&zeros, x)?)
}

/// What is left of [`crate::dropout`] once the mask is drawn: a product.
pub fn masked(x: &Tensor, mask: &Tensor) -> Result<Tensor> {
    Ok(x.mul(&mask.detach())?)
}
