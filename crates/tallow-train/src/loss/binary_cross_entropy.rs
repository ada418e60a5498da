use candle_core::Tensor;

use super::{Loss, Target};
use crate::error::Result;

/// Binary cross entropy of each output's sigmoid, as
/// [`torch.nn.BCEWithLogitsLoss`](https://docs.pytorch.org/docs/stable/generated/torch.nn.BCEWithLogitsLoss.html): the mean over all
/// `N x K` outputs. For every kind of target; class indices become one-hot rows.
///
/// Not available in recipes, where the classes are mutually exclusive.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct BinaryCrossEntropy;

impl Loss for BinaryCrossEntropy {
    fn loss(&self, logits: &Tensor, target: &Target) -> Result<Tensor> {
        let target = target.probabilities(logits.dim(1)?)?;
        let target = target.to_dtype(logits.dtype())?;
        // max(x, 0) - x t + ln(1 + exp(-|x|)) does not overflow for large |x|.
        let rest = (logits.abs()?.neg()?.exp()? + 1.0)?.log()?;
        Ok(((logits.relu()? - (logits * target)?)? + rest)?.mean_all()?)
    }
}
