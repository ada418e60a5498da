//! Confidence interval of a proportion.

use statrs::distribution::{Beta, ContinuousCDF};

/// Bounds of the exact two-sided 95 % confidence interval of a proportion of which `successes` of `trials` were seen (Clopper and
/// Pearson 1934), each in `[0, 1]`. Without trials nothing is known: 0 and 1.
///
/// ```
/// let (lower, upper) = tallow_regress::proportion_interval(18, 20);
/// assert!((lower - 0.683).abs() < 1e-3 && (upper - 0.988).abs() < 1e-3);
/// ```
pub fn proportion_interval(successes: u64, trials: u64) -> (f64, f64) {
    let (k, rest) = (successes as f64, trials.saturating_sub(successes) as f64);
    // The distributions exist for positive parameters only, and the bounds outside of them are known.
    let quantile = |a: f64, b: f64, p: f64| Beta::new(a, b).map(|beta| beta.inverse_cdf(p)).ok();
    (
        quantile(k, rest + 1.0, 0.025).unwrap_or(0.0),
        quantile(k + 1.0, rest, 0.975).unwrap_or(1.0),
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    /// R's `binom.test(k, n)$conf.int`.
    #[test]
    fn intervals_are_those_of_r() {
        for (k, n, lower, upper) in [
            (0, 30, 0.0, 0.115_703_3),
            (10, 10, 0.691_502_9, 1.0),
            (18, 20, 0.683_017_2, 0.987_651_5),
            (1, 20, 0.001_265_1, 0.248_732_8),
            (0, 0, 0.0, 1.0),
        ] {
            let found = proportion_interval(k, n);
            assert!((found.0 - lower).abs() < 1e-6, "{k} of {n}: {found:?}");
            assert!((found.1 - upper).abs() < 1e-6, "{k} of {n}: {found:?}");
        }
    }
}
