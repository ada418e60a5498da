//! Values in the memory of a device.

use candle_core::backend::BackendStorage;
use candle_core::cuda_backend::cudarc::driver::{CudaSlice, DevicePtr, DeviceRepr};
use candle_core::cuda_backend::{CudaDType, CudaStorage};
use candle_core::{CudaDevice, DType, Layout, Storage, Tensor};
use half::bf16;

use crate::call::{Address, Numbers};
use crate::error::{Error, Result};

/// Contiguous values of a tensor on a device.
#[derive(Clone, Copy)]
pub struct View<'a> {
    address: Address,
    len: usize,
    /// Bytes of a value.
    bytes: usize,
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

    /// Floats or `bf16` of a storage.
    ///
    /// # Errors
    /// If the values are not contiguous, or neither.
    pub fn numbers(op: &'static str, storage: &'a CudaStorage, layout: &Layout) -> Result<Self> {
        match storage.dtype() {
            DType::BF16 => Self::of::<bf16>(op, storage, layout),
            _ => Self::of::<f32>(op, storage, layout),
        }
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

    /// Floats or `bf16` of a storage whose lock is held.
    ///
    /// # Errors
    /// As [`View::numbers`], and if the storage is on another device.
    pub fn locked_numbers(op: &'static str, storage: &'a Storage, layout: &Layout) -> Result<Self> {
        Self::numbers(op, on_device(op, storage)?, layout)
    }

    /// Unsigned 32-bit integers of a storage whose lock is held.
    ///
    /// # Errors
    /// As [`View::words`], and if the storage is on another device.
    pub fn locked_words(op: &'static str, storage: &'a Storage, layout: &Layout) -> Result<Self> {
        Self::words(op, on_device(op, storage)?, layout)
    }

    /// Signed 64-bit integers of a storage whose lock is held.
    ///
    /// # Errors
    /// If the values are not contiguous, or not `i64`, or the storage is on another device.
    pub fn locked_counters(
        op: &'static str,
        storage: &'a Storage,
        layout: &Layout,
    ) -> Result<Self> {
        Self::of::<i64>(op, on_device(op, storage)?, layout)
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
            bytes: size_of::<T>(),
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
            address: self.address + (self.bytes * start) as Address,
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

    /// Type of the values, which are numbers.
    pub fn kind(&self) -> Numbers {
        match self.bytes {
            2 => Numbers::Bf16,
            _ => Numbers::F32,
        }
    }

    /// Device of the values.
    pub fn device(&self) -> &'a CudaDevice {
        self.device
    }

    /// Address of the first value.
    pub(crate) fn address(&self) -> Address {
        self.address
    }

    /// The values, if they are on the device of others.
    pub(crate) fn beside(
        self,
        op: &'static str,
        argument: &'static str,
        other: &View,
    ) -> Result<Self> {
        if self.device.id() == other.device.id() {
            return Ok(self);
        }
        let message = format!("{argument} is on another device than the input: move it there");
        Err(Error::Argument { op, message })
    }

    /// Checks the type of the values.
    pub(crate) fn expect_kind(
        &self,
        op: &'static str,
        argument: &'static str,
        expected: Numbers,
    ) -> Result<()> {
        if self.kind() == expected {
            return Ok(());
        }
        let message = format!("{argument} is {:?}, expected {expected:?}", self.kind());
        Err(Error::Argument { op, message })
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
