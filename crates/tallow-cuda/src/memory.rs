//! Memory of a device: its pool, from which all is allocated, and what is free.

use std::ffi::c_void;

use candle_core::CudaDevice;
use candle_core::cuda_backend::cudarc::driver::sys;
use candle_core::cuda_backend::cudarc::driver::sys::CUmemPool_attribute_enum as Attribute;

use crate::error::{Result, driver};

/// Bytes of memory of a device that are free.
///
/// # Errors
/// If the driver does not say.
pub fn free(device: &CudaDevice) -> Result<usize> {
    let found = device.cuda_stream().context().mem_get_info();
    Ok(driver("cuMemGetInfo", found)?.0)
}

/// Most bytes of the device's pool that were in use at a time since [`reset_peak`], as PyTorch's `max_memory_allocated`; 0 without a pool.
///
/// # Errors
/// If the driver does not say.
pub fn peak(device: &CudaDevice) -> Result<u64> {
    match pool(device)? {
        Some(pool) => get(pool, Attribute::CU_MEMPOOL_ATTR_USED_MEM_HIGH),
        None => Ok(0),
    }
}

/// Starts [`peak`] anew, and returns the bytes of the pool that are in use now.
///
/// # Errors
/// If the driver refuses.
pub fn reset_peak(device: &CudaDevice) -> Result<u64> {
    let Some(pool) = pool(device)? else {
        return Ok(0);
    };
    // What was freed is still counted until the device is there.
    driver("cuStreamSynchronize", device.cuda_stream().synchronize())?;
    set(pool, Attribute::CU_MEMPOOL_ATTR_USED_MEM_HIGH, 0)?;
    get(pool, Attribute::CU_MEMPOOL_ATTR_USED_MEM_CURRENT)
}

/// Tells the pool of the device to keep memory that is free.
pub(crate) fn keep(device: &CudaDevice) -> Result<()> {
    match pool(device)? {
        Some(pool) => set(pool, Attribute::CU_MEMPOOL_ATTR_RELEASE_THRESHOLD, u64::MAX),
        None => Ok(()),
    }
}

/// The pool of a device; `None` if it has none.
fn pool(device: &CudaDevice) -> Result<Option<sys::CUmemoryPool>> {
    let context = device.cuda_stream().context().clone();
    if !context.has_async_alloc() {
        return Ok(None);
    }
    let mut pool: sys::CUmemoryPool = std::ptr::null_mut();
    // SAFETY: the device is that of the context, and the pool is written before it is read.
    let found = unsafe { sys::cuDeviceGetDefaultMemPool(&mut pool, context.cu_device()) };
    driver("cuDeviceGetDefaultMemPool", found.result())?;
    Ok(Some(pool))
}

/// An attribute that is a `u64`, as those of this module are.
fn get(pool: sys::CUmemoryPool, attribute: Attribute) -> Result<u64> {
    let mut value = 0u64;
    // SAFETY: the value of the attribute is a u64.
    let found = unsafe { sys::cuMemPoolGetAttribute(pool, attribute, pointer(&mut value)) };
    driver("cuMemPoolGetAttribute", found.result())?;
    Ok(value)
}

fn set(pool: sys::CUmemoryPool, attribute: Attribute, mut value: u64) -> Result<()> {
    // SAFETY: the value of the attribute is a u64.
    let done = unsafe { sys::cuMemPoolSetAttribute(pool, attribute, pointer(&mut value)) };
    driver("cuMemPoolSetAttribute", done.result())
}

fn pointer(value: &mut u64) -> *mut c_void {
    (&raw mut *value).cast()
}
