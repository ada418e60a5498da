//! Statistics of each parameter's gradient.

use candle_core::{DType, Device};
use tallow_record::{StatisticsRow, TensorStatistics};

use crate::callback::{BeforeStep, CONTINUE, Callback, FitStart, Flow};
use crate::error::Result;

/// Callback that measures mean, standard deviation, range and share of zeros of the gradient of each parameter at the last step of each
/// epoch, before clipping.
///
/// ```
/// let mut statistics = tallow_train::GradientStatistics::default();
/// // Trainer::new(config).with_callback(&mut statistics).fit(...)
/// assert!(statistics.rows().is_empty());
/// ```
#[derive(Default)]
pub struct GradientStatistics {
    rows: Vec<StatisticsRow>,
}

impl GradientStatistics {
    /// A row for each epoch since the run was started or resumed, without activations.
    pub fn rows(&self) -> &[StatisticsRow] {
        &self.rows
    }
}

impl Callback for GradientStatistics {
    fn on_fit_start(&mut self, _fit: &FitStart) -> Flow {
        self.rows.clear();
        CONTINUE
    }

    fn on_before_optimizer_step(&mut self, at: &mut BeforeStep) -> Result<()> {
        if at.step + 1 != at.steps {
            return Ok(());
        }
        let mut row = StatisticsRow {
            epoch: at.epoch,
            ..StatisticsRow::default()
        };
        for (name, var) in at.store.parameters() {
            if let Some(grad) = at.grads.get(&var) {
                let grad = grad.detach().to_device(&Device::Cpu)?;
                let values = grad.to_dtype(DType::F32)?.flatten_all()?.to_vec1::<f32>()?;
                row.gradients.push((name, TensorStatistics::of(&values)));
            }
        }
        self.rows.push(row);
        Ok(())
    }
}
