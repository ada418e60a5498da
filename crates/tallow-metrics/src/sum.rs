//! Sum of floating point numbers that does not depend on the order of its terms.

use serde::{Deserialize, Serialize};

/// Exact running sum of `f64` values: Shewchuk's non-overlapping partial sums, rounded once when it is read
/// as Python's `math.fsum` does (Shewchuk 1997, "Adaptive Precision Floating-Point Arithmetic and Fast Robust
/// Geometric Predicates").
///
/// Since nothing is rounded until [`ExactSum::total`], any order and any grouping of the same terms gives the same
/// bits. Infinities and NaN are summed apart and take precedence over the finite part. A finite sum that exceeds the
/// range of `f64` on the way becomes infinite, which is the one case that can depend on the order.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub(crate) struct ExactSum {
    /// Non-overlapping terms in increasing magnitude; two or three of them in practice.
    partials: Vec<f64>,
    /// Sum of the infinite and NaN terms; zero when there were none.
    special: f64,
}

impl ExactSum {
    pub(crate) fn add(&mut self, term: f64) {
        let mut high = term;
        let mut kept = 0;
        for i in 0..self.partials.len() {
            let (sum, error) = two_sum(high, self.partials[i]);
            if error != 0.0 {
                self.partials[kept] = error;
                kept += 1;
            }
            high = sum;
        }
        self.partials.truncate(kept);
        if high.is_finite() {
            if high != 0.0 {
                self.partials.push(high);
            }
        } else {
            self.partials.clear();
            self.special += high;
        }
    }

    /// Adds the product `a * b` without rounding it first.
    pub(crate) fn add_product(&mut self, a: f64, b: f64) {
        let product = a * b;
        self.add(product);
        if product.is_finite() {
            self.add(a.mul_add(b, -product));
        }
    }

    pub(crate) fn merge(&mut self, other: &Self) {
        for &term in &other.partials {
            self.add(term);
        }
        self.special += other.special;
    }

    /// Exact sum, rounded once, half to even.
    pub(crate) fn total(&self) -> f64 {
        if self.special != 0.0 {
            return self.special;
        }
        let mut rest = self.partials.iter().rev().copied();
        let mut high = rest.next().unwrap_or(0.0);
        let mut low = 0.0;
        for partial in rest.by_ref() {
            (high, low) = two_sum(high, partial);
            if low != 0.0 {
                break;
            }
        }
        // `low` may be exactly half a unit of `high`: then the terms below it decide the rounding.
        if let Some(next) = rest.next()
            && low != 0.0
            && (low < 0.0) == (next < 0.0)
        {
            let twice = low * 2.0;
            let up = high + twice;
            if up - high == twice {
                high = up;
            }
        }
        high
    }
}

/// `a + b` rounded, and the rounding error.
fn two_sum(a: f64, b: f64) -> (f64, f64) {
    let (large, small) = if a.abs() < b.abs() { (b, a) } else { (a, b) };
    let sum = large + small;
    (sum, small - (sum - large))
}

#[cfg(test)]
mod tests {
    use super::ExactSum;
    use proptest::prelude::*;

    fn sum(terms: &[f64]) -> f64 {
        let mut total = ExactSum::default();
        terms.iter().for_each(|&term| total.add(term));
        total.total()
    }

    #[test]
    fn small_terms_survive_large_ones() {
        assert_eq!(sum(&[1e100, 1.0, -1e100]), 1.0);
        assert_eq!(sum(&[0.1; 10]), 1.0);
        assert_eq!(sum(&[]), 0.0);
        assert_eq!(sum(&[-0.0]).to_bits(), 0.0f64.to_bits());
    }

    #[test]
    fn halfway_is_decided_by_what_lies_below() {
        // 2^53 + 1 lies half way and goes to even, 2^53; a grain more or less tips it.
        let two53 = 9007199254740992.0;
        assert_eq!(sum(&[two53, 1.0]), two53);
        assert_eq!(sum(&[two53, 1.0, 1e-30]), two53 + 2.0);
        assert_eq!(sum(&[two53, 1.0, -1e-30]), two53);
    }

    #[test]
    fn infinities_and_nan_win_in_any_order() {
        assert_eq!(sum(&[1.0, f64::INFINITY, -5.0]), f64::INFINITY);
        assert!(sum(&[f64::INFINITY, 1.0, f64::NEG_INFINITY]).is_nan());
        assert!(sum(&[1.0, f64::NAN, 2.0]).is_nan());
        assert_eq!(sum(&[f64::MAX, f64::MAX]), f64::INFINITY);
    }

    #[test]
    fn products_are_not_rounded() {
        // (1 + 2^-30)^2 = 1 + 2^-29 + 2^-60; the last term is below the precision of a single product.
        let x = 1.0 + 2f64.powi(-30);
        let mut total = ExactSum::default();
        total.add_product(x, x);
        total.add(-1.0);
        total.add(-(2f64.powi(-29)));
        assert_eq!(total.total(), 2f64.powi(-60));
    }

    proptest! {
        #[test]
        fn equals_integer_arithmetic(
            terms in prop::collection::vec((-(1i64 << 53)..(1i64 << 53), 0u32..40), 0..60),
            split in 0usize..60,
        ) {
            let values: Vec<f64> = terms.iter().map(|&(m, e)| m as f64 * f64::from(1u32 << (e % 32)) * 2f64.powi(-40)).collect();
            let exact: i128 = terms.iter().map(|&(m, e)| i128::from(m) << (e % 32)).sum();
            // The cast of an i128 rounds half to even, and a power of two does not round again.
            let expected = exact as f64 * 2f64.powi(-40);
            prop_assert_eq!(sum(&values), expected);

            let (a, b) = values.split_at(split.min(values.len()));
            let mut left = ExactSum::default();
            b.iter().rev().for_each(|&term| left.add(term));
            let mut right = ExactSum::default();
            a.iter().for_each(|&term| right.add(term));
            left.merge(&right);
            prop_assert_eq!(left.total(), expected);
        }
    }
}
