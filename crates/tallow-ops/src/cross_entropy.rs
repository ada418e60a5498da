use std::sync::OnceLock;

use candle_core::{CpuStorage, CustomOp1, CustomOp2, DType, Shape, Tensor};

use crate::cpu;
use crate::custom_op::{self, for_float};
use crate::kernels::softmax;
use crate::{Error, Result, reference, tape};

const OP: &str = "cross_entropy";

/// The constants of a cross entropy.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct CrossEntropyConfig {
    /// How much of the target is spread evenly over all classes, in `[0, 1]` (Szegedy et al. 2016); 0.
    pub label_smoothing: f64,
}

/// The mean cross entropy between `softmax(logits)` and the labels, a scalar, as `torch.nn.functional.cross_entropy`.
///
/// `logits` are `(N, K)` and *not* yet through a softmax; `labels` are `(N)` of `u32`, each below `K`. With label smoothing `s`
/// the target is `1 - s` at the label plus `s / K` everywhere. Large logits do not overflow.
///
/// # Errors
/// [`Error::Shape`] when a shape does not fit or is empty; [`Error::Config`] when a label is not below `K`, the labels are not
/// `u32`, or the smoothing is outside `[0, 1]`. Elsewhere than on the CPU the labels are not read back, which would wait for the
/// device at every step: one that is not below `K` makes the loss NaN there.
pub fn cross_entropy(
    logits: &Tensor,
    labels: &Tensor,
    config: &CrossEntropyConfig,
) -> Result<Tensor> {
    if !cpu::has_kernels(logits) {
        return reference::cross_entropy(&tape::input(logits), labels, config);
    }
    let classes = check_labels(logits, labels, config)?;
    let labels = read_labels(labels, classes)?;
    let op = Hard {
        classes,
        labels,
        smoothing: config.label_smoothing,
        softmax: OnceLock::new(),
    };
    Ok(tape::apply1(&logits.contiguous()?, op)?)
}

/// The mean cross entropy between `softmax(logits)` and target probabilities, a scalar, as
/// `torch.nn.functional.cross_entropy` with probabilities (for mixed images, distillation).
///
/// Both are `(N, K)`. The rows of `probabilities` are taken as they are, whether they add up to 1 or not.
///
/// # Errors
/// [`Error::Shape`] when the shapes differ or are empty; [`Error::Config`] when the element types differ.
pub fn cross_entropy_soft(logits: &Tensor, probabilities: &Tensor) -> Result<Tensor> {
    if !cpu::has_kernels(logits) {
        let (logits, probabilities) = (tape::input(logits), tape::input(probabilities));
        return reference::cross_entropy_soft(&logits, &probabilities);
    }
    let (_, classes) = check_probabilities(logits, probabilities)?;
    let op = Soft {
        classes,
        softmax: OnceLock::new(),
    };
    Ok(tape::apply2(
        &logits.contiguous()?,
        &probabilities.contiguous()?,
        op,
    )?)
}

/// The number of classes, once shapes, types and settings fit.
pub(crate) fn check_labels(
    logits: &Tensor,
    labels: &Tensor,
    config: &CrossEntropyConfig,
) -> Result<usize> {
    let op = OP;
    let (rows, classes) = check_logits(op, logits)?;
    if labels.dims() != [rows] {
        let expected = format!("({rows}), one a row of the logits");
        return Err(Error::Shape {
            op,
            argument: "labels",
            expected,
            found: labels.shape().clone(),
        });
    }
    let bad = |message| Err(Error::Config { op, message });
    if labels.dtype() != DType::U32 {
        return bad(format!("labels must be U32, got {:?}", labels.dtype()));
    }
    if !(0. ..=1.).contains(&config.label_smoothing) {
        return bad(format!(
            "label_smoothing must be in [0, 1], got {}",
            config.label_smoothing
        ));
    }
    Ok(classes)
}

/// The labels, all of them below the number of classes.
pub(crate) fn read_labels(labels: &Tensor, classes: usize) -> Result<Vec<u32>> {
    let labels = labels.to_vec1::<u32>()?;
    if let Some(row) = labels.iter().position(|&label| label as usize >= classes) {
        let message = format!(
            "label {} of row {row} is not below the number of classes, {classes}",
            labels[row]
        );
        return Err(Error::Config { op: OP, message });
    }
    Ok(labels)
}

pub(crate) fn check_probabilities(
    logits: &Tensor,
    probabilities: &Tensor,
) -> Result<(usize, usize)> {
    let op = "cross_entropy_soft";
    let (rows, classes) = check_logits(op, logits)?;
    if probabilities.dims() != [rows, classes] {
        let expected = format!("({rows}, {classes}), as the logits");
        return Err(Error::Shape {
            op,
            argument: "probabilities",
            expected,
            found: probabilities.shape().clone(),
        });
    }
    if probabilities.dtype() != logits.dtype() {
        let message = format!(
            "probabilities are {:?}, the logits {:?}",
            probabilities.dtype(),
            logits.dtype()
        );
        return Err(Error::Config { op, message });
    }
    Ok((rows, classes))
}

