//! Operators on a CUDA device that are cut differently from those of the CPU, and what the others need there.
//!
//! On the CPU a convolution and the norm after it are one operator, since its result fits into the cache only in parts. On a GPU they are two: cuDNN
//! writes the whole map, and one operator reads it and does all that follows.

pub(crate) mod bias_relu;
pub(crate) mod cast;
pub(crate) mod conv;
pub(crate) mod dropout;
pub(crate) mod linear;
pub(crate) mod loss;
pub(crate) mod norm;
pub(crate) mod pool;
pub(crate) mod shortcut;

use candle_core::{CpuStorage, DType, Error, Result, Shape, Tensor};
use tallow_cuda::Numbers;

pub(crate) use crate::custom_op::tensor_of as tensor;

/// Type of the parameters of layers with kernels.
pub(crate) const PARAMETERS: DType = DType::F32;

/// Numbers of a tensor of `f32` or `bf16`.
pub(crate) fn numbers(x: &Tensor) -> Numbers {
    match x.dtype() {
        DType::BF16 => Numbers::Bf16,
        _ => Numbers::F32,
    }
}

/// Type of numbers.
pub(crate) fn dtype(numbers: Numbers) -> DType {
    match numbers {
        Numbers::F32 => DType::F32,
        Numbers::Bf16 => DType::BF16,
    }
}

/// Forward pass on the CPU of an operator that there is another for.
fn elsewhere(op: &'static str) -> Result<(CpuStorage, Shape)> {
    let message =
        format!("{op}: this is the operator of a CUDA device, and the tensor is on the CPU");
    Err(Error::Msg(message).bt())
}

/// Name, and forward pass on the CPU, of a candle operator of so many arguments that runs on CUDA devices alone.
macro_rules! cuda_only {
    (@name) => {
        fn name(&self) -> &'static str {
            NAME
        }
    };
    (1) => {
        $crate::cuda::cuda_only!(@name);

        fn cpu_fwd(
            &self,
            _: &candle_core::CpuStorage,
            _: &candle_core::Layout,
        ) -> candle_core::Result<(candle_core::CpuStorage, candle_core::Shape)> {
            $crate::cuda::elsewhere(NAME)
        }
    };
    (2) => {
        $crate::cuda::cuda_only!(@name);

        fn cpu_fwd(
            &self,
            _: &candle_core::CpuStorage,
            _: &candle_core::Layout,
            _: &candle_core::CpuStorage,
            _: &candle_core::Layout,
        ) -> candle_core::Result<(candle_core::CpuStorage, candle_core::Shape)> {
            $crate::cuda::elsewhere(NAME)
        }
    };
    (3) => {
        $crate::cuda::cuda_only!(@name);

        fn cpu_fwd(
            &self,
            _: &candle_core::CpuStorage,
            _: &candle_core::Layout,
            _: &candle_core::CpuStorage,
            _: &candle_core::Layout,
            _: &candle_core::CpuStorage,
            _: &candle_core::Layout,
        ) -> candle_core::Result<(candle_core::CpuStorage, candle_core::Shape)> {
            $crate::cuda::elsewhere(NAME)
        }
    };
}
pub(crate) use cuda_only;
