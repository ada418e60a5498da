use candle_core::{DType, Tensor, Var};

use super::wide::wide;
use crate::batch_norm::config::{BatchNormConfig, check, check_train};
use crate::batch_norm::running::momentum;
use crate::error::Result;
use crate::layout::Layout;

/// Reference of [`crate::batch_norm_train`]. Half types are computed in `f32`.
pub fn batch_norm_train(
    x: &Tensor,
    weight: &Tensor,
    bias: &Tensor,
    running_mean: &Var,
    running_var: &Var,
    config: &BatchNormConfig,
) -> Result<Tensor> {
    let extents = check_train(x, weight, bias, running_mean, running_var, config)?;
    let (axes, shape) = channels(extents.c, config.layout);
    let wide = x.to_dtype(wide(x))?;
    let mean = wide.mean_keepdim(axes)?;
    let centred = wide.broadcast_sub(&mean)?;
    let variance = centred.sqr()?.mean_keepdim(axes)?;
    let y = centred.broadcast_div(&(&variance + config.eps)?.sqrt()?)?;
    let y = affine(&y, weight, bias, shape, x.dtype())?;

    let count = (extents.n * extents.h * extents.w) as f64;
    let momentum = momentum(config);
    move_towards(running_mean, &mean, 1., momentum)?;
    move_towards(running_var, &variance, count / (count - 1.), momentum)?;
    Ok(y)
}

/// Reference of [`crate::batch_norm_eval`]. Half types are computed in `f32`.
pub fn batch_norm_eval(
    x: &Tensor,
    weight: &Tensor,
    bias: &Tensor,
    running_mean: &Tensor,
    running_var: &Tensor,
    config: &BatchNormConfig,
) -> Result<Tensor> {
    let extents = check(x, weight, bias, running_mean, running_var, config)?;
    let (_, shape) = channels(extents.c, config.layout);
    let dtype = wide(x);
    let constant = |t: &Tensor| t.detach().to_dtype(dtype)?.reshape(shape);
    let deviation = (constant(running_var)? + config.eps)?.sqrt()?;
    let y = x
        .to_dtype(dtype)?
        .broadcast_sub(&constant(running_mean)?)?
        .broadcast_div(&deviation)?;
    affine(&y, weight, bias, shape, x.dtype())
}

/// Axes to reduce over, and the shape that broadcasts one value per channel.
fn channels(c: usize, layout: Layout) -> ([usize; 3], (usize, usize, usize, usize)) {
    match layout {
        Layout::Nchw => ([0, 2, 3], (1, c, 1, 1)),
        Layout::Nhwc => ([0, 1, 2], (1, 1, 1, c)),
    }
}

fn affine(
    y: &Tensor,
    weight: &Tensor,
    bias: &Tensor,
    shape: (usize, usize, usize, usize),
    dtype: DType,
) -> Result<Tensor> {
    let parameter = |t: &Tensor| t.to_dtype(y.dtype())?.reshape(shape);
    Ok(y.broadcast_mul(&parameter(weight)?)?
        .broadcast_add(&parameter(bias)?)?
        .to_dtype(dtype)?)
}

fn move_towards(running: &Var, batch: &Tensor, factor: f64, momentum: f64) -> Result<()> {
    let batch = batch.detach().flatten_all()?.to_dtype(running.dtype())?;
    let moved =
        ((running.as_detached_tensor() * (1. - momentum))? + (batch * (momentum * factor))?)?;
    Ok(running.set(&moved)?)
}
