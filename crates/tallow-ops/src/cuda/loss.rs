//! Cross entropy with labels.

use std::sync::OnceLock;

use candle_core::{CudaStorage, CustomOp1, Layout, Shape, Tensor};
use tallow_cuda::View;
use tallow_cuda::ops::loss::{self, Softmax};

use crate::cuda::{cuda_only, tensor};
use crate::custom_op;
use crate::error::Result;
use crate::tape;

const NAME: &str = "cross_entropy";

/// Mean cross entropy of checked arguments. The labels stay on the device: one that is out of range makes the loss NaN.
pub(crate) fn cross_entropy(
    logits: &Tensor,
    labels: &Tensor,
    classes: usize,
    smoothing: f64,
) -> Result<Tensor> {
    let op = CrossEntropy {
        labels: labels.contiguous()?,
        classes,
        smoothing,
        softmax: OnceLock::new(),
    };
    Ok(tape::apply1(&logits.contiguous()?, op)?)
}

/// Operator of one call.
struct CrossEntropy {
    labels: Tensor,
    classes: usize,
    smoothing: f64,
    softmax: OnceLock<Softmax>,
}

impl CustomOp1 for CrossEntropy {
    cuda_only!(1);

    fn cuda_fwd(
        &self,
        storage: &CudaStorage,
        layout: &Layout,
    ) -> candle_core::Result<(CudaStorage, Shape)> {
        let logits = View::floats(NAME, storage, layout)?;
        let (labels, labels_layout) = self.labels.storage_and_layout();
        let labels = View::locked_words(NAME, &labels, labels_layout)?;
        let (loss, softmax) = loss::cross_entropy(logits, labels, self.classes, self.smoothing)?;
        custom_op::save(&self.softmax, softmax)?;
        Ok((loss, Shape::from(())))
    }

    fn bwd(
        &self,
        logits: &Tensor,
        _loss: &Tensor,
        grad: &Tensor,
    ) -> candle_core::Result<Option<Tensor>> {
        let grad = grad.contiguous()?;
        let (grads, grad_layout) = grad.storage_and_layout();
        let (labels, labels_layout) = self.labels.storage_and_layout();
        let dz = loss::gradient(
            custom_op::saved(&self.softmax)?,
            View::locked_words(NAME, &labels, labels_layout)?,
            View::locked(NAME, &grads, grad_layout)?,
        )?;
        Ok(Some(tensor(dz, logits.shape())))
    }
}
