//! Activation functions and their derivatives, on vectors of `f32` and on `f64`.

use pulp::Simd;

use super::exp::{logistic, normal};

/// A function and its derivative.
pub(crate) trait Function: Copy + Send + Sync + 'static {
    fn value<S: Simd>(simd: S, x: S::f32s) -> S::f32s;
    fn slope<S: Simd>(simd: S, x: S::f32s) -> S::f32s;
    fn value_f64(x: f64) -> f64;
    fn slope_f64(x: f64) -> f64;
}

#[derive(Clone, Copy)]
pub(crate) struct Relu;

impl Function for Relu {
    #[inline(always)]
    fn value<S: Simd>(simd: S, x: S::f32s) -> S::f32s {
        let zero = simd.splat_f32s(0.0);
        simd.select_f32s(simd.less_than_or_equal_f32s(x, zero), zero, x)
    }
    #[inline(always)]
    fn slope<S: Simd>(simd: S, x: S::f32s) -> S::f32s {
        let (zero, one) = (simd.splat_f32s(0.0), simd.splat_f32s(1.0));
        simd.select_f32s(simd.less_than_or_equal_f32s(x, zero), zero, one)
    }
    #[inline(always)]
    fn value_f64(x: f64) -> f64 {
        if x <= 0.0 { 0.0 } else { x }
    }
    #[inline(always)]
    fn slope_f64(x: f64) -> f64 {
        if x <= 0.0 { 0.0 } else { 1.0 }
    }
}

#[derive(Clone, Copy)]
pub(crate) struct Sigmoid;

impl Function for Sigmoid {
    #[inline(always)]
    fn value<S: Simd>(simd: S, x: S::f32s) -> S::f32s {
        logistic(simd, x)
    }
    #[inline(always)]
    fn slope<S: Simd>(simd: S, x: S::f32s) -> S::f32s {
        let s = logistic(simd, x);
        simd.mul_f32s(s, simd.sub_f32s(simd.splat_f32s(1.0), s))
    }
    #[inline(always)]
    fn value_f64(x: f64) -> f64 {
        1.0 / (1.0 + (-x).exp())
    }
    #[inline(always)]
    fn slope_f64(x: f64) -> f64 {
        let s = Self::value_f64(x);
        s * (1.0 - s)
    }
}

#[derive(Clone, Copy)]
pub(crate) struct Silu;

impl Function for Silu {
    #[inline(always)]
    fn value<S: Simd>(simd: S, x: S::f32s) -> S::f32s {
        simd.mul_f32s(x, logistic(simd, x))
    }
    /// `s + x * s * (1 - s)`
    #[inline(always)]
    fn slope<S: Simd>(simd: S, x: S::f32s) -> S::f32s {
        let s = logistic(simd, x);
        let rest = simd.sub_f32s(simd.splat_f32s(1.0), s);
        simd.mul_add_e_f32s(simd.mul_f32s(x, rest), s, s)
    }
    #[inline(always)]
    fn value_f64(x: f64) -> f64 {
        x * Sigmoid::value_f64(x)
    }
    #[inline(always)]
    fn slope_f64(x: f64) -> f64 {
        let s = Sigmoid::value_f64(x);
        s + x * s * (1.0 - s)
    }
}

#[derive(Clone, Copy)]
pub(crate) struct HardSigmoid;

impl Function for HardSigmoid {
    #[inline(always)]
    fn value<S: Simd>(simd: S, x: S::f32s) -> S::f32s {
        let splat = |v| simd.splat_f32s(v);
        let inner = simd.mul_add_e_f32s(x, splat(1.0 / 6.0), splat(0.5));
        let inner = simd.select_f32s(
            simd.greater_than_or_equal_f32s(x, splat(3.0)),
            splat(1.0),
            inner,
        );
        simd.select_f32s(
            simd.less_than_or_equal_f32s(x, splat(-3.0)),
            splat(0.0),
            inner,
        )
    }
    #[inline(always)]
    fn slope<S: Simd>(simd: S, x: S::f32s) -> S::f32s {
        let splat = |v| simd.splat_f32s(v);
        let inside = simd.less_than_f32s(simd.abs_f32s(x), splat(3.0));
        simd.select_f32s(inside, splat(1.0 / 6.0), splat(0.0))
    }
    #[inline(always)]
    fn value_f64(x: f64) -> f64 {
        if x >= 3.0 {
            1.0
        } else if x <= -3.0 {
            0.0
        } else {
            x / 6.0 + 0.5
        }
    }
    #[inline(always)]
    fn slope_f64(x: f64) -> f64 {
        if x.abs() < 3.0 { 1.0 / 6.0 } else { 0.0 }
    }
}

#[derive(Clone, Copy)]
pub(crate) struct HardSwish;

