//! Exponentials on vectors of `f32`.

use pulp::Simd;

/// `e^x` for `x` up to 0, to 2 units in the last place (Cody and Waite 1980: `x = n ln 2 + r`, a polynomial in `r`). Below -87 it is
/// 0; NaN stays NaN.
#[inline(always)]
pub(super) fn exp_of_negative<S: Simd>(simd: S, x: S::f32s) -> S::f32s {
    // Adding this rounds to a whole number, which is then in the low bits.
    const ROUND: f32 = 12_582_912.0;
    const LN_2: [f32; 2] = [0.693_359_4, -2.121_944_4e-4];
    let splat = |v| simd.splat_f32s(v);
    let least = splat(-87.0);
    let tiny = simd.less_than_f32s(x, least);
    let x = simd.select_f32s(tiny, least, x);
    let k = simd.mul_add_e_f32s(x, splat(std::f32::consts::LOG2_E), splat(ROUND));
    let n = simd.sub_f32s(k, splat(ROUND));
    let r = simd.mul_add_e_f32s(n, splat(-LN_2[0]), x);
    let r = simd.mul_add_e_f32s(n, splat(-LN_2[1]), r);
    let mut p = splat(1.987_569_1e-4);
    for c in [
        1.398_199_9e-3,
        8.333_452e-3,
        4.166_579_6e-2,
        1.666_666_5e-1,
        0.5,
    ] {
        p = simd.mul_add_e_f32s(p, r, splat(c));
    }
    let fraction = simd.mul_add_e_f32s(p, simd.mul_f32s(r, r), simd.add_f32s(r, splat(1.0)));
    // 2^n, made of its exponent's bits.
    let exponent = simd.wrapping_dyn_shl_u32s(simd.transmute_u32s_f32s(k), simd.splat_u32s(23));
    let power = simd.add_u32s(exponent, simd.splat_u32s(127 << 23));
    let value = simd.mul_f32s(fraction, simd.transmute_f32s_u32s(power));
    simd.select_f32s(tiny, splat(0.0), value)
}

/// `1 / (1 + e^-x)`, to 4 units in the last place above -87 and 0 below. NaN stays NaN.
#[inline(always)]
pub(super) fn logistic<S: Simd>(simd: S, x: S::f32s) -> S::f32s {
    let one = simd.splat_f32s(1.0);
    let e = exp_of_negative(simd, simd.neg_f32s(simd.abs_f32s(x)));
    let negative = simd.less_than_f32s(x, simd.splat_f32s(0.0));
    let top = simd.select_f32s(negative, e, one);
    simd.div_f32s(top, simd.add_f32s(one, e))
}

/// Distribution function of the standard normal at `x`, and `e^(-x^2 / 2)`. The former is right to 2e-7 (3 units of a tail of up to a
/// half), or below 0 to a relative `(4 + x^2) * 1e-7`; the latter to 2.4e-7. NaN gives NaN.
#[inline(always)]
pub(super) fn normal<S: Simd>(simd: S, x: S::f32s) -> (S::f32s, S::f32s) {
    // (1 - cdf(z)) * e^(z^2 / 2) = t * P(t) with t = 1 / (1 + P * z) for z from 0 to 13.5, to a relative 2e-8: a fit of the least
    // largest error.
    const P: f32 = 0.345;
    const COEFFICIENTS: [f32; 9] = [
        -2.842_741_6e-2,
        1.454_889_2e-1,
        -2.715_717_3e-1,
        1.876_197_8e-1,
        -3.787_14e-2,
        1.119_050_3e-1,
        1.172_136_8e-1,
        1.380_240_2e-1,
        1.376_191_2e-1,
    ];
    let splat = |v| simd.splat_f32s(v);
    let one = splat(1.0);
    let e = exp_of_negative(simd, simd.mul_f32s(simd.mul_f32s(x, x), splat(-0.5)));
    let z = simd.abs_f32s(x);
    let t = simd.div_f32s(one, simd.mul_add_e_f32s(z, splat(P), one));
    let mut p = splat(COEFFICIENTS[0]);
    for &c in &COEFFICIENTS[1..] {
        p = simd.mul_add_e_f32s(p, t, splat(c));
    }
    let tail = simd.mul_f32s(simd.mul_f32s(p, t), e);
    let negative = simd.less_than_f32s(x, splat(0.0));
    let cdf = simd.select_f32s(negative, tail, simd.sub_f32s(one, tail));
    (cdf, e)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::kernels::simd::arch;
    use pulp::WithSimd;

    /// Values of the three functions at every element of a slice.
    struct Values<'a>(&'a [f32]);

    impl WithSimd for Values<'_> {
        type Output = Vec<[f32; 4]>;

        fn with_simd<S: Simd>(self, simd: S) -> Self::Output {
            let at = |&x: &f32| {
                let first = |v: S::f32s| {
                    let mut out = [0.0];
                    simd.partial_store_f32s(&mut out, v);
                    out[0]
                };
                let v = simd.splat_f32s(x);
                let negative = simd.splat_f32s(-x.abs());
                let (cdf, e) = normal(simd, v);
                [
                    first(exp_of_negative(simd, negative)),
                    first(logistic(simd, v)),
                    first(cdf),
                    first(e),
                ]
            };
            self.0.iter().map(at).collect()
        }
    }

    #[test]
    fn errors_are_within_what_is_promised() {
        let x: Vec<f32> = (-900_000..=900_000).map(|i| i as f32 * 1e-4).collect();
        let mut worst = [0f64; 5];
        for (x, got) in x.iter().zip(arch().dispatch(Values(&x))) {
            let [exp, logistic, cdf, e] = got.map(f64::from);
            let x = f64::from(*x);
            let unit = f64::from(f32::EPSILON);
            if x.abs() <= 87.0 {
                let exact = (-x.abs()).exp();
                worst[0] = worst[0].max((exp - exact).abs() / exact / unit);
                let exact = 1.0 / (1.0 + (-x).exp());
                worst[1] = worst[1].max((logistic - exact).abs() / exact / unit);
            }
            let exact = 0.5 * libm::erfc(-x * std::f64::consts::FRAC_1_SQRT_2);
            worst[2] = worst[2].max((cdf - exact).abs());
            if (-13.0..0.0).contains(&x) {
                worst[3] = worst[3].max((cdf - exact).abs() / exact / (4.0 + x * x));
            }
            worst[4] = worst[4].max((e - (-x * x / 2.0).exp()).abs());
        }
        let bounds = [2.0, 4.0, 2e-7, 1e-7, 2.4e-7];
        for (worst, bound) in worst.into_iter().zip(bounds) {
            assert!(worst <= bound, "{worst:e} > {bound:e}");
        }
    }

    #[test]
    fn ends_and_nan() {
        let infinity = f32::INFINITY;
        let got = arch().dispatch(Values(&[0.0, -infinity, infinity, f32::NAN, 1e30, -1e30]));
        assert_eq!(got[0], [1.0, 0.5, 0.5, 1.0]);
        assert_eq!((got[1], got[2]), ([0.0; 4], [0.0, 1.0, 1.0, 0.0]));
        assert!(got[3].iter().all(|v| v.is_nan()));
        assert_eq!((got[4], got[5]), ([0.0, 1.0, 1.0, 0.0], [0.0; 4]));
    }
}
