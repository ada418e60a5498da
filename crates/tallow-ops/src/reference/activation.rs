use candle_core::{DType, Tensor};

use super::wide::wide;
use crate::error::Result;

/// Reference of [`crate::sigmoid`]. Half types are computed in `f32`.
pub fn sigmoid(x: &Tensor) -> Result<Tensor> {
    in_wide(x, logistic)
}

/// Reference of [`crate::silu`]. Half types are computed in `f32`.
pub fn silu(x: &Tensor) -> Result<Tensor> {
    in_wide(x, |x| Ok(x.mul(&logistic(x)?)?))
}

/// Reference of [`crate::hard_sigmoid`]. Half types are computed in `f32`.
pub fn hard_sigmoid(x: &Tensor) -> Result<Tensor> {
    in_wide(x, |x| {
        let nan = x.ne(x)?.where_cond(&x.detach(), &x.zeros_like()?)?;
        between(x, &nan, &x.ones_like()?, |x| Ok(x.affine(1. / 6., 0.5)?))
    })
}

/// Reference of [`crate::hard_swish`]. Half types are computed in `f32`.
pub fn hard_swish(x: &Tensor) -> Result<Tensor> {
    in_wide(x, |x| {
        // NaN for minus infinity, as in PyTorch.
        let below = (x.detach() * 0.)?;
        between(x, &below, x, |x| Ok(x.mul(&x.affine(1. / 6., 0.5)?)?))
    })
}

/// Reference of [`crate::gelu`]. Half types are computed in `f32`.
pub fn gelu(x: &Tensor) -> Result<Tensor> {
    in_wide(x, |x| {
        let cumulative = (x * std::f64::consts::FRAC_1_SQRT_2)?
            .erf()?
            .affine(0.5, 0.5)?;
        Ok(x.mul(&cumulative)?)
    })
}

/// Reference of [`crate::gelu_tanh`]. Half types are computed in `f32`.
pub fn gelu_tanh(x: &Tensor) -> Result<Tensor> {
    in_wide(x, |x| {
        let slope = x.sqr()?.affine(SQRT_2_OVER_PI * CUBIC, SQRT_2_OVER_PI)?;
        let cumulative = x.mul(&slope)?.tanh()?.affine(0.5, 0.5)?;
        Ok(x.mul(&cumulative)?)
    })
}

/// Factors of the approximation with the hyperbolic tangent.
pub(crate) const SQRT_2_OVER_PI: f64 =
    std::f64::consts::FRAC_2_SQRT_PI * std::f64::consts::FRAC_1_SQRT_2;
pub(crate) const CUBIC: f64 = 0.044715;

fn in_wide(x: &Tensor, f: impl FnOnce(&Tensor) -> Result<Tensor>) -> Result<Tensor> {
    let dtype: DType = x.dtype();
    Ok(f(&x.to_dtype(wide(x))?)?.to_dtype(dtype)?)
}

/// `1 / (1 + e^-x)`. Only the exponential of a negative number is taken, so that neither value nor gradient overflows.
fn logistic(x: &Tensor) -> Result<Tensor> {
    let e = x.abs()?.neg()?.exp()?;
    let large = (&e + 1.)?.recip()?;
    let small = e.mul(&large)?;
    Ok(x.ge(&x.zeros_like()?)?.where_cond(&large, &small)?)
}

/// `inner` of `x` between -3 and 3, `above` from 3 on, `below` otherwise, so for NaN too.
fn between(
    x: &Tensor,
    below: &Tensor,
    above: &Tensor,
    inner: impl FnOnce(&Tensor) -> Result<Tensor>,
) -> Result<Tensor> {
    let three = x.ones_like()?.affine(3., 0.)?;
    let inside = x.abs()?.lt(&three)?;
    // Zeros elsewhere, since an infinity times a gradient of 0 would be NaN.
    let inner = inner(&inside.where_cond(x, &x.zeros_like()?)?)?;
    let outer = x.ge(&three)?.where_cond(above, below)?;
    Ok(inside.where_cond(&inner, &outer)?)
}
