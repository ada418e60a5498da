use serde::{Deserialize, Serialize};
use tallow_datasets::Dataset;

use super::{
    BinaryCrossEntropy, ClassWeights, CrossEntropy, Distillation, Focal, Loss, SigmoidFocal,
    SoftmaxCrossEntropy, SquaredError,
};
use crate::error::{Error, Result, not_negative};

/// Built-in loss and its settings.
///
/// In TOML: `loss = { name = "cross-entropy", label_smoothing = 0.1 }`, and for classes of different frequency
/// `loss = { name = "cross-entropy", class_weights = "balanced" }`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(tag = "name", rename_all = "kebab-case", deny_unknown_fields)]
pub enum LossConfig {
    /// Cross entropy of the logits, [`CrossEntropy`]: `torch.nn.CrossEntropyLoss`.
    CrossEntropy {
        /// Share of each target that is spread over all classes, in `[0, 1]`.
        #[serde(default)]
        label_smoothing: f64,
        /// Weights of the classes; 1 by default.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        class_weights: Option<ClassWeights>,
    },
    /// Cross entropy after a softmax layer too many, [`SoftmaxCrossEntropy`]: a common mistake, provided to show its cost.
    SoftmaxCrossEntropy {
        /// Share of each target that is spread over all classes, in `[0, 1]`.
        #[serde(default)]
        label_smoothing: f64,
    },
    /// Focal loss of the softmax (Lin et al. 2017), [`Focal`].
    Focal {
        /// Exponent, at least 0.
        #[serde(default = "default_gamma")]
        gamma: f64,
        /// Weights of the classes; 1 by default.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        class_weights: Option<ClassWeights>,
    },
    /// Focal loss of each sigmoid, [`SigmoidFocal`]: `torchvision.ops.sigmoid_focal_loss`.
    SigmoidFocal {
        /// Weight of a class that is present, in `[0, 1]`, or -1 for no weights.
        #[serde(default = "default_focal_alpha")]
        alpha: f64,
        /// Exponent, at least 0.
        #[serde(default = "default_gamma")]
        gamma: f64,
    },
    /// Binary cross entropy of each output's sigmoid, [`BinaryCrossEntropy`]: `torch.nn.BCEWithLogitsLoss`.
    BinaryCrossEntropy {
        /// Weight of each class where it is present; 1 by default.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        pos_weight: Option<Vec<f64>>,
    },
    /// Knowledge distillation from a trained model (Hinton et al. 2015), [`Distillation`].
    Distillation {
        /// Folder of the teacher's run. Recipes load it; a program calls [`Trainer::with_teacher`](crate::Trainer::with_teacher).
        teacher: String,
        /// Temperature, above 0.
        #[serde(default = "default_temperature")]
        temperature: f64,
        /// Share of the teacher in the loss, in `[0, 1]`.
        #[serde(default = "default_alpha")]
        alpha: f64,
        /// Share of each label that is spread over all classes, in `[0, 1]`.
        #[serde(default)]
        label_smoothing: f64,
    },
    /// Mean squared error to one-hot targets, [`SquaredError`]: `torch.nn.MSELoss`.
    SquaredError {
        /// Target of the label's class.
        #[serde(default = "default_on")]
        on: f64,
        /// Target of every other class.
        #[serde(default)]
        off: f64,
    },
}

fn default_gamma() -> f64 {
    Focal::default().gamma
}

fn default_focal_alpha() -> f64 {
    SigmoidFocal::default().alpha
}

fn default_temperature() -> f64 {
    Distillation::default().temperature
}

fn default_alpha() -> f64 {
    Distillation::default().alpha
}

fn default_on() -> f64 {
    1.0
}

impl Default for LossConfig {
    fn default() -> Self {
        Self::CrossEntropy {
            label_smoothing: 0.0,
            class_weights: None,
        }
    }
}

impl LossConfig {
    /// The loss, for the classes of `dataset`. Balanced class weights are those of its labels.
    ///
    /// # Errors
    /// [`Error::Config`] when a setting is out of range, or the number of class weights is not that of the classes.
    pub fn build_for(&self, dataset: &dyn Dataset) -> Result<Box<dyn Loss>> {
        let mut fixed = self.clone();
        if let Self::CrossEntropy { class_weights, .. } | Self::Focal { class_weights, .. } =
            &mut fixed
            && let Some(weights) = class_weights
        {
            *weights = ClassWeights::Fixed(weights.of(dataset)?);
        }
        fixed.build()
    }

