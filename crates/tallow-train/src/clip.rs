//! Gradient clipping.

use candle_core::backprop::GradStore;
use candle_core::{Tensor, Var};
use serde::{Deserialize, Serialize};

use crate::elements::{clamp, row_sums_of_squares, scale, scale_rows, sum_of_squares};
use crate::error::{Error, Result};

/// Gradient clipping, after the backward pass and before the optimizer's step.
///
/// In TOML: `clip = { norm = 1.0 }`, `clip = { value = 0.5 }` or `clip = { adaptive = 0.01 }`.
///
/// ```
/// use candle_core::backprop::GradStore;
/// use candle_core::{Device, Tensor, Var};
/// use tallow_train::Clip;
///
/// let w = Var::new(&[0f32, 0.0], &Device::Cpu)?;
/// let mut grads = GradStore::default();
/// grads.insert(&w, Tensor::new(&[3f32, 4.0], &Device::Cpu)?);
/// let norm = Clip::Norm(0.5).clip(&[("w".into(), w.clone())], &mut grads)?;
/// assert_eq!(norm, Some(5.0));
/// let clipped = grads.get(&w).unwrap().to_vec1::<f32>()?;
/// assert!((clipped[0] - 0.3).abs() < 1e-6 && (clipped[1] - 0.4).abs() < 1e-6);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(rename_all = "kebab-case")]
pub enum Clip {
    /// Largest L2 norm of all gradients together, above 0: gradients of a larger norm are scaled down to it, as
    /// [`torch.nn.utils.clip_grad_norm_`](https://docs.pytorch.org/docs/stable/generated/torch.nn.utils.clip_grad_norm_.html).
    Norm(f64),
    /// Largest absolute value of each element, above 0: others are set to it, as
    /// [`torch.nn.utils.clip_grad_value_`](https://docs.pytorch.org/docs/stable/generated/torch.nn.utils.clip_grad_value_.html).
    Value(f64),
    /// Largest ratio of the norm of a unit's gradient to the norm of its weights, above 0, as timm's `adaptive_clip_grad` (Brock et
    /// al. 2021). A unit is an entry of the first axis, an output of a layer; of a bias or scale it is all of it. Norms of weights
    /// count as at least 0.001.
    Adaptive(f64),
}

/// Least norm of a unit's weights in adaptive clipping: timm's `eps`.
const LEAST_WEIGHT: f64 = 1e-3;
/// Least norm of a unit's gradient in the quotient of adaptive clipping, as in timm.
const LEAST_GRADIENT: f64 = 1e-6;

impl Clip {
    /// Clips the gradients of these parameters. Returns their norm before it for [`Clip::Norm`].
    ///
    /// Squares are added in `f64` and in a fixed order on the CPU, so that the result is the same for any number of threads.
    ///
    /// # Errors
    /// Errors of the tensor operations.
    pub fn clip(&self, parameters: &[(String, Var)], grads: &mut GradStore) -> Result<Option<f64>> {
        match *self {
            Clip::Norm(max) => clip_norm(parameters, grads, max).map(Some),
            Clip::Value(limit) => {
                for (_, var) in parameters {
                    if let Some(grad) = grads.get(var) {
                        let clipped = clamp(grad, limit)?;
                        grads.insert(var, clipped);
                    }
                }
                Ok(None)
            }
            Clip::Adaptive(factor) => {
                for (_, var) in parameters {
                    if let Some(grad) = grads.get(var)
                        && let Some(clipped) = adaptive(var, grad, factor)?
                    {
                        grads.insert(var, clipped);
                    }
                }
                Ok(None)
            }
        }
    }

    /// Checks that the setting is above 0.
    pub fn validate(&self) -> Result<()> {
        let (setting, value) = match *self {
            Clip::Norm(value) => ("clip.norm", value),
            Clip::Value(value) => ("clip.value", value),
            Clip::Adaptive(value) => ("clip.adaptive", value),
        };
        if value.is_finite() && value > 0.0 {
            return Ok(());
        }
        let message =
            format!("{value} is not a finite number above 0; leave `clip` out for no clipping");
        Err(Error::config(setting, message))
    }
}

fn clip_norm(parameters: &[(String, Var)], grads: &mut GradStore, max: f64) -> Result<f64> {
    let mut square = 0.0;
    for (_, var) in parameters {
        if let Some(grad) = grads.get(var) {
            square += sum_of_squares(grad)?;
        }
    }
    let norm = square.sqrt();
    // PyTorch's coefficient.
    let factor = max / (norm + 1e-6);
    // A norm that is not a number is left to the check for it.
    if factor < 1.0 {
        for (_, var) in parameters {
            if let Some(grad) = grads.get(var) {
                let scaled = scale(grad, factor)?;
                grads.insert(var, scaled);
            }
        }
    }
    Ok(norm)
}

/// The clipped gradient; `None` if no unit's is too large.
fn adaptive(var: &Var, grad: &Tensor, factor: f64) -> candle_core::Result<Option<Tensor>> {
    let coefficient = |weight: f64, grad: f64| {
        let max = weight.sqrt().max(LEAST_WEIGHT) * factor;
        let norm = grad.sqrt();
        if norm < max {
            1.0
        } else {
            max / norm.max(LEAST_GRADIENT)
        }
    };
    let weight = var.as_detached_tensor();
    if var.rank() <= 1 {
        let by = coefficient(sum_of_squares(&weight)?, sum_of_squares(grad)?);
        return if by == 1.0 {
            Ok(None)
        } else {
            scale(grad, by).map(Some)
        };
    }
    let weights = row_sums_of_squares(&weight)?;
    let norms = row_sums_of_squares(grad)?;
    let pairs = weights.into_iter().zip(norms);
    let factors: Vec<f64> = pairs.map(|(w, g)| coefficient(w, g)).collect();
    if factors.iter().all(|&by| by == 1.0) {
        return Ok(None);
    }
    scale_rows(grad, &factors).map(Some)
}
