//! Losses and gradients that are not finite.

use candle_core::{DType, Tensor, Var};
use serde::{Deserialize, Serialize};
use tallow_ops::ParamStore;

use crate::copies::Copies;
use crate::elements::all_finite;
use crate::error::{Error, Result};
use crate::parts::PartState;
use crate::step::StepOutput;

/// Check of each step's loss and gradients before the optimizer uses them.
///
/// On the CPU every step is checked. On other devices a check waits for all work before it, so that there only runs that may skip steps
/// are checked; in the others the loss is read every few steps.
pub(crate) struct FiniteCheck {
    /// Steps in a row that may be skipped.
    allowed: usize,
    skipped: Skipped,
    /// Buffers before the step, if it may be skipped.
    before: Option<Copies>,
}

#[derive(Clone, Copy, Debug, Default, Serialize, Deserialize)]
struct Skipped {
    in_a_row: usize,
}

impl FiniteCheck {
    /// Check that skips at most `allowed` steps in a row.
    pub fn new(allowed: usize) -> Self {
        Self {
            allowed,
            skipped: Skipped::default(),
            before: None,
        }
    }

    /// Before a step: keeps what a step that is skipped must not change besides the parameters.
    pub fn before_step(&mut self, store: &ParamStore) -> Result<()> {
        if self.allowed > 0 {
            self.before = Some(Copies::of(store.buffers())?);
        }
        Ok(())
    }

    /// Whether the optimizer may use the gradients. A step that is skipped is undone: buffers are set back.
    ///
    /// # Errors
    /// [`Error::NonFiniteLoss`] or [`Error::NonFiniteGradient`] when no step may be skipped, or too many were in a row.
    pub fn passes(
        &mut self,
        (epoch, step): (usize, usize),
        output: &StepOutput,
        images: &Tensor,
        parameters: &[(String, Var)],
    ) -> Result<bool> {
        if self.allowed == 0 && !images.device().is_cpu() {
            return Ok(true);
        }
        let Some(error) = find((epoch, step), output, images, parameters)? else {
            self.skipped.in_a_row = 0;
            return Ok(true);
        };
        if self.skipped.in_a_row >= self.allowed {
            return Err(error);
        }
        self.skipped.in_a_row += 1;
        if let Some(before) = &self.before {
            before.restore()?;
        }
        tracing::warn!(
            "step skipped, {} in a row of at most {}: {error}",
            self.skipped.in_a_row,
            self.allowed
        );
        Ok(false)
    }

    /// State for a checkpoint; `None` where no step may be skipped.
    pub fn state(&self) -> Option<Result<PartState>> {
        (self.allowed > 0).then(|| PartState::of_values(&self.skipped))
    }

    /// Restores a state from [`state`](Self::state).
    pub fn load(&mut self, state: &PartState) -> Result<()> {
        self.skipped = state.read_values()?;
        Ok(())
    }
}

/// Error for a step whose loss or gradients are not finite.
fn find(
    (epoch, step): (usize, usize),
    output: &StepOutput,
    images: &Tensor,
    parameters: &[(String, Var)],
) -> Result<Option<Error>> {
    let loss = output.loss.to_dtype(DType::F64)?.to_scalar::<f64>()?;
    if !loss.is_finite() {
        let mut names = Vec::new();
        if !all_finite(images)? {
            names.push("images".to_string());
        }
        for (name, var) in parameters {
            if !all_finite(&var.as_detached_tensor())? {
                names.push(name.clone());
            }
        }
        return Ok(Some(Error::NonFiniteLoss {
            epoch,
            step,
            loss,
            names,
        }));
    }
    let mut names = Vec::new();
    for (name, var) in parameters {
        if let Some(grad) = output.grads.get(var)
            && !all_finite(grad)?
        {
            names.push(name.clone());
        }
    }
    Ok(match names.is_empty() {
        true => None,
        false => Some(Error::NonFiniteGradient { epoch, step, names }),
    })
}
