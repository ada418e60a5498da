use candle_core::{DType, Tensor};

use crate::error::Result;
use crate::{route, tape};

/// Tensor in another floating-point type, as `torch.Tensor.to`; the same tensor if it has the type.
///
/// Between `f32` and `bf16` on a CUDA device it is recorded on a [`Tape`](crate::Tape).
pub fn cast(x: &Tensor, dtype: DType) -> Result<Tensor> {
    if x.dtype() == dtype {
        return Ok(x.clone());
    }
    #[cfg(feature = "cuda")]
    if route::maps_on_cuda(x) && matches!(dtype, DType::F32 | DType::BF16) {
        return crate::cuda::cast::cast(x);
    }
    Ok(tape::input(x).to_dtype(dtype)?)
}

/// `x` for an operator without a kernel for it: in `f32`, if it is in `bf16` beside a parameter in `f32` on a CUDA device.
pub(crate) fn widened(x: &Tensor, parameter: &Tensor) -> Result<Tensor> {
    match route::is_mixed(x, parameter) {
        true => cast(x, DType::F32),
        false => Ok(x.clone()),
    }
}
