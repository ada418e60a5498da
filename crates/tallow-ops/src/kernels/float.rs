use std::ops::{Div, Sub};

use super::real::Real;

/// Element type of pooling, normalization and losses: [`Real`] with division, exponential and NaN.
pub(crate) trait Float: Real + Sub<Output = Self> + Div<Output = Self> {
    const NEG_INFINITY: Self;

    fn exp(self) -> Self;
    fn is_nan(self) -> bool;
}

/// `e^x` to 2 units in the last place, in steps that vectorise (Cody and Waite 1980: `x = n ln 2 + r`, a polynomial in `r`).
/// Below -87 it is 0, which is negligible in a sum that contains 1.
#[inline(always)]
fn exp_f32(x: f32) -> f32 {
    // Adding and taking away this rounds to a whole number.
    const ROUND: f32 = 12_582_912.0;
    const LN_2: [f32; 2] = [0.693_359_4, -2.121_944_4e-4];
    let bounded = x.clamp(-87.0, 88.0);
    let n = (bounded * std::f32::consts::LOG2_E + ROUND) - ROUND;
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
    let power = f32::from_bits((((n as i32) + 127) as u32) << 23);
    let value = fraction * power;
    let value = if x < -87.0 { 0.0 } else { value };
    let value = if x > 88.0 { f32::INFINITY } else { value };
    if x.is_nan() { x } else { value }
}

macro_rules! float {
    ($t:ty, $exp:expr) => {
        impl Float for $t {
            const NEG_INFINITY: Self = <$t>::NEG_INFINITY;

            #[inline(always)]
            fn exp(self) -> Self {
                $exp(self)
            }
            #[inline(always)]
            fn is_nan(self) -> bool {
                <$t>::is_nan(self)
            }
        }
    };
}

float!(f32, exp_f32);
float!(f64, f64::exp);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_exponential_is_right_to_two_units() {
        let mut worst = 0f64;
        for i in 0..2_000_000 {
            let x = -87.0 + i as f32 * (175.0 / 2_000_000.0);
            let exact = (x as f64).exp();
            let unit = exact * f64::from(f32::EPSILON);
            worst = worst.max((f64::from(exp_f32(x)) - exact).abs() / unit);
        }
        assert!(worst < 2.0, "{worst} units");
        assert_eq!(exp_f32(0.0), 1.0);
        assert_eq!(exp_f32(f32::NEG_INFINITY), 0.0);
        assert_eq!(exp_f32(f32::INFINITY), f32::INFINITY);
        assert!(exp_f32(f32::NAN).is_nan());
    }
}
