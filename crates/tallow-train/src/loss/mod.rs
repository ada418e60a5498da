//! Losses.

mod binary_cross_entropy;
mod class_weights;
mod config;
mod cross_entropy;
mod squared_error;
mod target;

use candle_core::Tensor;

pub use binary_cross_entropy::BinaryCrossEntropy;
pub use class_weights::ClassWeights;
pub use config::LossConfig;
pub use cross_entropy::{CrossEntropy, SoftmaxCrossEntropy};
pub use squared_error::SquaredError;
pub use target::Target;

use crate::error::Result;

/// Loss to minimize.
///
/// The built-in losses are [`CrossEntropy`], [`SoftmaxCrossEntropy`], [`SquaredError`] and [`BinaryCrossEntropy`]. A loss of your own
/// is passed to [`Trainer::with_loss`](crate::Trainer::with_loss):
///
/// ```
/// use candle_core::{D, Device, Tensor};
/// use tallow_train::{Loss, Result, Target};
///
/// /// Focal loss (Lin et al. 2017): cross entropy of each sample, times `(1 - p)^gamma`.
/// struct Focal {
///     gamma: f64,
/// }
///
/// impl Loss for Focal {
///     fn loss(&self, logits: &Tensor, target: &Target) -> Result<Tensor> {
///         let target = target.probabilities(logits.dim(1)?)?.to_dtype(logits.dtype())?;
///         let log_p = candle_nn::ops::log_softmax(logits, D::Minus1)?;
///         let weight = (1.0 - log_p.exp()?)?.powf(self.gamma)?;
///         Ok((weight * log_p * target)?.sum(D::Minus1)?.neg()?.mean_all()?)
///     }
/// }
///
/// let logits = Tensor::new(&[[2f32, 0.0], [-1.0, 1.0]], &Device::Cpu)?;
/// let target = Target::Classes(Tensor::new(&[0u32, 1], &Device::Cpu)?);
/// let cross_entropy = Focal { gamma: 0.0 }.loss(&logits, &target)?.to_scalar::<f32>()?;
/// assert!((cross_entropy - 0.126_928).abs() < 1e-5);
/// assert!(Focal { gamma: 2.0 }.loss(&logits, &target)?.to_scalar::<f32>()? < cross_entropy);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
pub trait Loss: Send + Sync {
    /// Mean loss over the batch, a scalar, from the model's logits `(N, K)` and their targets.
    ///
    /// # Errors
    /// When shapes or types do not fit, or [`Error::Target`](crate::Error::Target) when the loss does not support this kind of target.
    fn loss(&self, logits: &Tensor, target: &Target) -> Result<Tensor>;
}

impl<L: Loss + ?Sized> Loss for &L {
    fn loss(&self, logits: &Tensor, target: &Target) -> Result<Tensor> {
        (**self).loss(logits, target)
    }
}

impl<L: Loss + ?Sized> Loss for Box<L> {
    fn loss(&self, logits: &Tensor, target: &Target) -> Result<Tensor> {
        (**self).loss(logits, target)
    }
}