impl Function for HardSwish {
    #[inline(always)]
    fn value<S: Simd>(simd: S, x: S::f32s) -> S::f32s {
        simd.mul_f32s(x, HardSigmoid::value(simd, x))
    }
    #[inline(always)]
    fn slope<S: Simd>(simd: S, x: S::f32s) -> S::f32s {
        let splat = |v| simd.splat_f32s(v);
        let inner = simd.mul_add_e_f32s(x, splat(1.0 / 3.0), splat(0.5));
        let inner = simd.select_f32s(
            simd.greater_than_or_equal_f32s(x, splat(3.0)),
            splat(1.0),
            inner,
        );
        simd.select_f32s(
            simd.less_than_or_equal_f32s(x, splat(-3.0)),
            splat(0.0),
            inner,
        )
    }
    #[inline(always)]
    fn value_f64(x: f64) -> f64 {
        x * HardSigmoid::value_f64(x)
    }
    #[inline(always)]
    fn slope_f64(x: f64) -> f64 {
        if x >= 3.0 {
            1.0
        } else if x <= -3.0 {
            0.0
        } else {
            x / 3.0 + 0.5
        }
    }
}

#[derive(Clone, Copy)]
pub(crate) struct Gelu;

/// `1 / sqrt(2 pi)`: density of the standard normal at 0.
const DENSITY: f64 = 0.5 * std::f64::consts::FRAC_2_SQRT_PI * std::f64::consts::FRAC_1_SQRT_2;

impl Function for Gelu {
    #[inline(always)]
    fn value<S: Simd>(simd: S, x: S::f32s) -> S::f32s {
        simd.mul_f32s(x, normal(simd, x).0)
    }
    #[inline(always)]
    fn slope<S: Simd>(simd: S, x: S::f32s) -> S::f32s {
        let (cdf, e) = normal(simd, x);
        let density = simd.mul_f32s(e, simd.splat_f32s(DENSITY as f32));
        simd.mul_add_e_f32s(x, density, cdf)
    }
    #[inline(always)]
    fn value_f64(x: f64) -> f64 {
        0.5 * x * libm::erfc(-x * std::f64::consts::FRAC_1_SQRT_2)
    }
    #[inline(always)]
    fn slope_f64(x: f64) -> f64 {
        let cdf = 0.5 * libm::erfc(-x * std::f64::consts::FRAC_1_SQRT_2);
        cdf + x * DENSITY * (-0.5 * x * x).exp()
    }
}

/// With the hyperbolic tangent: `(1 + tanh(u)) / 2` is the logistic function of `2 u`.
#[derive(Clone, Copy)]
pub(crate) struct GeluTanh;

/// `2 sqrt(2 / pi)`: `2 u = TWICE * (x + CUBIC * x^3)`.
const TWICE: f64 = 2.0 * std::f64::consts::FRAC_2_SQRT_PI * std::f64::consts::FRAC_1_SQRT_2;
const CUBIC: f64 = 0.044715;

impl Function for GeluTanh {
    #[inline(always)]
    fn value<S: Simd>(simd: S, x: S::f32s) -> S::f32s {
        let splat = |v: f64| simd.splat_f32s(v as f32);
        let square = simd.mul_f32s(x, x);
        let slope = simd.mul_add_e_f32s(square, splat(TWICE * CUBIC), splat(TWICE));
        simd.mul_f32s(x, logistic(simd, simd.mul_f32s(x, slope)))
    }
    /// `s + x * s * (1 - s) * (2 u)'`
    #[inline(always)]
    fn slope<S: Simd>(simd: S, x: S::f32s) -> S::f32s {
        let splat = |v: f64| simd.splat_f32s(v as f32);
        let square = simd.mul_f32s(x, x);
        let slope = simd.mul_add_e_f32s(square, splat(TWICE * CUBIC), splat(TWICE));
        let inner = simd.mul_add_e_f32s(square, splat(3.0 * TWICE * CUBIC), splat(TWICE));
        let s = logistic(simd, simd.mul_f32s(x, slope));
        let rest = simd.sub_f32s(simd.splat_f32s(1.0), s);
        // The small factors first: where they are 0, the product is 0 for `x` up to 1e19.
        let bend = simd.mul_f32s(simd.mul_f32s(s, rest), x);
        simd.mul_add_e_f32s(bend, inner, s)
    }
    #[inline(always)]
    fn value_f64(x: f64) -> f64 {
        x * Sigmoid::value_f64(TWICE * (x + CUBIC * x * x * x))
    }
    #[inline(always)]
    fn slope_f64(x: f64) -> f64 {
        let s = Sigmoid::value_f64(TWICE * (x + CUBIC * x * x * x));
        s + s * (1.0 - s) * x * TWICE * (1.0 + 3.0 * CUBIC * x * x)
    }
}
