use candle_core::Tensor;
use tallow_ops::CrossEntropyConfig;

use super::{Loss, Target, scalar, weighted_mean};
use crate::error::{Error, Result};

/// Cross entropy of logits, as [`torch.nn.CrossEntropyLoss`](https://docs.pytorch.org/docs/stable/generated/torch.nn.CrossEntropyLoss.html):
/// for class indices and soft labels.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct CrossEntropy {
    /// Share of each target that is spread over all classes, in `[0, 1]`; 0 by default.
    pub label_smoothing: f64,
    /// Weight of each class `(K)`; 1 by default.
    ///
    /// For class indices the result is the weighted mean: the sum of the weighted losses, divided by the sum of the weights of the
    /// labels. It is NaN where all labels of a batch have weight 0. For soft labels the divisor is the number of samples. Both as in
    /// PyTorch.
    pub weight: Option<Vec<f64>>,
}

impl Loss for CrossEntropy {
    fn loss(&self, logits: &Tensor, target: &Target) -> Result<Tensor> {
        let name = "cross entropy";
        match &self.weight {
            None => cross_entropy(name, logits, target, self.label_smoothing),
            Some(weight) => weighted(name, logits, target, self.label_smoothing, weight),
        }
    }

    /// Sum of the weights of the labels for class indices, else the number of samples.
    fn weight(&self, target: &Target) -> Result<f64> {
        match (&self.weight, target) {
            (Some(weight), Target::Classes(labels)) => {
                let labels = labels.to_vec1::<u32>()?;
                let of = |label: u32| weight.get(label as usize).copied().unwrap_or(0.0);
                Ok(labels.into_iter().map(of).sum())
            }
            _ => Ok(target.samples()? as f64),
        }
    }

    fn sum(&self, logits: &Tensor, target: &Target) -> Result<(f64, f64)> {
        let (Some(weight), Target::Classes(labels)) = (&self.weight, target) else {
            return weighted_mean(self, logits, target);
        };
        // Not by way of the mean, which labels without weight do not have.
        let samples = labels.elem_count() as f64;
        let name = "cross entropy";
        let (targets, total) =
            weighted_targets(name, logits, target, self.label_smoothing, weight)?;
        let mean = tallow_ops::cross_entropy_soft(logits, &targets)?;
        Ok((scalar(&mean)? * samples, scalar(&total)?))
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
            let probabilities = probabilities.to_dtype(logits.dtype())?;
            let probabilities = smooth(probabilities, label_smoothing)?;
            Ok(tallow_ops::cross_entropy_soft(logits, &probabilities)?)
        }
        Target::MultiLabel(_) | Target::Teacher { .. } => Err(unsupported(loss, target)),
    }
}

/// Weighted cross entropy as one with soft labels, whose rows need not sum to 1.
///
/// For class indices the targets are multiplied by the number of samples and divided by the sum of `w[y_n]`: the mean over the samples
/// becomes the weighted mean.
fn weighted(
    loss: &'static str,
    logits: &Tensor,
    target: &Target,
    label_smoothing: f64,
    weight: &[f64],
) -> Result<Tensor> {
    let samples = logits.dim(0)? as f64;
    let (targets, total) = weighted_targets(loss, logits, target, label_smoothing, weight)?;
    let targets = match target {
        Target::Classes(_) => (targets * samples)?.broadcast_div(&total)?,
        _ => targets,
    };
    Ok(tallow_ops::cross_entropy_soft(logits, &targets)?)
}

/// Targets `(N, K)` times the weight of each class, and the sum of the weights of the targets without smoothing.
///
/// For class indices row `n` is `(1 - s) w[y_n]` at its label `y_n`, plus `s / K w[c]` for every class `c`, and the sum that of `w[y_n]`.
fn weighted_targets(
    loss: &'static str,
    logits: &Tensor,
    target: &Target,
    label_smoothing: f64,
    weight: &[f64],
) -> Result<(Tensor, Tensor)> {
    let classes = logits.dim(1)?;
    let weight = class_weights("loss.class_weights", weight, logits)?;
    if !matches!(target, Target::Classes(_) | Target::Soft(_)) {
        return Err(unsupported(loss, target));
    }
    let target_of_labels = target.probabilities(classes)?.to_dtype(logits.dtype())?;
    let targets = smooth(target_of_labels.clone(), label_smoothing)?.broadcast_mul(&weight)?;
    let total = target_of_labels.broadcast_mul(&weight)?.sum_all()?;
    Ok((targets, total))
}

/// Weights of the classes `(K)` for logits `(N, K)`, the setting `key`.
pub(super) fn class_weights(key: &'static str, weight: &[f64], logits: &Tensor) -> Result<Tensor> {
    let classes = logits.dim(1)?;
    if weight.len() != classes {
        let message = format!(
            "{} weights, but the model has {classes} outputs",
            weight.len()
        );
        return Err(Error::config(key, message));
    }
    Ok(Tensor::new(weight, logits.device())?.to_dtype(logits.dtype())?)
}

/// Targets `(N, K)` of which a share is spread over all classes.
fn smooth(targets: Tensor, label_smoothing: f64) -> Result<Tensor> {
    if label_smoothing == 0.0 {
        return Ok(targets);
    }
    let each = label_smoothing / targets.dim(1)? as f64;
    Ok(targets.affine(1.0 - label_smoothing, each)?)
}

