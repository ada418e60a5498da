//! How large the gradients are, layer by layer.

use serde::{Deserialize, Serialize};

use crate::callback::{BeforeStep, CONTINUE, Callback, FitStart, Flow};
use crate::{Error, Result};

/// Measures the L2 norm of every parameter's gradient at the first step, before anything was learnt, and over the
/// last steps of each epoch.
///
/// ```
/// let mut norms = tallow_train::GradientNorms::over(10);
/// // Trainer::new(config).with_callback(&mut norms).fit(...)
/// assert!(norms.rows().is_empty());
/// ```
pub struct GradientNorms {
    window: usize,
    rows: Vec<GradientRow>,
    /// Of the steps of this epoch's window so far.
    sum: Option<GradientRow>,
}

/// Norms of the gradients, averaged over some steps that follow each other.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct GradientRow {
    /// From 0.
    pub epoch: usize,
    /// The last of the steps, within the epoch, from 0.
    pub step: usize,
    /// Steps averaged over.
    pub steps: usize,
    /// Mean norm of the gradient by all parameters at once.
    pub total: f64,
    /// Mean norm by each parameter that has a gradient, in the order of the network.
    pub norms: Vec<(String, f64)>,
}

impl GradientNorms {
    /// Averages over the last `window` steps of each epoch (all of them in a shorter one); at least 1.
    pub fn over(window: usize) -> Self {
        Self {
            window: window.max(1),
            rows: Vec::new(),
            sum: None,
        }
    }

    /// The first step's row, then one an epoch.
    pub fn rows(&self) -> &[GradientRow] {
        &self.rows
    }
}

impl Callback for GradientNorms {
    fn on_fit_start(&mut self, _fit: &FitStart) -> Flow {
        self.rows.clear();
        self.sum = None;
        CONTINUE
    }

    fn on_before_optimizer_step(&mut self, at: &mut BeforeStep) -> Result<()> {
        let first = at.epoch == 0 && at.step == 0;
        let in_window = at.step + self.window >= at.steps;
        if !first && !in_window {
            return Ok(());
        }
        let row = measure(at)?;
        if first {
            self.rows.push(row.clone());
        }
        if !in_window {
            return Ok(());
        }
        let sum = match self.sum.take() {
            Some(sum) => add(sum, &row)?,
            None => row,
        };
        if at.step + 1 == at.steps {
            self.rows.push(mean(sum));
        } else {
            self.sum = Some(sum);
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
        steps: 1,
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
    sum.steps += 1;
    sum.step = row.step;
    Ok(sum)
}

fn mean(mut sum: GradientRow) -> GradientRow {
    let steps = sum.steps as f64;
    sum.total /= steps;
    for (_, norm) in &mut sum.norms {
        *norm /= steps;
    }
    sum
}
