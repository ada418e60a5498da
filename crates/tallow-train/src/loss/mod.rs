//! Losses.

mod binary_cross_entropy;
mod class_weights;
mod config;
mod cross_entropy;
mod distillation;
mod focal;
mod squared_error;
mod target;

use candle_core::{DType, Tensor};

pub use binary_cross_entropy::BinaryCrossEntropy;
pub use class_weights::ClassWeights;
pub use config::LossConfig;
pub use cross_entropy::{CrossEntropy, SoftmaxCrossEntropy};
pub use distillation::Distillation;
pub use focal::{Focal, SigmoidFocal};
pub use squared_error::SquaredError;
pub use target::Target;

use crate::error::Result;

/// Loss to minimize.
///
/// The built-in losses are [`CrossEntropy`], [`SoftmaxCrossEntropy`], [`Focal`], [`SigmoidFocal`], [`BinaryCrossEntropy`],
/// [`SquaredError`] and [`Distillation`]; [`LossConfig::build`] makes them. A loss of your own is passed to
/// [`Trainer::with_loss`](crate::Trainer::with_loss):
///
/// ```
/// use candle_core::{D, Device, Tensor};
/// use tallow_train::{CrossEntropy, Loss, Result, Target};
///
/// /// Poly-1 loss (Leng et al. 2022): cross entropy plus `epsilon (1 - p)`, with the probability `p` of the label.
/// struct Poly1 {
///     epsilon: f64,
/// }
///
/// impl Loss for Poly1 {
///     fn loss(&self, logits: &Tensor, target: &Target) -> Result<Tensor> {
///         let cross_entropy = CrossEntropy::default().loss(logits, target)?;
///         let target = target.probabilities(logits.dim(1)?)?.to_dtype(logits.dtype())?;
///         let p = (candle_nn::ops::softmax(logits, D::Minus1)? * target)?.sum(D::Minus1)?;
///         Ok((cross_entropy + (p.affine(-1.0, 1.0)?.mean_all()? * self.epsilon)?)?)
///     }
/// }
///
/// let logits = Tensor::new(&[[2f32, 0.0], [-1.0, 1.0]], &Device::Cpu)?;
/// let target = Target::Classes(Tensor::new(&[0u32, 1], &Device::Cpu)?);
/// let cross_entropy = Poly1 { epsilon: 0.0 }.loss(&logits, &target)?.to_scalar::<f32>()?;
/// assert!((cross_entropy - 0.126_928).abs() < 1e-5);
/// // Both labels have the probability 1 / (1 + e^-2).
/// let more = Poly1 { epsilon: 1.0 }.loss(&logits, &target)?.to_scalar::<f32>()?;
/// assert!((more - cross_entropy - 0.119_203).abs() < 1e-5);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
pub trait Loss: Send + Sync {
    /// Mean loss over the batch, a scalar, from the model's logits `(N, K)` and their targets.
    ///
    /// # Errors
    /// When shapes or types do not fit, or [`Error::Target`](crate::Error::Target) when the loss does not support this kind of target.
    fn loss(&self, logits: &Tensor, target: &Target) -> Result<Tensor>;

    /// Weight of a part of a batch: the loss of the batch is the mean of the losses of its parts, weighted by it. The number of samples
    /// by default. A loss with another divisor has another weight.
    ///
    /// # Errors
    /// When the target does not fit.
    fn weight(&self, target: &Target) -> Result<f64> {
        Ok(target.samples()? as f64)
    }

    /// Sum of the losses of a batch, and its [`weight`](Self::weight). Sums and weights of all batches give the loss of a whole test set,
    /// also where a batch has no weight.
    ///
    /// # Errors
    /// As [`loss`](Self::loss).
    fn sum(&self, logits: &Tensor, target: &Target) -> Result<(f64, f64)> {
        weighted_mean(self, logits, target)
    }
}

/// Mean loss of a batch times its weight, and the weight.
fn weighted_mean(
    loss: &(impl Loss + ?Sized),
    logits: &Tensor,
    target: &Target,
) -> Result<(f64, f64)> {
    let weight = loss.weight(target)?;
    Ok((scalar(&loss.loss(logits, target)?)? * weight, weight))
}

impl<L: Loss + ?Sized> Loss for &L {
    fn loss(&self, logits: &Tensor, target: &Target) -> Result<Tensor> {
        (**self).loss(logits, target)
    }

    fn weight(&self, target: &Target) -> Result<f64> {
        (**self).weight(target)
    }

    fn sum(&self, logits: &Tensor, target: &Target) -> Result<(f64, f64)> {
        (**self).sum(logits, target)
    }
}

impl<L: Loss + ?Sized> Loss for Box<L> {
    fn loss(&self, logits: &Tensor, target: &Target) -> Result<Tensor> {
        (**self).loss(logits, target)
    }

    fn weight(&self, target: &Target) -> Result<f64> {
        (**self).weight(target)
    }

    fn sum(&self, logits: &Tensor, target: &Target) -> Result<(f64, f64)> {
        (**self).sum(logits, target)
    }
}

/// Value of a scalar of any floating-point type.
pub(crate) fn scalar(loss: &Tensor) -> candle_core::Result<f64> {
    match loss.dtype() {
        DType::F64 => loss.to_scalar(),
        DType::F32 => Ok(loss.to_scalar::<f32>()?.into()),
        _ => Ok(loss.to_dtype(DType::F32)?.to_scalar::<f32>()?.into()),
    }
}
