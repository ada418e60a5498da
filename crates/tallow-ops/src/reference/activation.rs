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
        let inner = x.affine(1. / 6., 0.5)?;
        between(x, &x.zeros_like()?, &inner, &x.ones_like()?)
    })
}

/// Reference of [`crate::hard_swish`]. Half types are computed in `f32`.
pub fn hard_swish(x: &Tensor) -> Result<Tensor> {
    in_wide(x, |x| {
        let inner = x.mul(&x.affine(1. / 6., 0.5)?)?;
        // NaN for minus infinity, as in PyTorch.
        between(x, &(x * 0.)?, &inner, x)
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

/// `below` up to -3, `above` from 3 on, `inner` between them. NaN stays NaN, without a gradient of `inner`.
fn between(x: &Tensor, below: &Tensor, inner: &Tensor, above: &Tensor) -> Result<Tensor> {
    let three = x.ones_like()?.affine(3., 0.)?;
    let outer = x.ge(&three)?.where_cond(above, &(x.detach() * 1.)?)?;
    let outer = x.le(&three.neg()?)?.where_cond(below, &outer)?;
    Ok(x.abs()?.lt(&three)?.where_cond(inner, &outer)?)
}
