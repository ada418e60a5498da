//! Sums over the ranks in the memory of a device.

use std::fmt;

use candle_core::Tensor;

use crate::error::Result;

/// Sums over the ranks in the memory of a device, made beside its other work.
///
/// A sum [begins](Self::begin) in the thread of the trainer, in the middle of a backward pass. The [`DeviceSum`] that it gives is called by
/// another thread meanwhile, each of them in the order in which they began, which is the same on all ranks; [`wait`](Self::wait) after the last
/// one.
///
/// The bits are those of [`Communicator::all_reduce_f32`](crate::Communicator::all_reduce_f32): each element is added in the same binary tree.
pub trait DeviceSums: fmt::Debug + Send + Sync {
    /// Begins a sum of `values`, a vector of `f32` of whose memory nobody else knows: the sums may come to be in it. They are what they will be
    /// when the work is done that this thread has queued on the device.
    ///
    /// # Errors
    /// Those of the device.
    fn begin(&self, values: Tensor) -> Result<DeviceSum>;

    /// Returns when all sums are there.
    ///
    /// # Errors
    /// [`Error::Ranks`](crate::Error::Ranks) when another rank has ended or does not answer in time. The job cannot go on then.
    fn wait(&self) -> Result<()>;

    /// Name and version of what makes the sums.
    fn library(&self) -> String;

    /// Bytes of gradients that are added at a time; 25 MB by default, as PyTorch's `bucket_cap_mb`. All ranks have the same. The sums do not depend
    /// on it.
    fn bucket_bytes(&self) -> usize {
        25 << 20
    }
}

/// Sum over the ranks that has begun. It queues its work, and returns the sums, which are there after [`DeviceSums::wait`].
pub type DeviceSum = Box<dyn FnOnce() -> Result<Tensor> + Send>;
