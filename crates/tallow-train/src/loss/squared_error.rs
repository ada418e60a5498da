use candle_core::Tensor;

use super::{Loss, Target};
use crate::error::Result;

/// Mean squared error, as [`torch.nn.MSELoss`](https://docs.pytorch.org/docs/stable/generated/torch.nn.MSELoss.html): the mean over
/// all `N x K` outputs. For every kind of target; class indices become one-hot rows.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct SquaredError {
    /// Target of a class that is present; 1 by default.
    pub on: f64,
    /// Target of a class that is absent; 0 by default, -1 for networks that end in tanh.
    pub off: f64,
}

impl Default for SquaredError {
    fn default() -> Self {
        Self { on: 1.0, off: 0.0 }
    }
}

impl Loss for SquaredError {
    fn loss(&self, logits: &Tensor, target: &Target) -> Result<Tensor> {
        let targets = target.probabilities(logits.dim(1)?)?;
        let targets = targets.affine(self.on - self.off, self.off)?;
        let targets = targets.to_dtype(logits.dtype())?;
        Ok((logits - targets)?.sqr()?.mean_all()?)
    }
}
