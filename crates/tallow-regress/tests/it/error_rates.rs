//! Error rates of the rules, by simulation. `examples/error_rates.rs` prints the tables of the documentation.

use rand_chacha::ChaCha8Rng;
use rand_core::SeedableRng;

use crate::simulation::{Distribution, Setup, one_round, rate, three_rounds};

fn setup(baseline: usize, seeds: usize, shift: f64) -> Setup {
    Setup {
        distribution: Distribution::Normal,
        baseline,
        seeds,
        shift,
    }
}

#[test]
fn one_round_keeps_to_its_rate_of_false_alarms() {
    let mut rng = ChaCha8Rng::seed_from_u64(1);
    for (baseline, seeds, metrics) in [(10, 3, 5), (30, 3, 20), (5, 5, 5), (10, 1, 1)] {
        let setup = setup(baseline, seeds, 0.0);
        let alarms = rate(4000, || one_round(&mut rng, setup, metrics, 0));
        // Three standard deviations of a rate of 0.01.
        assert!(alarms <= 0.0148, "{setup:?} {metrics}: {alarms}");
    }
}

#[test]
fn one_round_finds_large_regressions() {
    let mut rng = ChaCha8Rng::seed_from_u64(2);
    for (baseline, seeds, shift, least) in [(30, 3, 4.0, 0.95), (10, 3, 5.0, 0.9)] {
        let setup = setup(baseline, seeds, shift);
        let found = rate(500, || one_round(&mut rng, setup, 5, 1));
        assert!(found >= least, "{setup:?}: {found}");
    }
}

/// The README's rate for a distribution with a long tail.
#[test]
fn one_round_with_a_long_tail() {
    let mut rng = ChaCha8Rng::seed_from_u64(4);
    let setup = Setup {
        distribution: Distribution::LogNormal,
        ..setup(10, 3, 0.0)
    };
    let alarms = rate(4000, || one_round(&mut rng, setup, 5, 0));
    assert!((alarms - 0.107).abs() < 0.015, "{alarms}");
}

/// `docs/regression.md`: with 30 seeds 93 % of shifts by four standard deviations, and hardly a false alarm.
#[test]
fn three_rounds_find_what_the_documentation_says() {
    let mut rng = ChaCha8Rng::seed_from_u64(3);
    let found = rate(2000, || three_rounds(&mut rng, setup(30, 1, 4.0)));
    assert!((found - 0.93).abs() < 0.025, "{found}");
    let found = rate(2000, || three_rounds(&mut rng, setup(10, 1, 4.0)));
    assert!((found - 0.56).abs() < 0.045, "{found}");
    let alarms = rate(20_000, || three_rounds(&mut rng, setup(10, 1, 0.0)));
    assert!(alarms < 0.0005, "{alarms}");
}
