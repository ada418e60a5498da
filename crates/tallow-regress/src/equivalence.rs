//! Equivalence of two samples: two one-sided tests.

use statrs::distribution::{ContinuousCDF, StudentsT};
use tallow_record::Statistic;

use crate::confidence::{CONFIDENCE, bounds};

/// Outcome of two one-sided tests (Schuirmann 1987): whether the difference of two means is less than a margin, either way.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Equivalence {
    /// Mean of the left sample minus that of the right one; not a number if one is empty.
    pub difference: f64,
    /// Lower and upper one-sided 95 % confidence bounds of the difference, which together are its 90 % interval. `None` if a sample has
    /// fewer than two values, or one that is not finite.
    pub interval: Option<[f64; 2]>,
    /// Largest difference, either way, that does not matter.
    pub margin: f64,
}

impl Equivalence {
    /// Whether equivalence is shown: the interval lies within the margin. Otherwise it is not shown, which does not mean that the means
    /// differ by the margin: there may be too few values.
    pub fn is_shown(&self) -> bool {
        self.interval
            .is_some_and(|[low, high]| -self.margin < low && high < self.margin)
    }
}

/// Two one-sided Welch tests of the means of independent samples, each at the 5 % level: if the true means differ by the margin or more,
/// equivalence is shown in at most 5 % of cases. Welch's degrees of freedom are an approximation, which is good for samples of about one
/// size; with 3 values against 16 the rate is 6 %.
///
/// Samples without spread have an interval without width. A margin that is not above 0 shows nothing.
///
/// ```
/// let ours = [0.951, 0.948, 0.957, 0.953];
/// let theirs = [0.942, 0.945, 0.941, 0.949];
/// assert!(tallow_regress::equivalence(&ours, &theirs, 0.015).is_shown());
/// assert!(!tallow_regress::equivalence(&ours, &theirs, 0.010).is_shown());
/// ```
pub fn equivalence(left: &[f64], right: &[f64], margin: f64) -> Equivalence {
    let negated: Vec<f64> = right.iter().map(|value| -value).collect();
    let samples = [Statistic::of(left), Statistic::of(&negated)];
    let samples: Option<Vec<Statistic>> = samples.into_iter().collect();
    let finite = left.iter().chain(right).all(|value| value.is_finite());
    Equivalence {
        difference: samples
            .as_ref()
            .map_or(f64::NAN, |samples| samples.iter().map(|s| s.mean).sum()),
        interval: samples
            .filter(|_| finite)
            .and_then(|samples| bounds(&samples, 0.0)),
        margin,
    }
}

/// Probability that [`equivalence`] is shown for equal true means, with `count` normal values of standard deviation `spread` on either
/// side; 0 for fewer than two.
///
/// From Student's t with `2 (count - 1)` degrees of freedom around its mean. For three values the result may be three points too high,
/// since Welch's degrees of freedom are fewer then; from 16 on it is right within one and a half.
///
/// ```
/// assert!(tallow_regress::equivalence_power(0.022, 128, 0.01) > 0.95);
/// ```
pub fn equivalence_power(spread: f64, count: usize, margin: f64) -> f64 {
    let Some((student, quantile)) = student(count) else {
        return 0.0;
    };
    let error = spread * (2.0 / count as f64).sqrt();
    match margin / error - quantile {
        reach if reach > 0.0 => 2.0 * student.cdf(reach) - 1.0,
        _ => 0.0,
    }
}

/// Standard deviation up to which the [power](equivalence_power) is at least 90 %; 0 for fewer than two values.
pub fn widest_spread(count: usize, margin: f64) -> f64 {
    // A power of 90 % leaves 5 % at either end, as the level of the tests does, so that both quantiles are the same.
    student(count).map_or(0.0, |(_, quantile)| {
        margin / (2.0 * quantile) * (count as f64 / 2.0).sqrt()
    })
}

fn student(count: usize) -> Option<(StudentsT, f64)> {
    let degrees = 2.0 * (count as f64 - 1.0);
    let student = StudentsT::new(0.0, 1.0, degrees).ok()?;
    let quantile = student.inverse_cdf(CONFIDENCE);
    Some((student, quantile))
}

#[cfg(test)]
mod tests {
    use super::*;

