//! Order of the axes.

use candle_core::CudaStorage;

use super::counted;
use crate::calls::layout as calls;
use crate::engine::Engine;
use crate::error::Result;
use crate::view::View;

const OP: &str = "to_layout";

/// `(batch, rows, columns)` to `(batch, columns, rows)`.
pub fn transpose(x: View, (batch, rows, columns): (usize, usize, usize)) -> Result<CudaStorage> {
    let engine = Engine::of(x.device())?;
    let from = x.expect(OP, "the input", batch * rows * columns)?;
    let count = counted(OP, x.len())?;
    let y = engine.values(x.kind(), x.len())?;
    let sizes = (rows as u32, columns as u32);
    let call = calls::transpose(x.kind(), from, y.address(), count, sizes);
    // SAFETY: input and output have as many numbers of the type as are counted.
    unsafe { engine.launch(&call)? };
    Ok(engine.storage_of(y))
}
