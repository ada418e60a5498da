//! The operators on a device: views of tensors in, new storages out.
//!
//! Every function queues its work on the stream of the device and returns at once.

pub mod conv;
pub mod convert;
pub mod dropout;
pub mod elementwise;
pub mod images;
pub mod layout;
pub mod linear;
pub mod loss;
pub mod norm;
pub mod optimizer;
pub mod pool;
mod product;
pub mod rows;

use candle_core::CudaDevice;

use crate::call::count;
use crate::engine::Engine;
use crate::error::{Error, Result};

/// Number of elements as the kernels count them.
fn counted(op: &'static str, elements: usize) -> Result<u32> {
    match count(elements) {
        Some(count) if count > 0 => Ok(count),
        _ => Err(Error::Size { op, elements }),
    }
}

/// Waits until all that was queued on a device is done.
///
/// # Errors
/// Errors of work that was queued before, too.
pub fn synchronize(device: &CudaDevice) -> Result<()> {
    let engine = Engine::of(device)?;
    crate::error::driver("cuStreamSynchronize", engine.stream().synchronize())
}
