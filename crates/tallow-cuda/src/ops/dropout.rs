//! Dropout.

use candle_core::CudaStorage;

use super::counted;
use crate::calls::dropout as calls;
pub use crate::calls::dropout::Mask;
use crate::engine::Engine;
use crate::error::Result;
use crate::view::View;

/// `x` times the mask; of a gradient too.
pub fn dropout(x: View, mask: &Mask) -> Result<CudaStorage> {
    let engine = Engine::of(x.device())?;
    let count = counted("dropout", x.len())?;
    let y = engine.values(x.kind(), x.len())?;
    // In a graph the mask is that of the launch, not that of the recording.
    let moved = engine.recordings().now().unwrap_or(0);
    let call = calls::dropout(x.kind(), x.address(), y.address(), count, mask, moved);
    // SAFETY: input and output have as many numbers of the type as are counted; the number at `moved` lives as long as the graph.
    unsafe { engine.launch(&call)? };
    Ok(engine.storage_of(y))
}