    /// The loss.
    ///
    /// # Errors
    /// [`Error::Config`] when a setting is out of range, and for balanced class weights, which need a dataset:
    /// [`build_for`](Self::build_for).
    pub fn build(&self) -> Result<Box<dyn Loss>> {
        self.validate()?;
        Ok(match *self {
            Self::CrossEntropy {
                label_smoothing,
                ref class_weights,
            } => Box::new(CrossEntropy {
                label_smoothing,
                weight: fixed(class_weights.as_ref())?,
            }),
            Self::SoftmaxCrossEntropy { label_smoothing } => {
                Box::new(SoftmaxCrossEntropy { label_smoothing })
            }
            Self::Focal {
                gamma,
                ref class_weights,
            } => Box::new(Focal {
                gamma,
                weight: fixed(class_weights.as_ref())?,
            }),
            Self::SigmoidFocal { alpha, gamma } => Box::new(SigmoidFocal { alpha, gamma }),
            Self::BinaryCrossEntropy { ref pos_weight } => Box::new(BinaryCrossEntropy {
                pos_weight: pos_weight.clone(),
            }),
            Self::Distillation {
                temperature,
                alpha,
                label_smoothing,
                ..
            } => Box::new(Distillation {
                temperature,
                alpha,
                label_smoothing,
            }),
            Self::SquaredError { on, off } => Box::new(SquaredError { on, off }),
        })
    }

    /// Folder of the teacher's run, for distillation.
    pub fn teacher(&self) -> Option<&str> {
        match self {
            Self::Distillation { teacher, .. } => Some(teacher),
            _ => None,
        }
    }

    /// Checks the ranges of the settings.
    pub fn validate(&self) -> Result<()> {
        if let Self::CrossEntropy {
            class_weights: Some(weights),
            ..
        }
        | Self::Focal {
            class_weights: Some(weights),
            ..
        } = self
        {
            weights.validate()?;
        }
        match *self {
            Self::CrossEntropy {
                label_smoothing, ..
            }
            | Self::SoftmaxCrossEntropy { label_smoothing }
            | Self::Distillation {
                label_smoothing, ..
            } if !(0.0..=1.0).contains(&label_smoothing) => Err(Error::config(
                "loss.label_smoothing",
                format!("{label_smoothing} is not in [0, 1]"),
            )),
            Self::SquaredError { on, off } if !(on.is_finite() && off.is_finite()) => {
                Err(Error::config("loss.on", "targets must be finite numbers"))
            }
            Self::Focal { gamma, .. } => not_negative("loss.gamma", gamma),
            Self::SigmoidFocal { alpha, gamma } => {
                if alpha.is_nan() || alpha > 1.0 {
                    let message = format!("{alpha} is not in [0, 1], nor negative for no weights");
                    return Err(Error::config("loss.alpha", message));
                }
                not_negative("loss.gamma", gamma)
            }
            Self::BinaryCrossEntropy {
                pos_weight: Some(ref weights),
            } => (weights.iter()).try_for_each(|&weight| not_negative("loss.pos_weight", weight)),
            Self::Distillation {
                temperature, alpha, ..
            } => {
                if !(temperature > 0.0 && temperature.is_finite()) {
                    let message = format!("{temperature} is not a finite number above 0");
                    return Err(Error::config("loss.temperature", message));
                }
                if !(0.0..=1.0).contains(&alpha) {
                    let message = format!("{alpha} is not in [0, 1]");
                    return Err(Error::config("loss.alpha", message));
                }
                Ok(())
            }
            _ => Ok(()),
        }
    }
}

/// Weights of the classes that are known without a dataset.
fn fixed(weights: Option<&ClassWeights>) -> Result<Option<Vec<f64>>> {
    match weights {
        None => Ok(None),
        Some(ClassWeights::Fixed(weights)) => Ok(Some(weights.clone())),
        Some(ClassWeights::Balanced) => Err(Error::config(
            "loss.class_weights",
            "`balanced` needs a dataset: use `LossConfig::build_for`",
        )),
    }
}

#[cfg(test)]
mod tests {
    use candle_core::{Device, Tensor};

    use super::*;
    use crate::loss::Target;

    fn value(loss: &dyn Loss, output: &[[f32; 3]; 2], target: &Target) -> f32 {
        let output = Tensor::new(output, &Device::Cpu).unwrap();
        let loss = loss.loss(&output, target).unwrap();
        loss.to_scalar().unwrap()
    }

    fn labels() -> Target {
        Target::Classes(Tensor::new(&[2u32, 0], &Device::Cpu).unwrap())
    }

    const OUTPUT: [[f32; 3]; 2] = [[1.0, -1.0, 0.5], [2.0, 0.0, -3.0]];

