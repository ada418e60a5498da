//! Gradient norms of each parameter.

use serde::{Deserialize, Serialize};
use tallow_record::GradientRow;

use crate::callback::{BeforeStep, CONTINUE, Callback, FitStart, Flow};
use crate::error::{Error, Result};
use crate::parts::PartState;

/// Callback that measures the L2 norm of the gradient of each parameter: at the first step, and averaged over the last
/// steps of each epoch. A checkpoint contains the rows.
///
/// ```
/// let mut norms = tallow_train::GradientNorms::over(10);
/// // Trainer::new(config).with_callback(&mut norms).fit(...)
/// assert!(norms.rows().is_empty());
/// ```
pub struct GradientNorms {
    window: usize,
    measured: Measured,
}

#[derive(Default, Serialize, Deserialize)]
struct Measured {
    rows: Vec<GradientRow>,
    /// Sum over the steps of this epoch's window so far, and their number.
    sum: Option<(GradientRow, usize)>,
}

impl GradientNorms {
    /// Gradient norms averaged over the last `window` steps of each epoch, at least 1; over all steps of a shorter epoch.
    pub fn over(window: usize) -> Self {
        Self {
            window: window.max(1),
            measured: Measured::default(),
        }
    }

    /// Row of the first step, then one per epoch.
    pub fn rows(&self) -> &[GradientRow] {
        &self.measured.rows
    }
}

impl Callback for GradientNorms {
    fn on_fit_start(&mut self, _fit: &FitStart) -> Flow {
        self.measured = Measured::default();
        CONTINUE
    }

    fn state_key(&self) -> Option<&str> {
        Some("gradient-norms")
    }

    fn state_dict(&self) -> Result<PartState> {
        PartState::of_values(&self.measured)
    }

    fn load_state_dict(&mut self, state: PartState) -> Result<()> {
        self.measured = state.read_values()?;
        Ok(())
    }

    fn on_before_optimizer_step(&mut self, at: &mut BeforeStep) -> Result<()> {
        let first = at.epoch == 0 && at.step == 0;
        let in_window = at.step + self.window >= at.steps;
        if !first && !in_window {
            return Ok(());
        }
        let row = measure(at)?;
        if first {
            self.measured.rows.push(row.clone());
        }
        if !in_window {
            return Ok(());
        }
        let sum = match self.measured.sum.take() {
            Some((sum, steps)) => (add(sum, &row)?, steps + 1),
            None => (row, 1),
        };
        if at.step + 1 == at.steps {
            self.measured.rows.push(mean(sum.0, sum.1));
        } else {
            self.measured.sum = Some(sum);
        }
        Ok(())
    }
}

fn measure(at: &BeforeStep) -> Result<GradientRow> {
    let mut norms = Vec::new();
    let mut square = 0.0;
    for (name, var) in at.store.parameters() {
        if let Some(grad) = at.grads.get(var.as_tensor()) {
            let grad = grad.to_dtype(candle_core::DType::F64)?;
            let sum = grad.sqr()?.sum_all()?.to_scalar::<f64>()?;
            square += sum;
            norms.push((name.clone(), sum.sqrt()));
        }
    }
    Ok(GradientRow {
        epoch: at.epoch,
        step: at.step,
        steps: Some(1),
        total: square.sqrt(),
        norms,
    })
}

fn add(mut sum: GradientRow, row: &GradientRow) -> Result<GradientRow> {
    if sum.norms.len() != row.norms.len() {
        let message = "the parameters that have gradients changed between two steps";
        return Err(Error::config("gradient norms", message));
    }
    for ((_, total), (_, norm)) in sum.norms.iter_mut().zip(&row.norms) {
        *total += norm;
    }
    sum.total += row.total;
    sum.step = row.step;
    Ok(sum)
}

fn mean(mut sum: GradientRow, count: usize) -> GradientRow {
    let steps = count as f64;
    sum.steps = Some(count);
    sum.total /= steps;
    for (_, norm) in &mut sum.norms {
        *norm /= steps;
    }
    sum
}
