//! Changes between `f32` and `bf16`.

use candle_core::{CudaStorage, CustomOp1, Layout, Shape, Tensor};
use tallow_cuda::View;
use tallow_cuda::ops::convert::convert;

use crate::cuda::{cuda_only, tensor};
use crate::error::Result;
use crate::tape;

const NAME: &str = "cast";

/// The tensor in the other type.
pub(crate) fn cast(x: &Tensor) -> Result<Tensor> {
    Ok(tape::apply1(&x.contiguous()?, Cast)?)
}

struct Cast;

impl CustomOp1 for Cast {
    cuda_only!(1);

    fn cuda_fwd(
        &self,
        storage: &CudaStorage,
        layout: &Layout,
    ) -> candle_core::Result<(CudaStorage, Shape)> {
        let x = View::numbers(NAME, storage, layout)?;
        Ok((convert(x)?, layout.shape().clone()))
    }

    fn bwd(&self, x: &Tensor, _y: &Tensor, grad: &Tensor) -> candle_core::Result<Option<Tensor>> {
        let grad = grad.contiguous()?;
        let (storage, layout) = grad.storage_and_layout();
        let dx = convert(View::locked_numbers(NAME, &storage, layout)?)?;
        Ok(Some(tensor(dx, x.shape())))
    }
}
