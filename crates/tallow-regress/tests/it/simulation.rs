//! Simulation of comparisons, for the error rates in the documentation.

use rand_chacha::ChaCha8Rng;
use rand_core::RngCore;
use tallow_record::Statistic;
use tallow_regress::{FRESH_ROUNDS, FRESH_SEEDS, Guard, Judgement, MetricComparison, Worse, level};

/// Distribution of a metric over seeds. Higher values are worse.
#[derive(Clone, Copy, Debug)]
pub enum Distribution {
    /// Normal.
    Normal,
    /// Log-normal: the logarithm is normal with standard deviation 1.
    LogNormal,
}

/// Settings of a comparison.
#[derive(Clone, Copy, Debug)]
pub struct Setup {
    pub distribution: Distribution,
    /// Seeds of the baseline.
    pub baseline: usize,
    /// Seeds of the first round.
    pub seeds: usize,
    /// Shift of the new values, in standard deviations.
    pub shift: f64,
}

fn uniform(rng: &mut ChaCha8Rng) -> f64 {
    (rng.next_u64() >> 11) as f64 / (1u64 << 53) as f64
}

/// Box-Muller transform.
pub fn normal(rng: &mut ChaCha8Rng) -> f64 {
    let radius = (-2.0 * (1.0 - uniform(rng)).ln()).sqrt();
    radius * (2.0 * std::f64::consts::PI * uniform(rng)).cos()
}

fn values(rng: &mut ChaCha8Rng, distribution: Distribution, count: usize, shift: f64) -> Vec<f64> {
    let one = |_| match distribution {
        Distribution::Normal => normal(rng) + shift,
        Distribution::LogNormal => normal(rng).exp() + shift,
    };
    (0..count).map(one).collect()
}

fn guard() -> Guard {
    Guard {
        metric: "metric".into(),
        worse: Worse::Higher,
        logarithm: false,
        least_std: 0.0,
        of_machine: false,
    }
}

/// Whether three rounds find a regression of one metric.
pub fn three_rounds(rng: &mut ChaCha8Rng, setup: Setup) -> bool {
    let guard = guard();
    let baseline = values(rng, setup.distribution, setup.baseline, 0.0);
    let baseline = Statistic::of(&baseline).unwrap();
    let mut fresh = |count| -> Vec<Option<f64>> {
        let values = values(rng, setup.distribution, count, setup.shift);
        values.into_iter().map(Some).collect()
    };
    let mut row = MetricComparison::first(&guard, &baseline, &fresh(setup.seeds));
    for _ in 0..FRESH_ROUNDS {
        if row.verdict == Judgement::Suspicious {
            row.look_again(&guard, &fresh(FRESH_SEEDS as usize));
        }
    }
    row.decide();
    row.verdict == Judgement::Regression
}

/// Whether one round finds a regression in any of `metrics` independent metrics, of which the first `shifted` are shifted.
pub fn one_round(rng: &mut ChaCha8Rng, setup: Setup, metrics: usize, shifted: usize) -> bool {
    let guard = guard();
    (0..metrics).any(|index| {
        let baseline = values(rng, setup.distribution, setup.baseline, 0.0);
        let baseline = Statistic::of(&baseline).unwrap();
        let shift = if index < shifted { setup.shift } else { 0.0 };
        let now = values(rng, setup.distribution, setup.seeds, shift);
        let now: Vec<Option<f64>> = now.into_iter().map(Some).collect();
        let mut row = MetricComparison::first(&guard, &baseline, &now);
        row.decide_once(&guard, &now, level(metrics));
        row.verdict == Judgement::Regression
    })
}

/// Fraction of `repeats` in which `found` returns true.
pub fn rate(repeats: usize, mut found: impl FnMut() -> bool) -> f64 {
    (0..repeats).filter(|_| found()).count() as f64 / repeats as f64
}
