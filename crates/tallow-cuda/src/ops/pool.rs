//! Pooling.

use candle_core::CudaStorage;

use super::counted;
use crate::calls::pool as calls;
pub use crate::calls::pool::{Axis, Divisor, Windows};
use crate::engine::{Engine, Memory};
use crate::error::Result;
use crate::view::View;

/// Positions of the maxima in their input planes, for the backward pass.
pub struct Winners(Memory<u32>);

/// Maxima, and their positions.
pub fn max(x: View, windows: &Windows) -> Result<(CudaStorage, Winners)> {
    const OP: &str = "max_pool2d";
    let engine = Engine::of(x.device())?;
    x.expect_kind(OP, "the input", windows.numbers)?;
    let from = x.expect(OP, "the input", windows.inputs())?;
    counted(OP, x.len())?;
    let outputs = windows.outputs();
    counted(OP, outputs)?;
    let (y, winner) = (
        engine.values(windows.numbers, outputs)?,
        engine.uninit(outputs)?,
    );
    let call = calls::max(from, y.address(), winner.address(), windows);
    // SAFETY: the input has the numbers of the windows' inputs, and the outputs those of their outputs.
    unsafe { engine.launch(&call)? };
    Ok((engine.storage_of(y), Winners(winner)))
}

/// Gradient of the input of a maximum pooling.
pub fn max_gradient(grad: View, winners: &Winners, windows: &Windows) -> Result<CudaStorage> {
    const OP: &str = "max_pool2d";
    let engine = Engine::of(grad.device())?;
    grad.expect_kind(OP, "the gradient", windows.numbers)?;
    let from = grad.expect(OP, "the gradient", winners.0.len())?;
    let inputs = windows.inputs();
    counted(OP, inputs)?;
    let dx = engine.values(windows.numbers, inputs)?;
    let call = calls::max_gradient(from, winners.0.address(), dx.address(), windows);
    // SAFETY: gradient and positions are those of a forward pass with these windows.
    unsafe { engine.launch(&call)? };
    Ok(engine.storage_of(dx))
}

/// Averages.
pub fn average(x: View, windows: &Windows, divisor: Divisor) -> Result<CudaStorage> {
    const OP: &str = "avg_pool2d";
    let engine = Engine::of(x.device())?;
    x.expect_kind(OP, "the input", windows.numbers)?;
    let from = x.expect(OP, "the input", windows.inputs())?;
    counted(OP, x.len())?;
    let outputs = windows.outputs();
    counted(OP, outputs)?;
    let y = engine.values(windows.numbers, outputs)?;
    let call = calls::average(from, y.address(), windows, divisor);
    // SAFETY: the input has the numbers of the windows' inputs, and the output those of their outputs.
    unsafe { engine.launch(&call)? };
    Ok(engine.storage_of(y))
}

/// Gradient of the input of an average pooling.
pub fn average_gradient(grad: View, windows: &Windows, divisor: Divisor) -> Result<CudaStorage> {
    const OP: &str = "avg_pool2d";
    let engine = Engine::of(grad.device())?;
    grad.expect_kind(OP, "the gradient", windows.numbers)?;
    let from = grad.expect(OP, "the gradient", windows.outputs())?;
    let inputs = windows.inputs();
    counted(OP, inputs)?;
    let dx = engine.values(windows.numbers, inputs)?;
    let call = calls::average_gradient(from, dx.address(), windows, divisor);
    // SAFETY: the gradient has the numbers of the windows' outputs, and the result those of their inputs.
    unsafe { engine.launch(&call)? };
    Ok(engine.storage_of(dx))
}
