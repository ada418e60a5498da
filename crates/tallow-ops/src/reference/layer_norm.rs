use candle_core::{D, Tensor};

use super::wide::wide;
use crate::error::Result;
use crate::layer_norm::config::{check, check_2d};
use crate::layout::Layout;

/// Reference of [`crate::layer_norm`](crate::layer_norm()). Half types are computed in `f32`.
///
/// # Errors
/// As [`crate::layer_norm`](crate::layer_norm()).
pub fn layer_norm(
    x: &Tensor,
    weight: Option<&Tensor>,
    bias: Option<&Tensor>,
    eps: f64,
) -> Result<Tensor> {
    check(x, weight, bias, eps)?;
    last(x, weight, bias, eps)
}

/// Reference of [`crate::layer_norm_2d`]. Half types are computed in `f32`.
///
/// # Errors
/// As [`crate::layer_norm_2d`].
pub fn layer_norm_2d(
    x: &Tensor,
    weight: Option<&Tensor>,
    bias: Option<&Tensor>,
    eps: f64,
    layout: Layout,
) -> Result<Tensor> {
    check_2d(x, weight, bias, eps, layout)?;
    channels(x, weight, bias, eps, layout)
}

/// [`layer_norm_2d`] with the arguments already checked.
pub(crate) fn channels(
    x: &Tensor,
    weight: Option<&Tensor>,
    bias: Option<&Tensor>,
    eps: f64,
    layout: Layout,
) -> Result<Tensor> {
    match layout {
        Layout::Nhwc => last(x, weight, bias, eps),
        Layout::Nchw => {
            let x = x.permute((0, 2, 3, 1))?;
            Ok(last(&x, weight, bias, eps)?
                .permute((0, 3, 1, 2))?
                .contiguous()?)
        }
    }
}

/// [`layer_norm`] with the arguments already checked.
pub(crate) fn last(
    x: &Tensor,
    weight: Option<&Tensor>,
    bias: Option<&Tensor>,
    eps: f64,
) -> Result<Tensor> {
    let dtype = wide(x);
    let wide = x.to_dtype(dtype)?;
    let centred = wide.broadcast_sub(&wide.mean_keepdim(D::Minus1)?)?;
    let variance = centred.sqr()?.mean_keepdim(D::Minus1)?;
    let mut y = centred.broadcast_div(&(variance + eps)?.sqrt()?)?;
    if let Some(weight) = weight {
        y = y.broadcast_mul(&weight.to_dtype(dtype)?)?;
    }
    if let Some(bias) = bias {
        y = y.broadcast_add(&bias.to_dtype(dtype)?)?;
    }
    Ok(y.to_dtype(x.dtype())?)
}