    /// torch 2.15: `F.cross_entropy(x, y)`, `(…, label_smoothing=0.1)`, `F.cross_entropy(x.softmax(1), y)`,
    /// `F.mse_loss(x, one_hot)` with targets 1 and 0, and 1 and -1.
    #[test]
    fn values_are_pytorchs() {
        let cases = [
            (LossConfig::default(), 0.593_901_1),
            (
                LossConfig::CrossEntropy {
                    label_smoothing: 0.1,
                    class_weights: None,
                },
                0.727_234_4,
            ),
            (
                LossConfig::SoftmaxCrossEntropy {
                    label_smoothing: 0.0,
                },
                0.869_822_2,
            ),
            (LossConfig::SquaredError { on: 1.0, off: 0.0 }, 2.041_666_7),
            (LossConfig::SquaredError { on: 1.0, off: -1.0 }, 1.708_333_3),
        ];
        for (config, expected) in cases {
            let found = value(&*config.build().unwrap(), &OUTPUT, &labels());
            assert!(
                (found - expected).abs() < 1e-6,
                "{config:?}: {found}, expected {expected}"
            );
        }
    }

    /// One-hot soft labels are class indices, whatever the smoothing.
    #[test]
    fn soft_labels_of_one_class_are_class_indices() {
        let rows = [[0f32, 0.0, 1.0], [1.0, 0.0, 0.0]];
        let soft = Target::Soft(Tensor::new(&rows, &Device::Cpu).unwrap());
        for label_smoothing in [0.0, 0.1, 1.0] {
            for config in [
                LossConfig::CrossEntropy {
                    label_smoothing,
                    class_weights: None,
                },
                LossConfig::SoftmaxCrossEntropy { label_smoothing },
                LossConfig::SquaredError { on: 1.0, off: -1.0 },
            ] {
                let loss = config.build().unwrap();
                let (hard, soft) = (
                    value(&*loss, &OUTPUT, &labels()),
                    value(&*loss, &OUTPUT, &soft),
                );
                assert!((hard - soft).abs() < 1e-6, "{config:?}: {hard} {soft}");
            }
        }
    }

    /// `ln(1 + exp(-x))` for a class that is present, `ln(1 + exp(x))` for one that is absent; in f64 from the definition.
    #[test]
    fn binary_cross_entropy_is_its_definition() {
        let targets = [[1f32, 0.0, 1.0], [0.0, 0.0, 1.0]];
        let target = Target::MultiLabel(Tensor::new(&targets, &Device::Cpu).unwrap());
        let outputs = OUTPUT.as_flattened().iter().zip(targets.as_flattened());
        let terms = outputs.map(|(&x, &t)| {
            let x = f64::from(x);
            (if t == 1.0 { -x } else { x }).exp().ln_1p()
        });
        let expected = terms.sum::<f64>() / 6.0;
        let found = value(&BinaryCrossEntropy::default(), &OUTPUT, &target);
        assert!((f64::from(found) - expected).abs() < 1e-6, "{found}");
        let large = [[1e4, -1e4, 1e4], [-1e4, -1e4, 1e4]];
        assert_eq!(value(&BinaryCrossEntropy::default(), &large, &target), 0.0);
    }

    #[test]
    fn targets_and_labels_that_do_not_fit_are_refused() {
        let output = Tensor::new(&OUTPUT, &Device::Cpu).unwrap();
        let multi = Target::MultiLabel(output.clone());
        let error = CrossEntropy::default().loss(&output, &multi).unwrap_err();
        let expected = "cross entropy does not support multi-label targets as target";
        assert_eq!(error.to_string(), expected);
        assert!(SquaredError::default().loss(&output, &multi).is_ok());

        let labels = Target::Classes(Tensor::new(&[0u32, 3], &Device::Cpu).unwrap());
        let error = SquaredError::default().loss(&output, &labels).unwrap_err();
        assert!(
            matches!(
                error,
                Error::Label {
                    label: 3,
                    sample: 1,
                    classes: 3
                }
            ),
            "{error}"
        );
        assert!(CrossEntropy::default().loss(&output, &labels).is_err());
    }

    #[test]
    fn softmax_twice_cannot_reach_zero() {
        let sure = [[0.0, 0.0, 100.0], [100.0, 0.0, 0.0]];
        assert!(value(&CrossEntropy::default(), &sure, &labels()) < 1e-6);
        let floor = (1.0 + 2.0 / std::f32::consts::E).ln();
        let found = value(&SoftmaxCrossEntropy::default(), &sure, &labels());
        assert!((found - floor).abs() < 1e-6, "{found}");
    }

    #[test]
    fn settings_out_of_range_are_refused() {
        for config in [
            LossConfig::CrossEntropy {
                label_smoothing: 1.5,
                class_weights: None,
            },
            LossConfig::CrossEntropy {
                label_smoothing: 0.0,
                class_weights: Some(ClassWeights::Fixed(vec![-1.0])),
            },
            LossConfig::SquaredError {
                on: f64::NAN,
                off: 0.0,
            },
        ] {
            assert!(config.validate().is_err() && config.build().is_err());
        }
        assert!(LossConfig::default().validate().is_ok());
        let unknown = r#"{"name": "cross-entropy", "smoothing": 1}"#;
        assert!(serde_json::from_str::<LossConfig>(unknown).is_err());
    }
}
