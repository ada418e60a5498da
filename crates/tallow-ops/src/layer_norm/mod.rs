//! Layer normalization.

pub(crate) mod config;
mod op;

use std::sync::OnceLock;

use candle_core::Tensor;

use self::config::{check, check_2d};
use self::op::LayerNorm;
use crate::cast::widened;
use crate::error::Result;
use crate::layout::Layout;
use crate::weighted::apply_weighted;
use crate::{cpu, reference, tape};

/// Layer norm over the last dimension (Ba, Kiros and Hinton 2016, arXiv 1607.06450), as `torch.nn.functional.layer_norm` with
/// `normalized_shape` of one dimension.
///
/// `x` has any shape `(.., K)`; `weight` and `bias` are `(K)`. Each row of `K` elements becomes
/// `(x - mean) / sqrt(variance + eps) * weight + bias`, with the biased variance. PyTorch's `eps` is `1e-5` by default; ConvNeXt and
/// vision transformers have `1e-6`. Differentiable in all three.
///
/// # Errors
/// [`Error::Shape`](crate::Error::Shape) if the shapes differ from these or `K` is 0; [`Error::Config`](crate::Error::Config) if `eps` is
/// negative or not finite; an error of candle if the element types differ.
pub fn layer_norm(
    x: &Tensor,
    weight: Option<&Tensor>,
    bias: Option<&Tensor>,
    eps: f64,
) -> Result<Tensor> {
    let x = &in_the_type_of(x, weight.or(bias))?;
    let size = check(x, weight, bias, eps)?;
    if cpu::has_kernels(x) {
        return apply(x, weight, bias, eps, size, None);
    }
    let (weight, bias) = (weight.map(tape::input), bias.map(tape::input));
    reference::layer_norm::last(&tape::input(x), weight.as_ref(), bias.as_ref(), eps)
}

/// Layer norm over the channels of each pixel, as `LayerNorm2d` of torchvision's and timm's ConvNeXt (Liu et al. 2022, arXiv
/// 2201.03545).
///
/// `x` is `(N, C, H, W)`, or `(N, H, W, C)` in [`Layout::Nhwc`], where it is [`layer_norm`] itself; `weight` and `bias` are `(C)`.
///
/// # Errors
/// As [`layer_norm`].
pub fn layer_norm_2d(
    x: &Tensor,
    weight: Option<&Tensor>,
    bias: Option<&Tensor>,
    eps: f64,
    layout: Layout,
) -> Result<Tensor> {
    let x = &in_the_type_of(x, weight.or(bias))?;
    let extents = check_2d(x, weight, bias, eps, layout)?;
    if cpu::has_kernels(x) {
        let plane = (layout == Layout::Nchw).then_some(extents.h * extents.w);
        return apply(x, weight, bias, eps, extents.c, plane);
    }
    let (weight, bias) = (weight.map(tape::input), bias.map(tape::input));
    let x = tape::input(x);
    reference::layer_norm::channels(&x, weight.as_ref(), bias.as_ref(), eps, layout)
}

/// Maps in `bf16` beside parameters in `f32` are computed in `f32`.
fn in_the_type_of(x: &Tensor, parameter: Option<&Tensor>) -> Result<Tensor> {
    match parameter {
        Some(parameter) => widened(x, parameter),
        None => Ok(x.clone()),
    }
}

fn apply(
    x: &Tensor,
    weight: Option<&Tensor>,
    bias: Option<&Tensor>,
    eps: f64,
    size: usize,
    plane: Option<usize>,
) -> Result<Tensor> {
    let op = LayerNorm {
        size,
        plane,
        eps,
        stats: OnceLock::new(),
    };
    let weight = match weight {
        Some(weight) => weight.clone(),
        None => Tensor::ones(size, x.dtype(), x.device())?,
    };
    Ok(apply_weighted(x, &weight, bias, op)?)
}
