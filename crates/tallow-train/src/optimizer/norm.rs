//! Euclidean norms over whole tensors.

use candle_core::{CpuStorage, DType, Storage, Tensor};
use rayon::prelude::*;

use super::update::{CHUNK, Real, sum_of_squares};

/// Euclidean norm of all elements, in `f64` for `f32` and `f64` on the CPU. The bits are the same for any number of threads.
pub(super) fn norm(tensor: &Tensor) -> candle_core::Result<f64> {
    let (storage, layout) = tensor.storage_and_layout();
    let sum = match (&*storage, layout.contiguous_offsets()) {
        (Storage::Cpu(CpuStorage::F32(values)), Some((start, end))) => sum(&values[start..end]),
        (Storage::Cpu(CpuStorage::F64(values)), Some((start, end))) => sum(&values[start..end]),
        _ => {
            // Sums of half precision would overflow; not every device has `f64`.
            let dtype = match tensor.dtype() {
                DType::F64 => DType::F64,
                _ => DType::F32,
            };
            let sum = tensor.to_dtype(dtype)?.sqr()?.sum_all()?;
            match dtype {
                DType::F64 => sum.to_scalar::<f64>()?,
                _ => sum.to_scalar::<f32>()?.into(),
            }
        }
    };
    Ok(sum.sqrt())
}

fn sum<T: Real>(values: &[T]) -> f64 {
    if values.len() <= CHUNK {
        return sum_of_squares(values);
    }
    let sums: Vec<f64> = values.par_chunks(CHUNK).map(sum_of_squares).collect();
    sums.iter().sum()
}
