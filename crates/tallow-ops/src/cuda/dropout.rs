//! Dropout that draws the words of the generator on the device.

use candle_core::{CudaStorage, CustomOp1, Layout, Shape, Tensor};
use tallow_cuda::View;
use tallow_cuda::ops::dropout::{self, Mask};

use crate::cuda::{cuda_only, tensor};
use crate::error::Result;
use crate::generator::Generator;
use crate::tape;

const NAME: &str = "dropout";

/// Dropout with probability `p` above 0 and below 1. The generator moves on as if it had drawn the mask.
pub(crate) fn dropout(x: &Tensor, p: f64, generator: &Generator) -> Result<Tensor> {
    let (key, start) = generator.skip_words(x.elem_count() as u64);
    let mask = Mask {
        key,
        start,
        threshold: Generator::threshold(1. - p),
        scale: (1. / (1. - p)) as f32,
    };
    Ok(tape::apply1(&x.contiguous()?, Dropout(mask))?)
}

struct Dropout(Mask);

impl CustomOp1 for Dropout {
    cuda_only!(1);

    fn cuda_fwd(
        &self,
        storage: &CudaStorage,
        layout: &Layout,
    ) -> candle_core::Result<(CudaStorage, Shape)> {
        let x = View::numbers(NAME, storage, layout)?;
        Ok((dropout::dropout(x, &self.0)?, layout.shape().clone()))
    }

    fn bwd(&self, x: &Tensor, _y: &Tensor, grad: &Tensor) -> candle_core::Result<Option<Tensor>> {
        let grad = grad.contiguous()?;
        let (storage, layout) = grad.storage_and_layout();
        let dx = dropout::dropout(View::locked_numbers(NAME, &storage, layout)?, &self.0)?;
        Ok(Some(tensor(dx, x.shape())))
    }
}
