use candle_core::Tensor;

use super::linear;
use crate::error::Result;
use crate::kernels::squeeze_excite::Block;
use crate::layout::{Extents, Layout};
use crate::squeeze_excite::config::{SqueezeExciteConfig, check};

/// Reference of [`crate::squeeze_excite`](crate::squeeze_excite()), composed of candle tensor operations.
///
/// # Errors
/// As [`crate::squeeze_excite`](crate::squeeze_excite()).
pub fn squeeze_excite(
    x: &Tensor,
    fc1: (&Tensor, &Tensor),
    fc2: (&Tensor, &Tensor),
    config: &SqueezeExciteConfig,
) -> Result<Tensor> {
    let block = check(x, fc1, fc2, config)?;
    composed(x, fc1, fc2, &block)
}

/// [`squeeze_excite`] with the arguments already checked.
pub(crate) fn composed(
    x: &Tensor,
    fc1: (&Tensor, &Tensor),
    fc2: (&Tensor, &Tensor),
    block: &Block,
) -> Result<Tensor> {
    let Extents { n, c, .. } = block.extents;
    let (axes, shape) = match block.layout {
        Layout::Nchw => ([2, 3], (n, c, 1, 1)),
        Layout::Nhwc => ([1, 2], (n, 1, 1, c)),
    };
    let flat = |weight: &Tensor| weight.flatten_from(1);
    let means = x.mean(axes)?;
    let inner = linear::composed(&means, &flat(fc1.0)?, Some(fc1.1))?;
    let inner = block.activation.reference(&inner)?;
    let outer = linear::composed(&inner, &flat(fc2.0)?, Some(fc2.1))?;
    let factors = block.gate.reference(&outer)?;
    Ok(x.broadcast_mul(&factors.reshape(shape)?)?)
}