    const A: [f64; 4] = [0.951, 0.948, 0.957, 0.953];
    const B: [f64; 4] = [0.942, 0.945, 0.941, 0.949];
    const C: [f64; 3] = [0.871, 0.852, 0.894];
    const FLAT: [f64; 3] = [0.868; 3];

    /// `scipy.stats.ttest_ind(a, b, equal_var=False).confidence_interval(0.9)`, and the larger p-value of the two of
    /// `ttest_ind(a, b - margin, equal_var=False, alternative="greater")` and `ttest_ind(a, b + margin, ..., alternative="less")`.
    #[test]
    fn agrees_with_scipy() {
        let one = [0.002_933_726_164_239, 0.013_066_273_835_761];
        let two = [0.005_022_298_628_142, 0.014_144_368_038_525];
        // Without spread on one side, the interval is that of the other.
        let three = [-0.031_123_089_141_824, 0.039_789_755_808_491];
        for (left, right, margin, interval, p) in [
            (&A[..], &B[..], 0.015, one, 0.018_164_8),
            (&A, &B, 0.013, one, 0.051_792_6),
            (&A, &B[..3], 0.0142, two, 0.048_479_6),
            (&A, &B[..3], 0.0141, two, 0.051_248_7),
            (&C, &FLAT, 0.03, three, 0.084_432_8),
            (&C, &FLAT, 0.05, three, 0.031_995_1),
        ] {
            let found = equivalence(left, right, margin);
            for (bound, expected) in found.interval.unwrap().iter().zip(interval) {
                assert!((bound - expected).abs() < 1e-9, "{found:?}");
            }
            assert_eq!(found.is_shown(), p < 0.05, "{found:?}, p = {p}");
            // The other way round.
            let turned = equivalence(right, left, margin);
            assert_eq!(turned.is_shown(), found.is_shown());
            assert!((turned.difference + found.difference).abs() < 1e-12);
        }
    }

    #[test]
    fn few_values_show_nothing() {
        for (left, right) in [(&A[..1], &B[..]), (&A, &B[..1]), (&A[..1], &B[..1])] {
            let found = equivalence(left, right, 1.0);
            assert_eq!((found.interval, found.is_shown()), (None, false));
            assert!((found.difference - 0.0085).abs() < 0.002);
        }
        let found = equivalence(&[], &B, 1.0);
        assert!(found.difference.is_nan() && found.interval.is_none() && !found.is_shown());
    }

    #[test]
    fn values_that_are_not_finite_show_nothing() {
        for value in [f64::NAN, f64::INFINITY] {
            let found = equivalence(&[0.9, value], &B, 1.0);
            assert_eq!((found.interval, found.is_shown()), (None, false));
        }
    }

    #[test]
    fn without_spread_the_difference_decides() {
        let found = equivalence(&[0.5, 0.5], &[0.25, 0.25, 0.25], 0.3);
        assert_eq!((found.interval, found.is_shown()), (Some([0.25; 2]), true));
        // At the margin nothing is shown.
        for margin in [0.25, 0.1, 0.0, -1.0, f64::NAN] {
            assert!(!equivalence(&[0.5, 0.5], &[0.25, 0.25], margin).is_shown());
        }
    }

    /// `2 * t.cdf(margin / (s * sqrt(2 / n)) - t.ppf(0.95, v), v) - 1` of SciPy, with `v = 2 (n - 1)`.
    #[test]
    fn power_agrees_with_scipy() {
        for (spread, count, margin, power) in [
            (2.2, 128, 1.0, 0.951_834_6),
            (1.6, 128, 1.0, 0.999_066_2),
            (0.8, 16, 1.0, 0.924_057_6),
            (0.7, 3, 2.5, 0.911_598_1),
            (1.0, 3, 2.5, 0.594_992_4),
        ] {
            let found = equivalence_power(spread, count, margin);
            assert!((found - power).abs() < 1e-6, "{spread} {count}: {found}");
        }
        assert_eq!(equivalence_power(5.0, 3, 2.5), 0.0);
        for count in [3, 16, 128] {
            let power = equivalence_power(widest_spread(count, 1.0), count, 1.0);
            assert!((power - 0.9).abs() < 1e-6, "{count}: {power}");
        }
        for count in [0, 1] {
            assert_eq!(equivalence_power(1.0, count, 1.0), 0.0);
            assert_eq!(widest_spread(count, 1.0), 0.0);
        }
    }
}
