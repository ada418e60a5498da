use candle_core::{D, Tensor};

use super::binary_cross_entropy::elementwise;
use super::cross_entropy::{class_weights, unsupported};
use super::{Loss, Target};
use crate::error::Result;

/// Focal loss of the softmax (Lin et al. 2017, arXiv 1708.02002, for mutually exclusive classes): the mean over the samples of
/// `-w_y (1 - p_y)^gamma ln p_y` for the label `y`. Cross entropy at `gamma` 0. For class indices and soft labels.
///
/// PyTorch has no such loss. The divisor is the number of samples, also with weights.
#[derive(Clone, Debug, PartialEq)]
pub struct Focal {
    /// Exponent, at least 0; 2 by default.
    pub gamma: f64,
    /// Weight of each class `(K)`; 1 by default.
    pub weight: Option<Vec<f64>>,
}

impl Default for Focal {
    fn default() -> Self {
        Self {
            gamma: 2.0,
            weight: None,
        }
    }
}

impl Loss for Focal {
    fn loss(&self, logits: &Tensor, target: &Target) -> Result<Tensor> {
        if !matches!(target, Target::Classes(_) | Target::Soft(_)) {
            return Err(unsupported("the focal loss", target));
        }
        let (samples, classes) = logits.dims2()?;
        let mut targets = target.probabilities(classes)?.to_dtype(logits.dtype())?;
        if let Some(weight) = &self.weight {
            targets =
                targets.broadcast_mul(&class_weights("loss.class_weights", weight, logits)?)?;
        }
        let log_p = candle_nn::ops::log_softmax(logits, D::Minus1)?;
        let terms = (&log_p * targets)?;
        let terms = match self.gamma {
            0.0 => terms,
            gamma => (terms * (1.0 - log_p.exp()?)?.powf(gamma)?)?,
        };
        Ok((terms.sum_all()? / -(samples as f64))?)
    }
}

/// Focal loss of each output's sigmoid (Lin et al. 2017, arXiv 1708.02002), as
/// [`torchvision.ops.sigmoid_focal_loss`](https://docs.pytorch.org/vision/stable/generated/torchvision.ops.sigmoid_focal_loss.html) with
/// `reduction="mean"`: the mean over all `N x K` outputs. For every kind of target; class indices become one-hot rows.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct SigmoidFocal {
    /// Weight of a class that is present, in `[0, 1]`; that of an absent one is `1 - alpha`. Negative for no weights. 0.25 by default.
    pub alpha: f64,
    /// Exponent, at least 0; 2 by default.
    pub gamma: f64,
}

impl Default for SigmoidFocal {
    fn default() -> Self {
        Self {
            alpha: 0.25,
            gamma: 2.0,
        }
    }
}

impl Loss for SigmoidFocal {
    fn loss(&self, logits: &Tensor, target: &Target) -> Result<Tensor> {
        let targets = target.probabilities(logits.dim(1)?)?;
        let targets = targets.to_dtype(logits.dtype())?;
        let absent = targets.affine(-1.0, 1.0)?;
        let mut loss = elementwise(logits, &targets, None)?;
        if self.gamma != 0.0 {
            let p = candle_nn::ops::sigmoid(logits)?;
            // 1 - p_t, where p_t is the probability of what is true.
            let wrong = ((&p * &absent)? + (p.affine(-1.0, 1.0)? * &targets)?)?;
            loss = (loss * wrong.powf(self.gamma)?)?;
        }
        if self.alpha >= 0.0 {
            let weight = ((targets * self.alpha)? + (absent * (1.0 - self.alpha))?)?;
            loss = (loss * weight)?;
        }
        Ok(loss.mean_all()?)
    }
}
