//! Scratch memory of libraries.

use candle_core::CudaDevice;
use candle_core::cuda_backend::cudarc::driver::CudaSlice;

use crate::call::Address;
use crate::error::{Error, Result};
use crate::recordings::Recordings;
use crate::view::address;

/// Scratch memory of a library on one device, as large as the largest use has asked for.
pub(crate) struct Workspace {
    recordings: Recordings,
    /// The last one is in use. Those before it are kept where a CUDA graph may have their addresses.
    memory: Vec<CudaSlice<u8>>,
}

impl Workspace {
    /// No memory yet, on a device with these recordings.
    pub(crate) fn new(recordings: &Recordings) -> Self {
        Self {
            recordings: recordings.clone(),
            memory: Vec::new(),
        }
    }

    /// Address of at least `bytes`; 0 if none are needed. What is there is not initialized, and used by one call after another on the stream of
    /// the device.
    ///
    /// # Errors
    /// If there is no memory, or it would grow while a graph is recorded: a graph may use only what outlives it.
    pub(crate) fn at_least(&mut self, device: &CudaDevice, bytes: usize) -> Result<Address> {
        if bytes == 0 {
            return Ok(0);
        }
        if self.memory.last().is_none_or(|last| last.len() < bytes) {
            if self.recordings.now().is_some() {
                return Err(Error::Graph(format!(
                    "a library needs {bytes} bytes of scratch memory, more than in the steps before"
                )));
            }
            if !self.recordings.any() {
                // The old one is freed on the stream, after the calls that use it.
                self.memory.clear();
            }
            // SAFETY: scratch memory, which the libraries write before they read it.
            self.memory.push(unsafe { device.alloc::<u8>(bytes)? });
        }
        Ok(self.memory.last().map_or(0, address))
    }
}