fn check_logits(op: &'static str, logits: &Tensor) -> Result<(usize, usize)> {
    match *logits.dims() {
        [rows, classes] if rows > 0 && classes > 0 => Ok((rows, classes)),
        _ => {
            let expected = "(N, K), neither of them 0".into();
            Err(Error::Shape {
                op,
                argument: "logits",
                expected,
                found: logits.shape().clone(),
            })
        }
    }
}

/// What the softmax leaves behind for backward.
struct Softmax {
    probabilities: CpuStorage,
    /// Per row, the logarithm of the sum of the exponentials.
    log_sum: Vec<f64>,
}

struct Hard {
    classes: usize,
    labels: Vec<u32>,
    smoothing: f64,
    softmax: OnceLock<Softmax>,
}

struct Soft {
    classes: usize,
    softmax: OnceLock<Softmax>,
}

impl CustomOp1 for Hard {
    fn name(&self) -> &'static str {
        "cross_entropy"
    }

    fn cpu_fwd(
        &self,
        storage: &CpuStorage,
        layout: &candle_core::Layout,
    ) -> candle_core::Result<(CpuStorage, Shape)> {
        for_float!(custom_op::dtype(storage), self.name(), T => {
            let z = cpu::slice::<T>(self.name(), storage, layout)?;
            let mut p = custom_op::zeros::<T>(z.len());
            let mut log_sum = vec![0.; self.labels.len()];
            softmax::forward(z, self.classes, &mut p, &mut log_sum);
            let loss = softmax::loss(z, self.classes, &log_sum, &self.labels, self.smoothing);
            custom_op::save(&self.softmax, Softmax { probabilities: custom_op::storage(p), log_sum })?;
            Ok((custom_op::storage(vec![loss as T]), Shape::from(())))
        })
    }

    fn bwd(
        &self,
        logits: &Tensor,
        _loss: &Tensor,
        grad: &Tensor,
    ) -> candle_core::Result<Option<Tensor>> {
        let Softmax { probabilities, .. } = custom_op::saved(&self.softmax)?;
        for_float!(logits.dtype(), self.name(), T => {
            let p = probabilities.as_slice::<T>()?;
            let mut gz = custom_op::zeros::<T>(p.len());
            let scale = grad.to_dtype(candle_core::DType::F64)?.to_scalar::<f64>()?;
            softmax::loss_backward(p, self.classes, &self.labels, self.smoothing, scale, &mut gz);
            Ok(Some(custom_op::tensor(gz, logits.shape())?))
        })
    }
}

impl CustomOp2 for Soft {
    fn name(&self) -> &'static str {
        "cross_entropy_soft"
    }

    fn cpu_fwd(
        &self,
        logits: &CpuStorage,
        logits_layout: &candle_core::Layout,
        targets: &CpuStorage,
        targets_layout: &candle_core::Layout,
    ) -> candle_core::Result<(CpuStorage, Shape)> {
        for_float!(custom_op::dtype(logits), self.name(), T => {
            let z = cpu::slice::<T>(self.name(), logits, logits_layout)?;
            let q = cpu::slice::<T>(self.name(), targets, targets_layout)?;
            let mut p = custom_op::zeros::<T>(z.len());
            let mut log_sum = vec![0.; z.len() / self.classes];
            softmax::forward(z, self.classes, &mut p, &mut log_sum);
            let loss = softmax::soft_loss(z, self.classes, &log_sum, q);
            custom_op::save(&self.softmax, Softmax { probabilities: custom_op::storage(p), log_sum })?;
            Ok((custom_op::storage(vec![loss as T]), Shape::from(())))
        })
    }

    fn bwd(
        &self,
        logits: &Tensor,
        targets: &Tensor,
        _loss: &Tensor,
        grad: &Tensor,
    ) -> candle_core::Result<(Option<Tensor>, Option<Tensor>)> {
        let Softmax {
            probabilities,
            log_sum,
        } = custom_op::saved(&self.softmax)?;
        for_float!(logits.dtype(), self.name(), T => {
            let p = probabilities.as_slice::<T>()?;
            let (storage, layout) = targets.storage_and_layout();
            let q = cpu::locked::<T>(self.name(), &storage, layout)?;
            let scale = grad.to_dtype(candle_core::DType::F64)?.to_scalar::<f64>()?;
            let mut gz = custom_op::zeros::<T>(p.len());
            softmax::soft_loss_backward(p, q, self.classes, scale, &mut gz);
            let gz = custom_op::tensor(gz, logits.shape())?;
            // Targets are data as a rule, and their gradient is not wanted.
            if !targets.track_op() {
                return Ok((Some(gz), None));
            }
            let (storage, layout) = logits.storage_and_layout();
            let mut gq = custom_op::zeros::<T>(p.len());
            softmax::soft_loss_backward_targets(cpu::locked(self.name(), &storage, layout)?, log_sum, scale, &mut gq);
            Ok((Some(gz), Some(custom_op::tensor(gq, targets.shape())?)))
        })
    }
}
