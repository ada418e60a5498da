//! Helpers of the custom operators.

use std::sync::OnceLock;

use candle_core::backend::BackendStorage;
use candle_core::{CpuStorage, DType, Device, Error, Result, Shape, Tensor, WithDType};

use crate::kernels::float::Float;

/// Element type of both candle and the kernels.
pub(crate) trait Element: WithDType + Float {}

impl Element for f32 {}
impl Element for f64 {}

/// Evaluates `$body` with `$t` as the element type; an error that names the operator for other types.
macro_rules! for_float {
    ($dtype:expr, $op:expr, $t:ident => $body:expr) => {
        match $dtype {
            candle_core::DType::F32 => {
                type $t = f32;
                $body
            }
            candle_core::DType::F64 => {
                type $t = f64;
                $body
            }
            other => Err(candle_core::Error::UnsupportedDTypeForOp(other, $op).bt()),
        }
    };
}
pub(crate) use for_float;

/// Element type of a storage.
pub(crate) fn dtype(storage: &CpuStorage) -> DType {
    storage.dtype()
}

/// Zeroed buffer for the result of a kernel.
pub(crate) fn zeros<T: Float>(count: usize) -> Vec<T> {
    vec![T::ZERO; count]
}

/// Result of a forward pass.
pub(crate) fn storage<T: WithDType>(values: Vec<T>) -> CpuStorage {
    T::to_cpu_storage_owned(values)
}

/// Result of a backward pass.
pub(crate) fn tensor<T: WithDType>(values: Vec<T>, shape: impl Into<Shape>) -> Result<Tensor> {
    Tensor::from_vec(values, shape.into(), &Device::Cpu)
}

/// Result of a backward pass on a CUDA device.
#[cfg(feature = "cuda")]
pub(crate) fn tensor_of(storage: candle_core::CudaStorage, shape: impl Into<Shape>) -> Tensor {
    let storage = candle_core::Storage::Cuda(storage);
    let graph = candle_core::op::BackpropOp::none();
    Tensor::from_storage(storage, shape.into(), graph, false)
}

/// Keeps a value of the forward pass for backward. An operator value serves one call, so `place` is empty.
pub(crate) fn save<T>(place: &OnceLock<T>, value: T) -> Result<()> {
    place
        .set(value)
        .map_err(|_| Error::Msg("an operator value serves one call".into()).bt())
}

/// Value kept by the forward pass.
pub(crate) fn saved<T>(place: &OnceLock<T>) -> Result<&T> {
    place
        .get()
        .ok_or_else(|| Error::Msg("backward ran before forward".into()).bt())
}
