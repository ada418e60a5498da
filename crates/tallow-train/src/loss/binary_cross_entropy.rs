use candle_core::Tensor;

use super::cross_entropy::class_weights;
use super::{Loss, Target};
use crate::error::Result;

/// Binary cross entropy of each output's sigmoid, as
/// [`torch.nn.BCEWithLogitsLoss`](https://docs.pytorch.org/docs/stable/generated/torch.nn.BCEWithLogitsLoss.html): the mean over all
/// `N x K` outputs. For every kind of target; class indices become one-hot rows, one class against all others.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct BinaryCrossEntropy {
    /// Weight of each class `(K)` where it is present; 1 by default.
    pub pos_weight: Option<Vec<f64>>,
}

impl Loss for BinaryCrossEntropy {
    fn loss(&self, logits: &Tensor, target: &Target) -> Result<Tensor> {
        let target = target.probabilities(logits.dim(1)?)?;
        let target = target.to_dtype(logits.dtype())?;
        let pos_weight = self.pos_weight.as_ref();
        let pos_weight = pos_weight.map(|weight| class_weights("loss.pos_weight", weight, logits));
        let pos_weight = pos_weight.transpose()?;
        Ok(elementwise(logits, &target, pos_weight.as_ref())?.mean_all()?)
    }
}

/// Binary cross entropy of each output `(N, K)`.
pub(super) fn elementwise(
    logits: &Tensor,
    target: &Tensor,
    pos_weight: Option<&Tensor>,
) -> Result<Tensor> {
    // max(x, 0) - x t + ln(1 + exp(-|x|)) does not overflow for large |x|.
    let rest = (logits.abs()?.neg()?.exp()? + 1.0)?.log()?;
    let Some(pos_weight) = pos_weight else {
        return Ok(((logits.relu()? - (logits * target)?)? + rest)?);
    };
    // (1 - t) x + (1 + (w - 1) t) (max(-x, 0) + ln(1 + exp(-|x|))).
    let weight = (target.broadcast_mul(&(pos_weight - 1.0)?)? + 1.0)?;
    // max(-x, 0) as max(x, 0) - x: the derivatives of candle's relu and abs at 0 cancel only in this form.
    let softplus = (rest + (logits.relu()? - logits)?)?;
    Ok(((logits * target.affine(-1.0, 1.0)?)? + (weight * softplus)?)?)
}
