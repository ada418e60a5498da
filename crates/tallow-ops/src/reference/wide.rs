use candle_core::{DType, Tensor};

/// Element type in which a reference computes: `f32` for half types.
pub(super) fn wide(x: &Tensor) -> DType {
    if x.dtype() == DType::F64 {
        DType::F64
    } else {
        DType::F32
    }
}
