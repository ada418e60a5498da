use candle_core::{D, Tensor};

use super::cross_entropy::unsupported;
use super::{CrossEntropy, Loss, Target};
use crate::error::{Error, Result};

/// Knowledge distillation (Hinton et al. 2015, arXiv 1503.02531):
/// `alpha T² KL(softmax(teacher / T) || softmax(logits / T)) + (1 - alpha) cross_entropy(logits, labels)`.
///
/// KL is the mean over the samples, `torch.nn.KLDivLoss(reduction="batchmean")`. The teacher's logits come with the targets,
/// [`Target::Teacher`]; without them, in an evaluation, the loss is the cross entropy of the labels alone.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Distillation {
    /// Temperature `T`, above 0; 2 by default.
    pub temperature: f64,
    /// Share of the teacher in the loss, in `[0, 1]`; 0.25 by default.
    pub alpha: f64,
    /// Share of each label that is spread over all classes, in `[0, 1]`; 0 by default.
    pub label_smoothing: f64,
}

impl Default for Distillation {
    fn default() -> Self {
        Self {
            temperature: 2.0,
            alpha: 0.25,
            label_smoothing: 0.0,
        }
    }
}

impl Loss for Distillation {
    fn loss(&self, logits: &Tensor, target: &Target) -> Result<Tensor> {
        let hard = CrossEntropy {
            label_smoothing: self.label_smoothing,
            weight: None,
        };
        let (target, teacher) = match target {
            Target::Teacher { target, logits } => (&**target, logits),
            Target::Classes(_) | Target::Soft(_) => return hard.loss(logits, target),
            Target::MultiLabel(_) => return Err(unsupported("distillation", target)),
        };
        if logits.dims() != teacher.dims() {
            let message = format!(
                "the teacher's outputs have shape {:?}, those of the model {:?}: expected a teacher of the same classes",
                teacher.dims(),
                logits.dims()
            );
            return Err(Error::config("loss.teacher", message));
        }
        let teacher = (teacher.detach().to_dtype(logits.dtype())? / self.temperature)?;
        let log_q = candle_nn::ops::log_softmax(&teacher, D::Minus1)?;
        let q = log_q.exp()?;
        let samples = logits.dim(0)? as f64;
        // KL is cross entropy less the entropy of the teacher, a constant.
        let negative_entropy = ((&q * log_q)?.sum_all()? / samples)?;
        let cross_entropy = tallow_ops::cross_entropy_soft(&(logits / self.temperature)?, &q)?;
        let soft = ((cross_entropy + negative_entropy)? * (self.alpha * self.temperature.powi(2)))?;
        let hard = (hard.loss(logits, target)? * (1.0 - self.alpha))?;
        Ok((soft + hard)?)
    }
}
