//! Making of a device.

use candle_core::CudaDevice;
use candle_core::cuda_backend::cudarc::driver::{CudaContext, sys};

use crate::error::{Result, driver};
use crate::memory;
use crate::ops::conv::cudnn_version;

/// CUDA device with one stream of its own, without events, whose pool keeps its memory.
///
/// - candle's `Device::new_cuda` has another stream for each thread that uses it, which nothing orders.
/// - cudarc tracks the uses of every allocation by two events, so that several streams can share it. With one stream there is nothing to track.
/// - The pool of a device gives free memory back to the system at every synchronization, and maps it anew in the next step, unless it is told
///   to keep it.
///
/// # Errors
/// If there is no such device, or its driver is older than the toolkit of the build.
pub fn open(ordinal: usize) -> Result<CudaDevice> {
    let device = CudaDevice::new_with_stream(ordinal)?;
    // SAFETY: the device has one stream, on which everything is queued that uses its memory. Nothing has been allocated yet.
    unsafe { device.disable_event_tracking() };
    memory::keep(&device)?;
    Ok(device)
}

/// Card, driver and library, on which the results of a device depend besides its program.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Description {
    /// Name of the card.
    pub name: String,
    /// Version of CUDA that its driver has, as 13000 for 13.0.
    pub driver: u32,
    /// Version of cuDNN, as 91900 for 9.19.0; `None` if it cannot be used.
    pub cudnn: Option<usize>,
}

/// Card, driver and cuDNN of a device.
///
/// # Errors
/// If the driver does not say.
pub fn describe(device: &CudaDevice) -> Result<Description> {
    let name = device.cuda_stream().context().name();
    let mut version = 0;
    // SAFETY: the version is written before it is read.
    let found = unsafe { sys::cuDriverGetVersion(&mut version) };
    driver("cuDriverGetVersion", found.result())?;
    Ok(Description {
        name: driver("cuDeviceGetName", name)?,
        driver: u32::try_from(version).unwrap_or(0),
        cudnn: cudnn_version(device)?,
    })
}

/// Number of CUDA devices that this process sees.
///
/// # Errors
/// If there is no driver.
pub fn count() -> Result<usize> {
    let count = driver("cuDeviceGetCount", CudaContext::device_count())?;
    Ok(usize::try_from(count).unwrap_or(0))
}

/// Name of the card, which no other one has, on whatever machine.
///
/// # Errors
/// If the driver does not say.
pub fn uuid(device: &CudaDevice) -> Result<[u8; 16]> {
    let found = device.cuda_stream().context().uuid();
    Ok(driver("cuDeviceGetUuid", found)?
        .bytes
        .map(|byte| byte as u8))
}