pub(super) fn unsupported(loss: &'static str, target: &Target) -> Error {
    let target = target.kind();
    Error::Target { loss, target }
}

#[cfg(test)]
mod tests {
    use candle_core::{DType, Device};
    use tallow_ops::gradcheck;

    use super::*;

    const LOGITS: [[f64; 3]; 4] = [
        [1.0, -1.0, 0.5],
        [2.0, 0.0, -3.0],
        [0.25, 1.5, -0.75],
        [-2.0, 0.5, 1.0],
    ];
    const LABELS: [u32; 4] = [2, 0, 2, 1];
    const WEIGHT: [f64; 3] = [0.5, 3.0, 1.25];

    fn logits() -> Tensor {
        Tensor::new(&LOGITS, &Device::Cpu).unwrap()
    }

    fn labels() -> Target {
        Target::Classes(Tensor::new(&LABELS, &Device::Cpu).unwrap())
    }

    fn loss(label_smoothing: f64) -> CrossEntropy {
        CrossEntropy {
            label_smoothing,
            weight: Some(WEIGHT.to_vec()),
        }
    }

    fn log_softmax(row: &[f64; 3]) -> [f64; 3] {
        let sum: f64 = row.iter().map(|z| z.exp()).sum();
        row.map(|z| z - sum.ln())
    }

    /// The formulas of `torch.nn.CrossEntropyLoss(weight=..., label_smoothing=s)`, in f64.
    #[test]
    fn weighted_means_are_pytorchs() {
        let divisor: f64 = LABELS.iter().map(|&y| WEIGHT[y as usize]).sum();
        assert_eq!(divisor, 6.0);
        for s in [0.0, 0.1, 1.0] {
            let (mut hard, mut even) = (0.0, 0.0);
            for (row, &y) in LOGITS.iter().zip(&LABELS) {
                let log_p = log_softmax(row);
                hard -= WEIGHT[y as usize] * log_p[y as usize];
                even -= WEIGHT.iter().zip(log_p).map(|(w, l)| w * l).sum::<f64>();
            }
            let expected = (1.0 - s) * hard / divisor + s / 3.0 * even / divisor;
            let found = loss(s).loss(&logits(), &labels()).unwrap();
            let found = found.to_scalar::<f64>().unwrap();
            assert!((found - expected).abs() < 1e-14, "{s}: {found} {expected}");
            let single = logits().to_dtype(DType::F32).unwrap();
            let single = loss(s).loss(&single, &labels()).unwrap();
            let single = f64::from(single.to_scalar::<f32>().unwrap());
            assert!((single - expected).abs() < 1e-6, "{s}: {single} {expected}");
        }
    }

    /// PyTorch divides by the number of samples when the targets are probabilities.
    #[test]
    fn soft_labels_are_weighted_by_class() {
        let soft = [
            [0.5, 0.25, 0.25],
            [1.0, 0.0, 0.0],
            [0.0, 0.5, 0.5],
            [0.1, 0.2, 0.7],
        ];
        let mut expected = 0.0;
        for (row, q) in LOGITS.iter().zip(&soft) {
            let terms = log_softmax(row).into_iter().zip(q).zip(WEIGHT);
            expected -= terms.map(|((l, q), w)| w * q * l).sum::<f64>() / 4.0;
        }
        let target = Target::Soft(Tensor::new(&soft, &Device::Cpu).unwrap());
        let found = loss(0.0).loss(&logits(), &target).unwrap();
        assert!((found.to_scalar::<f64>().unwrap() - expected).abs() < 1e-14);
    }

    #[test]
    fn gradients_equal_finite_differences() {
        for s in [0.0, 0.2] {
            let f = |t: &[Tensor]| match loss(s).loss(&t[0], &labels()) {
                Err(Error::Ops(error)) => Err(error),
                other => Ok(other.unwrap()),
            };
            let error = gradcheck::max_relative_error(f, &[logits()]).unwrap();
            assert!(error < 1e-8, "{error}");
        }
    }

    #[test]
    fn equal_weights_are_none() {
        let plain = CrossEntropy::default().loss(&logits(), &labels()).unwrap();
        let equal = CrossEntropy {
            weight: Some(vec![7.0; 3]),
            ..CrossEntropy::default()
        };
        let equal = equal.loss(&logits(), &labels()).unwrap();
        let difference = plain.to_scalar::<f64>().unwrap() - equal.to_scalar::<f64>().unwrap();
        assert!(difference.abs() < 1e-14);
    }

    #[test]
    fn as_many_weights_as_outputs() {
        let few = CrossEntropy {
            weight: Some(vec![1.0, 2.0]),
            ..CrossEntropy::default()
        };
        let error = few.loss(&logits(), &labels()).unwrap_err();
        assert_eq!(
            error.to_string(),
            "loss.class_weights: 2 weights, but the model has 3 outputs"
        );
        let multi = Target::MultiLabel(logits());
        assert!(matches!(
            loss(0.0).loss(&logits(), &multi),
            Err(Error::Target { .. })
        ));
    }
}
