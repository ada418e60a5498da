pub(crate) mod config;

use std::sync::OnceLock;

use candle_core::{CpuStorage, CustomOp1, CustomOp2, Shape, Tensor};

pub use self::config::CrossEntropyConfig;
pub(crate) use self::config::{check_labels, check_probabilities, read_labels};
use crate::cpu;
use crate::custom_op::{self, for_float};
use crate::error::Result;
use crate::kernels::fresh::fresh;
use crate::kernels::softmax;
use crate::{reference, route, tape};

/// Mean cross-entropy of logits and class labels, a scalar, as `torch.nn.functional.cross_entropy`.
///
/// `logits` are `(N, K)`, before the softmax; `labels` are `(N)` of `u32`, each below `K`. With label smoothing `s` the target is
/// `1 - s` at the label plus `s / K` for all classes. Large logits do not overflow.
///
/// # Errors
/// [`Error::Shape`](crate::Error::Shape) if a shape does not fit or is empty; [`Error::Config`](crate::Error::Config) if a label
/// is not below `K`, the labels are not `u32`, or the smoothing is outside `[0, 1]`. On other devices than the CPU the labels are
/// not read back, which would wait for the device at every step: a label that is not below `K` makes the loss NaN there.
pub fn cross_entropy(
    logits: &Tensor,
    labels: &Tensor,
    config: &CrossEntropyConfig,
) -> Result<Tensor> {
    if !route::has_kernels(logits) {
        return reference::cross_entropy(&tape::input(logits), labels, config);
    }
    let classes = check_labels(logits, labels, config)?;
    #[cfg(feature = "cuda")]
    if route::on_cuda(logits) {
        let smoothing = config.label_smoothing;
        return crate::cuda::loss::cross_entropy(logits, labels, classes, smoothing);
    }
    let labels = read_labels(labels, classes)?;
    let op = Hard {
        classes,
        labels,
        smoothing: config.label_smoothing,
        softmax: OnceLock::new(),
    };
    Ok(tape::apply1(&logits.contiguous()?, op)?)
}

/// Mean cross-entropy of logits and target probabilities (soft labels), a scalar, as `torch.nn.functional.cross_entropy` with
/// probabilities.
///
/// Both are `(N, K)`. The rows of `probabilities` need not sum to 1.
///
/// # Errors
/// [`Error::Shape`](crate::Error::Shape) if the shapes differ or are empty; [`Error::Config`](crate::Error::Config) if the element
/// types differ.
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

/// Results of the softmax for backward.
struct Softmax {
    probabilities: CpuStorage,
    /// Logarithm of the sum of the exponentials of each row.
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
            let mut log_sum = vec![0.; self.labels.len()];
            // SAFETY: the softmax writes every element.
            let p = unsafe { fresh(z.len(), |p| softmax::forward(z, self.classes, p, &mut log_sum)) };
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
            let scale = grad.to_dtype(candle_core::DType::F64)?.to_scalar::<f64>()?;
            // SAFETY: the pass writes every element.
            let gz = unsafe {
                fresh(p.len(), |gz| softmax::loss_backward(p, self.classes, &self.labels, self.smoothing, scale, gz))
            };
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
            let mut log_sum = vec![0.; z.len() / self.classes];
            // SAFETY: the softmax writes every element.
            let p = unsafe { fresh(z.len(), |p| softmax::forward(z, self.classes, p, &mut log_sum)) };
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
            // SAFETY: the pass writes every element.
            let gz = unsafe { fresh(p.len(), |gz| softmax::soft_loss_backward(p, q, self.classes, scale, gz)) };
            let gz = custom_op::tensor(gz, logits.shape())?;
            // Targets are mostly data, without a gradient.
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
