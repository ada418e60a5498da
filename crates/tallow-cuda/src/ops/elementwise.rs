//! Element-wise operators, on floats or `bf16`.

use candle_core::CudaStorage;

use super::counted;
use crate::call::{Address, Call, Numbers};
use crate::calls::elementwise as calls;
use crate::engine::Engine;
use crate::error::Result;
use crate::view::View;

/// Launch of two inputs.
type Two = fn(Numbers, Address, Address, Address, u32) -> Call;

/// `relu(x)`.
pub fn relu(x: View) -> Result<CudaStorage> {
    let engine = Engine::of(x.device())?;
    let count = counted("relu", x.len())?;
    let y = engine.values(x.kind(), x.len())?;
    let call = calls::relu(x.kind(), x.address(), y.address(), count);
    // SAFETY: input and output have as many numbers of the type as are counted.
    unsafe { engine.launch(&call)? };
    Ok(engine.storage_of(y))
}

/// Gradient of a ReLU, from its output `y`.
pub fn relu_gradient(y: View, grad: View) -> Result<CudaStorage> {
    two("relu", calls::relu_gradient, y, grad)
}

/// `x + y`.
pub fn add(x: View, y: View) -> Result<CudaStorage> {
    two("add", calls::add, x, y)
}

/// `relu(x + y)`.
pub fn add_relu(x: View, y: View) -> Result<CudaStorage> {
    two("add_relu", calls::add_relu, x, y)
}

fn two(op: &'static str, call: Two, a: View, b: View) -> Result<CudaStorage> {
    let engine = Engine::of(a.device())?;
    let (numbers, count) = (a.kind(), counted(op, a.len())?);
    b.expect_kind(op, "the second argument", numbers)?;
    let b = b.expect(op, "the second argument", a.len())?;
    let out = engine.values(numbers, a.len())?;
    let call = call(numbers, a.address(), b, out.address(), count);
    // SAFETY: inputs and output have as many numbers of the type as are counted.
    unsafe { engine.launch(&call)? };
    Ok(engine.storage_of(out))
}
