use candle_core::{DType, Tensor};

use crate::cross_entropy::config::{
    CrossEntropyConfig, check_labels, check_probabilities, read_labels,
};
use crate::error::Result;

/// Reference of [`crate::cross_entropy`]. Half types are computed in `f32`.
pub fn cross_entropy(
    logits: &Tensor,
    labels: &Tensor,
    config: &CrossEntropyConfig,
) -> Result<Tensor> {
    let classes = check_labels(logits, labels, config)?;
    let log_p = log_softmax(logits)?;
    let labels = labels.contiguous()?.unsqueeze(1)?;
    let picked = if labels.device().is_cpu() {
        read_labels(&labels.squeeze(1)?, classes)?;
        log_p.gather(&labels, 1)?
    } else {
        // A label out of range would make the gather abort.
        let known = labels.lt(classes as u32)?;
        let picked = log_p.gather(&known.where_cond(&labels, &labels.zeros_like()?)?, 1)?;
        let nan = Tensor::full(f32::NAN, picked.shape(), picked.device())?;
        known.where_cond(&picked, &nan.to_dtype(picked.dtype())?)?
    };
    let hard = picked.mean_all()?.neg()?;
    let smoothing = config.label_smoothing;
    // Left out without smoothing, since 0 times an infinite logit would be NaN.
    let loss = if smoothing == 0. {
        hard
    } else {
        ((hard * (1. - smoothing))? - (log_p.mean_all()? * smoothing)?)?
    };
    Ok(loss.to_dtype(logits.dtype())?)
}

/// Reference of [`crate::cross_entropy_soft`]. Half types are computed in `f32`.
pub fn cross_entropy_soft(logits: &Tensor, probabilities: &Tensor) -> Result<Tensor> {
    check_probabilities(logits, probabilities)?;
    let log_p = log_softmax(logits)?;
    let loss = log_p
        .mul(&probabilities.to_dtype(log_p.dtype())?)?
        .sum(1)?
        .mean_all()?
        .neg()?;
    Ok(loss.to_dtype(logits.dtype())?)
}

fn log_softmax(logits: &Tensor) -> Result<Tensor> {
    let dtype = if logits.dtype() == DType::F64 {
        DType::F64
    } else {
        DType::F32
    };
    let z = logits.to_dtype(dtype)?;
    let z = z.broadcast_sub(&z.detach().max_keepdim(1)?)?;
    Ok(z.broadcast_sub(&z.exp()?.sum_keepdim(1)?.log()?)?)
}
