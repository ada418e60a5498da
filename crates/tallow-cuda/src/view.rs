//! Values in the memory of a device.

use candle_core::backend::BackendStorage;
use candle_core::cuda_backend::cudarc::driver::{CudaSlice, DevicePtr, DeviceRepr};
use candle_core::cuda_backend::{CudaDType, CudaStorage};
use candle_core::{CudaDevice, Layout, Storage, Tensor};

use crate::call::Address;
use crate::error::{Error, Result};

/// Contiguous values of a tensor on a device.
#[derive(Clone, Copy)]
pub struct View<'a> {
    address: Address,
    len: usize,
    device: &'a CudaDevice,
}

impl<'a> View<'a> {
    /// Floats of a storage.
    ///
    /// # Errors
    /// If the values are not contiguous, or not `f32`.
    pub fn floats(op: &'static str, storage: &'a CudaStorage, layout: &Layout) -> Result<Self> {
        Self::of::<f32>(op, storage, layout)
    }

    /// Unsigned 32-bit integers of a storage.
    ///
    /// # Errors
    /// If the values are not contiguous, or not `u32`.
    pub fn words(op: &'static str, storage: &'a CudaStorage, layout: &Layout) -> Result<Self> {
        Self::of::<u32>(op, storage, layout)
    }

    /// Floats of a storage whose lock is held.
    ///
    /// # Errors
    /// As [`View::floats`], and if the storage is on another device.
    pub fn locked(op: &'static str, storage: &'a Storage, layout: &Layout) -> Result<Self> {
        Self::floats(op, on_device(op, storage)?, layout)
    }

    /// Unsigned 32-bit integers of a storage whose lock is held.
    ///
    /// # Errors
    /// As [`View::words`], and if the storage is on another device.
    pub fn locked_words(op: &'static str, storage: &'a Storage, layout: &Layout) -> Result<Self> {
        Self::words(op, on_device(op, storage)?, layout)
    }

    fn of<T: CudaDType + DeviceRepr>(
        op: &'static str,
        storage: &'a CudaStorage,
        layout: &Layout,
    ) -> Result<Self> {
        let slice = storage.as_cuda_slice::<T>()?;
        let range = layout.contiguous_offsets();
        let Some((start, end)) = range.filter(|&(start, end)| start <= end && end <= slice.len())
        else {
            let message = "an argument is not contiguous: call `contiguous()` first".to_string();
            return Err(Error::Argument { op, message });
        };
        Ok(Self {
            address: address(slice) + (start * size_of::<T>()) as Address,
            len: end - start,
            device: storage.device(),
        })
    }

    /// Some of the values, `len` from `start` on.
    ///
    /// # Errors
    /// If there are fewer.
    pub fn part(self, op: &'static str, start: usize, len: usize) -> Result<Self> {
        if start.checked_add(len).is_none_or(|end| end > self.len) {
            let (expected, found) = (start.saturating_add(len), self.len);
            return Err(Error::Length {
                op,
                argument: "an argument in parts",
                expected,
                found,
            });
        }
        Ok(Self {
            address: self.address + 4 * start as Address,
            len,
            ..self
        })
    }

    /// Number of values.
    pub fn len(&self) -> usize {
        self.len
    }

    /// True if there are no values.
    pub fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// Device of the values.
    pub fn device(&self) -> &'a CudaDevice {
        self.device
    }

    /// Address of the first value.
    pub(crate) fn address(&self) -> Address {
        self.address
    }

    /// Checks the number of values.
    pub(crate) fn expect(
        &self,
        op: &'static str,
        argument: &'static str,
        expected: usize,
    ) -> Result<Address> {
        match self.len == expected {
            true => Ok(self.address),
            false => Err(Error::Length {
                op,
                argument,
                expected,
                found: self.len,
            }),
        }
    }
}

fn on_device<'a>(op: &'static str, storage: &'a Storage) -> Result<&'a CudaStorage> {
    match storage {
        Storage::Cuda(storage) => Ok(storage),
        _ => {
            let message = "an argument is not on the CUDA device: move it there".to_string();
            Err(Error::Argument { op, message })
        }
    }
}

/// Address of the first value of a slice.
///
/// The guard that cudarc returns beside it records an event, for devices that track events over several streams. All work here is queued on
/// the stream of the device, so that its order is that of the calls.
pub(crate) fn address<T>(slice: &CudaSlice<T>) -> Address {
    slice.device_ptr(slice.stream()).0
}

/// Runs `f` with the address of a tensor's floats.
pub(crate) fn with_floats<R>(
    op: &'static str,
    tensor: &Tensor,
    f: impl FnOnce(View) -> Result<R>,
) -> Result<R> {
    let (storage, layout) = tensor.storage_and_layout();
    f(View::locked(op, &storage, layout)?)
}
