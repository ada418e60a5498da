//! Between candle's CPU tensors and the slices that kernels take.

use candle_core::{CpuStorage, DType, Error, Layout, Result, Storage, Tensor, WithDType};

/// Whether the kernels can run on this tensor: `f32` or `f64` on the CPU.
pub(crate) fn has_kernels(tensor: &Tensor) -> bool {
    tensor.device().is_cpu() && matches!(tensor.dtype(), DType::F32 | DType::F64)
}

/// The elements of a contiguous tensor.
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

/// The elements of a contiguous tensor whose storage is already locked.
pub(crate) fn locked<'a, T: WithDType>(
    op: &'static str,
    storage: &'a Storage,
    layout: &Layout,
) -> Result<&'a [T]> {
    match storage {
        Storage::Cpu(storage) => slice(op, storage, layout),
        _ => Err(Error::Msg(format!("{op}: the kernels run on the CPU only")).bt()),
    }
}
