//! Slices of candle's CPU tensors, for the kernels.

use candle_core::{CpuStorage, DType, Error, Layout, Result, Storage, Tensor, WithDType};

/// True for tensors on which the kernels run: `f32` or `f64` on the CPU.
pub(crate) fn has_kernels(tensor: &Tensor) -> bool {
    tensor.device().is_cpu() && matches!(tensor.dtype(), DType::F32 | DType::F64)
}

/// Elements of a contiguous tensor.
pub(crate) fn slice<'a, T: WithDType>(
    op: &'static str,
    storage: &'a CpuStorage,
    layout: &Layout,
) -> Result<&'a [T]> {
    let (start, end) = layout
        .contiguous_offsets()
        .ok_or(Error::RequiresContiguous { op })?;
    Ok(&storage.as_slice::<T>()?[start..end])
}

/// Elements of a contiguous tensor whose storage is already locked.
pub(crate) fn locked<'a, T: WithDType>(
    op: &'static str,
    storage: &'a Storage,
    layout: &Layout,
) -> Result<&'a [T]> {
    match storage {
        Storage::Cpu(storage) => slice(op, storage, layout),
        _ => Err(Error::Msg(format!(
            "{op}: the kernels run on the CPU only, move the tensor there"
        ))
        .bt()),
    }
}
