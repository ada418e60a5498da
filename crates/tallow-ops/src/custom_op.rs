//! What the custom operators of this crate share.

use std::sync::OnceLock;

use candle_core::backend::BackendStorage;
use candle_core::{CpuStorage, DType, Device, Error, Result, Shape, Tensor, WithDType};

use crate::kernels::Float;

/// An element type that both candle and the kernels know.
pub(crate) trait Element: WithDType + Float {}

impl Element for f32 {}
impl Element for f64 {}

/// Evaluates `$body` with `$t` standing for the element type, or fails naming the operator.
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

/// The element type of a storage.
pub(crate) fn dtype(storage: &CpuStorage) -> DType {
    storage.dtype()
}

/// A buffer for a kernel to write its result into.
pub(crate) fn zeros<T: Float>(count: usize) -> Vec<T> {
    vec![T::ZERO; count]
}

/// A result as forward hands it over.
pub(crate) fn storage<T: WithDType>(values: Vec<T>) -> CpuStorage {
    T::to_cpu_storage_owned(values)
}

/// A result as backward hands it over.
pub(crate) fn tensor<T: WithDType>(values: Vec<T>, shape: impl Into<Shape>) -> Result<Tensor> {
    Tensor::from_vec(values, shape.into(), &Device::Cpu)
}

/// Keeps what backward needs. An operator value is made for one call, so the place is empty.
pub(crate) fn save<T>(place: &OnceLock<T>, value: T) -> Result<()> {
    place
        .set(value)
        .map_err(|_| Error::Msg("an operator value serves one call".into()).bt())
}

/// What forward kept.
pub(crate) fn saved<T>(place: &OnceLock<T>) -> Result<&T> {
    place
        .get()
        .ok_or_else(|| Error::Msg("backward ran before forward".into()).bt())
}
