//! Devices with kernels.

use candle_core::{DType, Device, Tensor};

use crate::cpu;
use crate::error::Result;

/// CUDA device as the operators of this crate want it: with one stream of its own, without events, and with a pool that keeps its memory.
///
/// candle's `Device::new_cuda` works too, and more slowly: it has another stream for each thread, and gives memory back to the system at every
/// synchronization. Without the feature `cuda`, this is that device, on which the operators are composed of candle's.
///
/// # Errors
/// [`Error::Candle`](crate::Error::Candle) if there is no such device, or the build has no CUDA.
pub fn cuda_device(ordinal: usize) -> Result<Device> {
    #[cfg(feature = "cuda")]
    let device = Device::Cuda(tallow_cuda::open(ordinal).map_err(candle_core::Error::from)?);
    #[cfg(not(feature = "cuda"))]
    let device = Device::new_cuda(ordinal)?;
    Ok(device)
}

/// True for a GPU on which convolutions, norms and what follows them have kernels for this element type. They work in `(N, H, W, C)`: tensors in
/// [`Layout::Nchw`](crate::Layout::Nchw) are turned before and after.
pub fn has_gpu_kernels(device: &Device, dtype: DType) -> bool {
    #[cfg(feature = "cuda")]
    if let Device::Cuda(device) = device {
        let cudnn = tallow_cuda::ops::conv::cudnn_version(device);
        return dtype == DType::F32 && matches!(cudnn, Ok(Some(_)));
    }
    let _ = (device, dtype);
    false
}

/// True for tensors on which kernels run: `f32` or `f64` on the CPU, and what [`on_cuda`] says.
pub(crate) fn has_kernels(x: &Tensor) -> bool {
    cpu::has_kernels(x) || on_cuda(x)
}

/// True for tensors on which kernels without parameters run: `f32` or `f64` on the CPU, and what [`maps_on_cuda`] says.
pub(crate) fn has_map_kernels(x: &Tensor) -> bool {
    cpu::has_kernels(x) || maps_on_cuda(x)
}

/// True for tensors on which the kernels of tallow-cuda run: `f32` on a CUDA device, not empty, of fewer than 2^31 elements.
pub(crate) fn on_cuda(x: &Tensor) -> bool {
    x.dtype() == DType::F32 && maps_on_cuda(x)
}

/// [`on_cuda`], in `bf16` too.
pub(crate) fn maps_on_cuda(x: &Tensor) -> bool {
    cfg!(feature = "cuda")
        && x.device().is_cuda()
        && matches!(x.dtype(), DType::F32 | DType::BF16)
        && (1..=i32::MAX as usize).contains(&x.elem_count())
}

/// True for maps of [`maps_on_cuda`] with parameters of `f32`, the type that the kernels have them in.
#[cfg(feature = "cuda")]
pub(crate) fn layer_on_cuda(x: &Tensor, parameter: &Tensor) -> bool {
    maps_on_cuda(x) && parameter.dtype() == DType::F32
}

/// True for feature maps in `bf16` on a CUDA device with a parameter in `f32`, as [`with_precision`](crate::with_precision) makes them.
pub(crate) fn is_mixed(x: &Tensor, parameter: &Tensor) -> bool {
    (x.dtype(), parameter.dtype()) == (DType::BF16, DType::F32) && x.device().is_cuda()
}
