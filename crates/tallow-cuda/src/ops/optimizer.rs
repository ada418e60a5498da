//! Steps of optimizers.

use candle_core::{Tensor, Var};

use super::counted;
pub use crate::calls::optimizer::Rule;
use crate::calls::optimizer::{self as calls, Entry, step as launch, table};
use crate::engine::Engine;
use crate::error::{Error, Result};
use crate::view::{View, address};

const OP: &str = "optimizer step";

/// Step of one parameter.
#[derive(Clone, Debug)]
pub struct Step {
    /// Parameter, changed in place.
    pub param: Var,
    /// Gradient, contiguous.
    pub grad: Tensor,
    /// State, changed in place: as many tensors as the rule has. Nothing else may share their memory.
    pub state: Vec<Tensor>,
    /// Rule and numbers.
    pub rule: Rule,
}

/// Updates all parameters in one launch. All rules are of one kind.
pub fn step(steps: &[Step]) -> Result<()> {
    let Some(first) = steps.first() else {
        return Ok(());
    };
    let kernel = first.rule.kernel();
    let device = first.param.device().as_cuda_device()?;
    let engine = Engine::of(device)?;
    let mut entries = Vec::with_capacity(steps.len());
    for step in steps {
        let length = step.param.elem_count();
        if step.rule.kernel() != kernel || step.state.len() != step.rule.states() {
            let message = format!(
                "expected the rule of `{kernel}` and {} states, found `{}` and {}",
                step.rule.states(),
                step.rule.kernel(),
                step.state.len()
            );
            return Err(Error::Argument { op: OP, message });
        }
        let at = |tensor: &Tensor, argument: &'static str| {
            let (storage, layout) = tensor.storage_and_layout();
            let view = View::locked(OP, &storage, layout)?;
            if view.device().id() != device.id() {
                let message = format!("{argument} is on another device than the first parameter");
                return Err(Error::Argument { op: OP, message });
            }
            view.expect(OP, argument, length)
        };
        let mut state = [0; 3];
        for (address, tensor) in state.iter_mut().zip(&step.state) {
            *address = at(tensor, "a state")?;
        }
        entries.push(Entry {
            param: at(&step.param, "a parameter")?,
            grad: at(&step.grad, "a gradient")?,
            state,
            length: counted(OP, length)?,
            rule: step.rule,
        });
    }
    let (words, blocks) = table(&entries);
    let table = engine.upload(&words)?;
    let call = launch(kernel, address(&table), entries.len() as u32, blocks);
    // SAFETY: the tensors have as many floats as the entries say, and live as long as `steps`; what is freed later is freed on the same
    // stream. Parameters are variables, which are meant to change, and states belong to the optimizer alone.
    unsafe { engine.launch(&call) }
}

/// Adds 1 to each value of a variable of `i64`, in place.
pub fn increment(counters: &Var) -> Result<()> {
    let engine = Engine::of(counters.device().as_cuda_device()?)?;
    let (storage, layout) = counters.storage_and_layout();
    let view = View::locked_counters("increment", &storage, layout)?;
    let call = calls::increment(view.address(), counted("increment", view.len())?);
    // SAFETY: the variable has as many integers as are counted, and is meant to change.
    unsafe { engine.launch(&call) }
}
