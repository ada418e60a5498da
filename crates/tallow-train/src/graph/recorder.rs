//! Recorder of steps, for a device.

use candle_core::backprop::GradStore;
use candle_core::{Tensor, TensorId, Var};
use tallow_ops::ParamStore;

use crate::error::Result;
use crate::step::StepOutput;

/// Launch of a recorded step, whose masks of dropout begin so many words behind those of the recording.
pub(crate) type Launch = Box<dyn FnMut(u64) -> Result<()>>;

/// Device that records steps.
pub(crate) trait Recorder {
    /// Runs a step of the kind that is recorded later.
    fn warm_up(&mut self, step: &mut dyn FnMut() -> Result<StepOutput>) -> Result<StepOutput>;

    /// Records a step and launches it once, so that all is as if it had run. A launch writes to the tensors of the result.
    ///
    /// # Errors
    /// The reason for which it cannot be recorded. Nothing but the generator of the host has changed then.
    fn record(&mut self, step: &mut dyn FnMut() -> Result<Kept>) -> Result<(Kept, Launch)>;
}

/// Tensors of an output, which each launch writes anew.
pub(crate) struct Kept {
    pub loss: Tensor,
    pub logits: Tensor,
    pub gradients: Vec<(TensorId, Tensor)>,
}

impl Kept {
    /// Tensors of `output` without its graph of operators. Of the gradients those of the parameters: candle's backward pass leaves some of
    /// constants too, such as targets, which are other tensors in each step.
    pub fn of(output: &StepOutput, store: &ParamStore) -> Self {
        let parameters = store.parameters().into_iter();
        let gradient = |(_, var): (String, Var)| {
            let gradient = output.grads.get(&var)?;
            Some((var.id(), gradient.detach()))
        };
        Self {
            loss: output.loss.detach(),
            logits: output.logits.detach(),
            gradients: parameters.filter_map(gradient).collect(),
        }
    }

    /// Output of the last launch.
    pub fn output(&self) -> StepOutput {
        let mut grads = GradStore::default();
        for (id, gradient) in &self.gradients {
            grads.insert_id(*id, gradient.clone());
        }
        StepOutput {
            loss: self.loss.clone(),
            logits: self.logits.clone(),
            grads,
        }
    }
}
