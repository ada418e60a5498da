//! Order of the axes, and shortcuts without parameters.

use candle_core::CudaStorage;

use super::counted;
use crate::call::{Address, Call};
use crate::calls::layout as calls;
pub use crate::calls::layout::Shortcut;
use crate::engine::Engine;
use crate::error::{Error, Result};
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

/// Every `stride`-th pixel, with channels of zeros around its own.
pub fn shortcut(x: View, s: &Shortcut) -> Result<CudaStorage> {
    part_of(x, s, "the input", s.inputs(), s.outputs(), calls::shortcut)
}

/// Gradient of the input of [`shortcut`].
pub fn shortcut_gradient(grad: View, s: &Shortcut) -> Result<CudaStorage> {
    part_of(
        grad,
        s,
        "the gradient",
        s.outputs(),
        s.inputs(),
        calls::shortcut_gradient,
    )
}

fn part_of(
    view: View,
    s: &Shortcut,
    argument: &'static str,
    from: usize,
    to: usize,
    call: fn(Address, Address, &Shortcut) -> Call,
) -> Result<CudaStorage> {
    const OP: &str = "shortcut";
    let engine = Engine::of(view.device())?;
    view.expect_kind(OP, argument, s.numbers)?;
    let at = view.expect(OP, argument, from)?;
    counted(OP, from)?;
    counted(OP, to)?;
    if s.stride == 0 || s.outputs < s.channels {
        let message =
            format!("expected a stride above 0 and no fewer channels than before, found {s:?}");
        return Err(Error::Argument { op: OP, message });
    }
    let out = engine.values(s.numbers, to)?;
    let call = call(at, out.address(), s);
    // SAFETY: both have as many numbers of the type as the sizes say.
    unsafe { engine.launch(&call)? };
    Ok(engine.storage_of(out))
}
