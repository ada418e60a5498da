//! Gradients before the bias of a linear layer.

use candle_core::CudaStorage;

use super::{counted, elementwise, norm};
use crate::call::Numbers;
use crate::calls::rows::{self as calls, MOST_ROWS};
use crate::engine::{Engine, Memory};
use crate::error::{Error, Result};
use crate::view::View;

const OP: &str = "linear";

/// Gradient before a ReLU, if `out` is its output, and its sums over the rows, if they are asked for: the gradient of the bias. `grad` has `columns`
/// columns of floats.
pub fn gradient(
    out: Option<View>,
    grad: View,
    columns: usize,
    sums: bool,
) -> Result<(Option<CudaStorage>, Option<CudaStorage>)> {
    if out.is_none() && !sums {
        return Ok((None, None));
    }
    counted(OP, grad.len())?;
    grad.expect_kind(OP, "the gradient", Numbers::F32)?;
    if columns == 0 || !grad.len().is_multiple_of(columns) {
        return Err(Error::Length {
            op: OP,
            argument: "the gradient",
            expected: grad.len().next_multiple_of(columns.max(1)),
            found: grad.len(),
        });
    }
    let rows = grad.len() / columns;
    if rows > MOST_ROWS {
        return of_many(out, grad, columns, sums);
    }
    let engine = Engine::of(grad.device())?;
    let out = match out {
        Some(out) => {
            out.expect_kind(OP, "the output", Numbers::F32)?;
            out.expect(OP, "the output", grad.len())?
        }
        None => 0,
    };
    let masked = match out {
        0 => None,
        _ => Some(engine.uninit::<f32>(grad.len())?),
    };
    let sums = match sums {
        true => Some(engine.uninit::<f32>(columns)?),
        false => None,
    };
    let at = |memory: &Option<Memory<f32>>| memory.as_ref().map_or(0, Memory::address);
    let sizes = (rows as u32, columns as u32);
    let call = calls::gradient(out, grad.address(), at(&masked), at(&sums), sizes);
    // SAFETY: output and gradients have as many floats as the sizes say, and the sums one a column.
    unsafe { engine.launch(&call)? };
    let storage = |memory: Option<Memory<f32>>| memory.map(|memory| engine.storage(memory));
    Ok((storage(masked), storage(sums)))
}

/// The same for more rows than a block takes.
fn of_many(
    out: Option<View>,
    grad: View,
    columns: usize,
    sums: bool,
) -> Result<(Option<CudaStorage>, Option<CudaStorage>)> {
    let Some(out) = out else {
        return Ok((None, Some(norm::bias_gradient(grad, columns)?)));
    };
    let sums = match sums {
        true => Some(norm::relu_bias_gradient(out, grad, columns)?),
        false => None,
    };
    Ok((Some(elementwise::relu_gradient(out, grad)?), sums))
}
