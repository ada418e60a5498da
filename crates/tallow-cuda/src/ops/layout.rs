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
    let y = engine.uninit::<f32>(x.len())?;
    let call = calls::transpose(from, y.address(), count, rows as u32, columns as u32);
    // SAFETY: input and output have as many floats as are counted.
    unsafe { engine.launch(&call)? };
    Ok(engine.storage(y))
}
