//! What a network is trained to make small.

use candle_core::{DType, Tensor};
use serde::{Deserialize, Serialize};
use tallow_ops::CrossEntropyConfig;

use crate::{Error, Result};

/// A loss between a network's output `(N, K)` and labels `(N)`: a scalar, the mean over the batch.
///
/// In TOML: `loss = { name = "cross-entropy", label_smoothing = 0.1 }`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(tag = "name", rename_all = "kebab-case", deny_unknown_fields)]
pub enum Loss {
    /// `torch.nn.CrossEntropyLoss` of logits.
    CrossEntropy {
        /// The share of each target that is spread over all classes.
        #[serde(default)]
        label_smoothing: f64,
    },
    /// A softmax layer before the cross entropy, which takes a softmax of its own: a common mistake,
    /// here to show what it costs. Losses cannot fall below `ln(1 + (K - 1) / e)`.
    SoftmaxCrossEntropy {
        /// The share of each target that is spread over all classes.
        #[serde(default)]
        label_smoothing: f64,
    },
    /// `torch.nn.MSELoss` against one-hot targets: the mean over all `N x K` outputs.
    SquaredError {
        /// The target of the label's class.
        #[serde(default = "default_on")]
        on: f64,
        /// The target of every other class; -1 for networks that end in a tanh.
        #[serde(default)]
        off: f64,
    },
}

fn default_on() -> f64 {
    1.0
}

impl Default for Loss {
    fn default() -> Self {
        Self::CrossEntropy {
            label_smoothing: 0.0,
        }
    }
}

impl Loss {
    /// The loss of `output` `(N, K)` for `labels` `(N)`, u32 below `K`.
    pub fn compute(&self, output: &Tensor, labels: &Tensor) -> Result<Tensor> {
        match *self {
            Loss::CrossEntropy { label_smoothing } => Ok(tallow_ops::cross_entropy(
                output,
                labels,
                &CrossEntropyConfig { label_smoothing },
            )?),
            Loss::SoftmaxCrossEntropy { label_smoothing } => {
                let probabilities = candle_nn::ops::softmax(output, 1)?;
                Ok(tallow_ops::cross_entropy(
                    &probabilities,
                    labels,
                    &CrossEntropyConfig { label_smoothing },
                )?)
            }
            Loss::SquaredError { on, off } => {
                let targets = one_hot(labels, output.dim(1)?, on, off)?;
                let targets = targets.to_dtype(output.dtype())?;
                Ok((output - targets)?.sqr()?.mean_all()?)
            }
        }
    }

    /// Checks the ranges.
    pub fn validate(&self) -> Result<()> {
        match *self {
            Loss::CrossEntropy { label_smoothing }
            | Loss::SoftmaxCrossEntropy { label_smoothing }
                if !(0.0..=1.0).contains(&label_smoothing) =>
            {
                Err(Error::config(
                    "loss.label_smoothing",
                    format!("{label_smoothing} is not in [0, 1]"),
                ))
            }
            Loss::SquaredError { on, off } if !(on.is_finite() && off.is_finite()) => {
                Err(Error::config("loss.on", "targets must be numbers"))
            }
            _ => Ok(()),
        }
    }
}

/// `(N)` labels as `(N, classes)` f32 rows of `off` with one `on`.
fn one_hot(labels: &Tensor, classes: usize, on: f64, off: f64) -> candle_core::Result<Tensor> {
    let classes = Tensor::arange(0u32, classes as u32, labels.device())?;
    let hit = labels.unsqueeze(1)?.broadcast_eq(&classes.unsqueeze(0)?)?;
    hit.to_dtype(DType::F32)?.affine(on - off, off)
}

#[cfg(test)]
mod tests {
    use super::*;
    use candle_core::Device;

    fn value(loss: Loss, output: &[[f32; 3]; 2]) -> f32 {
        let output = Tensor::new(output, &Device::Cpu).unwrap();
        let labels = Tensor::new(&[2u32, 0], &Device::Cpu).unwrap();
        let loss = loss.compute(&output, &labels).unwrap();
        loss.to_scalar().unwrap()
    }

    const OUTPUT: [[f32; 3]; 2] = [[1.0, -1.0, 0.5], [2.0, 0.0, -3.0]];

    /// torch 2.15: `F.cross_entropy(x, y)`, `(…, label_smoothing=0.1)`, `F.cross_entropy(x.softmax(1), y)`,
    /// `F.mse_loss(x, one_hot)` with targets 1 and 0, and 1 and -1.
    #[test]
    fn values_are_pytorchs() {
        let cases = [
            (Loss::default(), 0.593_901_1),
            (
                Loss::CrossEntropy {
                    label_smoothing: 0.1,
                },
                0.727_234_4,
            ),
            (
                Loss::SoftmaxCrossEntropy {
                    label_smoothing: 0.0,
                },
                0.869_822_2,
            ),
            (Loss::SquaredError { on: 1.0, off: 0.0 }, 2.041_666_7),
            (Loss::SquaredError { on: 1.0, off: -1.0 }, 1.708_333_3),
        ];
        for (loss, expected) in cases {
            let found = value(loss.clone(), &OUTPUT);
            assert!(
                (found - expected).abs() < 1e-6,
                "{loss:?}: {found}, expected {expected}"
            );
        }
    }

    #[test]
    fn softmax_twice_cannot_reach_zero() {
        let sure = [[0.0, 0.0, 100.0], [100.0, 0.0, 0.0]];
        assert!(value(Loss::default(), &sure) < 1e-6);
        let floor = (1.0 + 2.0 / std::f32::consts::E).ln();
        let found = value(
            Loss::SoftmaxCrossEntropy {
                label_smoothing: 0.0,
            },
            &sure,
        );
        assert!((found - floor).abs() < 1e-6, "{found}");
    }

    #[test]
    fn settings_out_of_range_are_refused() {
        assert!(
            Loss::CrossEntropy {
                label_smoothing: 1.5
            }
            .validate()
            .is_err()
        );
        assert!(
            Loss::SquaredError {
                on: f64::NAN,
                off: 0.0
            }
            .validate()
            .is_err()
        );
        assert!(Loss::default().validate().is_ok());
        assert!(
            serde_json::from_str::<Loss>(r#"{"name": "cross-entropy", "smoothing": 1}"#).is_err()
        );
    }
}
