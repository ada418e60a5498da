use std::ops::{Div, Sub};

use super::real::Real;

/// Element type of pooling, normalization and losses: [`Real`] with division, exponential and NaN.
pub(crate) trait Float: Real + Sub<Output = Self> + Div<Output = Self> {
    const NEG_INFINITY: Self;

    /// `e^x` for `x` up to 0.
    fn exp_of_negative(self) -> Self;
    fn is_nan(self) -> bool;
}

/// `e^x` for `x` up to 0, to 2 units in the last place, in steps that vectorise (Cody and Waite 1980: `x = n ln 2 + r`, a polynomial in
/// `r`). Below -87 it is 0, which is negligible in a sum that contains 1.
#[inline(always)]
fn exp_of_negative_f32(x: f32) -> f32 {
    // Adding this rounds to a whole number, which is then in the low bits.
    const ROUND: f32 = 12_582_912.0;
    const LN_2: [f32; 2] = [0.693_359_4, -2.121_944_4e-4];
    let bounded = if x < -87.0 { -87.0 } else { x };
    let rounded = bounded * std::f32::consts::LOG2_E + ROUND;
    let n = rounded - ROUND;
    let r = (bounded - n * LN_2[0]) - n * LN_2[1];
    let mut p = 1.987_569_1e-4;
    for c in [
        1.398_199_9e-3,
        8.333_452e-3,
        4.166_579_6e-2,
        1.666_666_5e-1,
        0.5,
    ] {
        p = p * r + c;
    }
    let fraction = p * r * r + r + 1.0;
    // 2^n, made of its exponent's bits.
    let power = f32::from_bits((rounded.to_bits() << 23).wrapping_add(127 << 23));
    let value = fraction * power;
    if x < -87.0 { 0.0 } else { value }
}

macro_rules! float {
    ($t:ty, $exp:expr) => {
        impl Float for $t {
            const NEG_INFINITY: Self = <$t>::NEG_INFINITY;

            #[inline(always)]
            fn exp_of_negative(self) -> Self {
                $exp(self)
            }
            #[inline(always)]
            fn is_nan(self) -> bool {
                <$t>::is_nan(self)
            }
        }
    };
}

float!(f32, exp_of_negative_f32);
float!(f64, f64::exp);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_exponential_of_a_negative_number_is_right_to_two_units() {
        let mut worst = 0f64;
        for i in 0..2_000_000 {
            let x = -87.0 + i as f32 * (87.0 / 2_000_000.0);
            let exact = (x as f64).exp();
            let unit = exact * f64::from(f32::EPSILON);
            worst = worst.max((f64::from(exp_of_negative_f32(x)) - exact).abs() / unit);
        }
        assert!(worst < 2.0, "{worst} units");
        assert_eq!(exp_of_negative_f32(0.0), 1.0);
        assert_eq!(exp_of_negative_f32(f32::NEG_INFINITY), 0.0);
        assert!(exp_of_negative_f32(f32::NAN).is_nan());
    }
}
