//! Error rate and power of the equivalence test, by simulation.

use rand_chacha::ChaCha8Rng;
use rand_core::SeedableRng;
use tallow_regress::{equivalence, equivalence_power};

use crate::simulation::{normal, rate};

/// Share of repeats in which equivalence is shown, for counts, standard deviations and a true difference.
fn shown(
    rng: &mut ChaCha8Rng,
    counts: (usize, usize),
    spreads: (f64, f64),
    difference: f64,
) -> f64 {
    rate(8000, || {
        let left: Vec<f64> = (0..counts.0)
            .map(|_| difference + spreads.0 * normal(rng))
            .collect();
        let right: Vec<f64> = (0..counts.1).map(|_| spreads.1 * normal(rng)).collect();
        equivalence(&left, &right, 1.0).is_shown()
    })
}

#[test]
fn a_difference_as_large_as_the_margin_is_rarely_called_equivalent() {
    let mut rng = ChaCha8Rng::seed_from_u64(1);
    for (counts, spreads, most) in [
        ((3, 3), (0.3, 0.3), 0.05),
        ((3, 3), (0.2, 0.5), 0.05),
        ((16, 16), (0.5, 0.8), 0.05),
        ((128, 128), (1.7, 2.2), 0.05),
        ((10, 128), (1.0, 2.0), 0.05),
        // What the documentation says of samples that differ in size.
        ((3, 16), (0.3, 0.3), 0.06),
    ] {
        for difference in [1.0, -1.0] {
            let errors = shown(&mut rng, counts, spreads, difference);
            // Three standard deviations of a rate of 0.05.
            assert!(
                errors <= most + 0.0073,
                "{counts:?} {spreads:?} {difference}: {errors}"
            );
        }
    }
}

#[test]
fn equal_means_are_found_as_often_as_the_formula_says() {
    let mut rng = ChaCha8Rng::seed_from_u64(2);
    for (count, spread, error) in [(3, 0.28, 0.03), (16, 0.8, 0.015), (64, 1.5, 0.015)] {
        let expected = equivalence_power(spread, count, 1.0);
        let found = shown(&mut rng, (count, count), (spread, spread), 0.0);
        assert!(
            (found - expected).abs() < error,
            "{count}: {found} {expected}"
        );
    }
}
