use candle_core::Tensor;
use tallow_ops::CrossEntropyConfig;

use super::{Loss, Target};
use crate::error::{Error, Result};

/// Cross entropy of logits, as [`torch.nn.CrossEntropyLoss`](https://docs.pytorch.org/docs/stable/generated/torch.nn.CrossEntropyLoss.html):
/// for class indices and soft labels.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct CrossEntropy {
    /// Share of each target that is spread over all classes, in `[0, 1]`; 0 by default.
    pub label_smoothing: f64,
}

impl Loss for CrossEntropy {
    fn loss(&self, logits: &Tensor, target: &Target) -> Result<Tensor> {
        cross_entropy("cross entropy", logits, target, self.label_smoothing)
    }
}

/// Cross entropy of probabilities in place of logits: a softmax layer before a loss that computes the softmax itself.
///
/// A common mistake, provided to show its cost. The loss cannot fall below `ln(1 + (K - 1) / e)`. For class indices and soft labels.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct SoftmaxCrossEntropy {
    /// Share of each target that is spread over all classes, in `[0, 1]`; 0 by default.
    pub label_smoothing: f64,
}

impl Loss for SoftmaxCrossEntropy {
    fn loss(&self, logits: &Tensor, target: &Target) -> Result<Tensor> {
        let probabilities = candle_nn::ops::softmax(logits, 1)?;
        let name = "softmax cross entropy";
        cross_entropy(name, &probabilities, target, self.label_smoothing)
    }
}

fn cross_entropy(
    loss: &'static str,
    logits: &Tensor,
    target: &Target,
    label_smoothing: f64,
) -> Result<Tensor> {
    match target {
        Target::Classes(labels) => {
            let config = CrossEntropyConfig { label_smoothing };
            Ok(tallow_ops::cross_entropy(logits, labels, &config)?)
        }
        Target::Soft(probabilities) => {
            let mut probabilities = probabilities.to_dtype(logits.dtype())?;
            if label_smoothing > 0.0 {
                let each = label_smoothing / logits.dim(1)? as f64;
                probabilities = probabilities.affine(1.0 - label_smoothing, each)?;
            }
            Ok(tallow_ops::cross_entropy_soft(logits, &probabilities)?)
        }
        Target::MultiLabel(_) => {
            let target = target.kind();
            Err(Error::Target { loss, target })
        }
    }
}
