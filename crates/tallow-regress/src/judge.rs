//! Statistical test of one metric against its baseline.
//!
//! With further training there are three rounds. The first compares the seeds of a run with the baseline's seeds by a one-sided test
//! per metric, and passes most of them. A suspicious metric is trained again with seeds that neither had, and those alone are judged,
//! by a stricter test: what was chance in the seeds of the first round does not occur in the second. A regression must be confirmed
//! once more in the third round. Without further training, [`MetricComparison::decide_once`] applies the strict test to the first
//! round.

use serde::Serialize;
use statrs::distribution::{ContinuousCDF, StudentsT};
use tallow_record::Statistic;

use crate::guard::{Guard, Worse};

/// p-value below which a metric of the first round is suspicious and trained again.
pub(crate) const SUSPICIOUS: f64 = 0.02;

/// p-value below which the second and the third round confirm a regression.
pub(crate) const REGRESSION: f64 = 0.0002;

/// p-value below which a single seed counts as worse by itself; it must also be worse than every seed of the baseline.
///
/// Most seeds of a round must be worse by themselves. A single run with an extreme value would dominate the mean, and metrics with
/// frequent extreme values have a heavier tail than Student's distribution.
pub(crate) const EACH: f64 = 0.05;

/// Probability of any false alarm in a comparison without further training, over all of its metrics, for normally distributed values.
pub(crate) const ONE_ROUND: f64 = 0.01;

/// Number of seeds of the second round and of the third.
pub const FRESH_SEEDS: u64 = 3;

/// Number of rounds with fresh seeds.
pub const FRESH_ROUNDS: usize = 2;

/// Outcome of a comparison with a baseline, from the best to the worst.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Judgement {
    /// Not judged: another machine, or a baseline of one seed.
    Skipped,
    /// Bit-identical, or not worse than chance explains.
    Pass,
    /// Better than chance explains: a reason to renew the baseline.
    Better,
    /// Worse than is likely: more seeds will decide.
    Suspicious,
    /// Trained in another way than the baseline, as the traces show; better or worse is another question.
    Changed,
    /// Worse than chance explains.
    Regression,
    /// Not compared: the baseline has other data or another recipe.
    Refused,
}

impl Judgement {
    /// Text in tables.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Skipped => "skipped",
            Self::Pass => "pass",
            Self::Better => "better",
            Self::Suspicious => "suspicious",
            Self::Changed => "CHANGED",
            Self::Regression => "REGRESSION",
            Self::Refused => "REFUSED",
        }
    }

    /// Whether it makes the comparison fail.
    pub fn fails(self) -> bool {
        self >= Self::Suspicious
    }
}

/// Comparison of one metric with its baseline.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct MetricComparison {
    /// Name of the metric.
    pub metric: String,
    /// Values of the baseline's seeds.
    pub baseline: Statistic,
    /// Values of the first round; `None` if a run has no finite value.
    pub now: Option<Statistic>,
    /// Probability of a mean as bad as this, or worse, by chance.
    pub p: Option<f64>,
    /// Values of the last further round in which the metric was judged; runs without a finite value are left out.
    pub again: Option<Statistic>,
    /// Probability of their mean, if all runs have a finite value or none has.
    pub p_again: Option<f64>,
    /// Outcome.
    pub verdict: Judgement,
}

impl MetricComparison {
    /// Compares the values of the first round. `None` stands for a run without a finite value.
    pub fn first(guard: &Guard, baseline: &Statistic, now: &[Option<f64>]) -> Self {
        // Speed and counts of a diverged run say nothing about the network; its losses do.
        let whole = guard.of_machine || guard.worse == Worse::Different;
        let values: Option<Vec<f64>> = match whole {
            true => Some(now.iter().copied().flatten().collect()),
            false => now.iter().copied().collect(),
        };
        let now = values.as_deref().and_then(Statistic::of);
        let p = match &now {
            None if whole => None,
            _ => p_value(guard, &baseline.values, values.as_deref()),
        };
        let better = || p_value(&guard.reversed(), &baseline.values, values.as_deref());
        let verdict = match p {
            None => Judgement::Skipped,
            Some(p) if p < SUSPICIOUS => Judgement::Suspicious,
            Some(_) if better().is_some_and(|p| p < REGRESSION) => Judgement::Better,
            Some(_) => Judgement::Pass,
        };
        let verdict = match guard.worse {
            // It does not depend on the seed, so further seeds give no information.
            Worse::Different if verdict == Judgement::Suspicious => Judgement::Regression,
            _ => verdict,
        };
        Self {
            metric: guard.metric.to_string(),
            baseline: baseline.clone(),
            now,
            p,
            again: None,
            p_again: None,
            verdict,
        }
    }

    /// Judges the values of a further round if the metric is suspicious; it stays suspicious if they confirm it.
    pub fn look_again(&mut self, guard: &Guard, again: &[Option<f64>]) {
        if self.verdict != Judgement::Suspicious {
            return;
        }
        let values: Vec<f64> = again.iter().copied().flatten().collect();
        self.again = Statistic::of(&values);
        self.p_again = match again.len() - values.len() {
            0 => p_value(guard, &self.baseline.values, Some(&values)),
            _ => values.is_empty().then_some(0.0),
        };
        if !confirms(guard, &self.baseline.values, again, REGRESSION) {
            self.verdict = Judgement::Pass;
        }
    }

    /// Decides after the last round: a metric that is still suspicious is a regression.
    pub fn decide(&mut self) {
        if self.verdict == Judgement::Suspicious {
            self.verdict = Judgement::Regression;
        }
    }

    /// Decides a suspicious metric by the first round alone, where no further seeds can be trained.
    ///
    /// It is a regression if `p < level` and most of its seeds are worse by themselves: with `p < 0.05`, and worse than every seed of
    /// the baseline. `level` is 0.01 divided by the number of metrics of the comparison that depend on chance (Bonferroni's
    /// correction).
    pub fn decide_once(&mut self, guard: &Guard, now: &[Option<f64>], level: f64) {
        if self.verdict == Judgement::Suspicious {
            self.verdict = match confirms(guard, &self.baseline.values, now, level) {
                true => Judgement::Regression,
                false => Judgement::Pass,
            };
        }
    }
}

/// Whether the mean is worse than chance explains, with `p < level`, and most values are worse by themselves.
fn confirms(guard: &Guard, baseline: &[f64], now: &[Option<f64>], level: f64) -> bool {
    let values: Vec<f64> = now.iter().copied().flatten().collect();
    let alone = |value: &Option<f64>| {
        let value = value.map(|value| [value]);
        let value = value.as_ref().map(|value| &value[..]);
        p_value(guard, baseline, value).is_some_and(|p| p < EACH) && worst(guard, baseline, value)
    };
    let most = 2 * now.iter().filter(|value| alone(value)).count() > now.len();
    // A mean with a missing value is as bad as possible.
    let missing = values.len() < now.len();
    most && (missing || p_value(guard, baseline, Some(&values)).is_some_and(|p| p < level))
}

/// Probability that the mean of as many new values is as bad as theirs, or worse, if they have the baseline's distribution: Student's t
/// of the difference, with the baseline's standard deviation. `None` if the baseline has a single value.
///
/// A missing value is as bad as possible.
fn p_value(guard: &Guard, baseline: &[f64], now: Option<&[f64]>) -> Option<f64> {
    let Some(now) = now else {
        return Some(0.0);
    };
    if guard.worse == Worse::Different {
        let same = now.iter().all(|value| baseline.first() == Some(value));
        return Some(if same { 1.0 } else { 0.0 });
    }
    let of = |values: &[f64]| Statistic::of(&guard.scale(values));
    let (old, new) = (of(baseline)?, of(now)?);
    let std = old.std?.max(guard.least_std);
    let count = |statistic: &Statistic| statistic.values.len() as f64;
    // A standard deviation of 0 would make the quotient of equal means NaN.
    let std = std.max(f64::MIN_POSITIVE);
    let error = std * (1.0 / count(&old) + 1.0 / count(&new)).sqrt();
    let worse_by = match guard.worse {
        Worse::Lower => old.mean - new.mean,
        _ => new.mean - old.mean,
    };
    let student = StudentsT::new(0.0, 1.0, count(&old) - 1.0).ok()?;
    Some(student.sf(worse_by / error))
}

/// Whether all values are worse than all values of the baseline.
fn worst(guard: &Guard, baseline: &[f64], now: Option<&[f64]>) -> bool {
    now.is_none_or(|now| {
        now.iter().all(|value| match guard.worse {
            Worse::Lower => baseline.iter().all(|before| value < before),
            _ => baseline.iter().all(|before| value > before),
        })
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::guard::SPEED;

    fn guard(metric: &str) -> &'static Guard {
        Guard::find(metric).unwrap()
    }

    fn some(values: &[f64]) -> Vec<Option<f64>> {
        values.iter().copied().map(Some).collect()
    }

    const ACCURACIES: [f64; 10] = [0.94, 0.95, 0.93, 0.96, 0.94, 0.95, 0.94, 0.93, 0.95, 0.94];

    /// `scipy.stats.t.sf`, of numpy's mean and standard deviation (ddof 1) of the same figures.
    #[test]
    fn agrees_with_scipy() {
        for (now, expected) in [
            (&[0.92][..], 0.023_058_279_4),
            (&[0.92, 0.93, 0.91], 0.002_526_160_9),
            (&[0.95], 0.750_238_880_3),
        ] {
            let p = p_value(guard("test_accuracy"), &ACCURACIES, Some(now)).unwrap();
            assert!((p - expected).abs() < 1e-8, "{now:?}: {p}");
        }
    }

    #[test]
    fn what_is_like_the_baseline_passes_and_what_is_not_is_looked_at_again() {
        let baseline = Statistic::of(&ACCURACIES).unwrap();
        let first =
            |now| MetricComparison::first(guard("test_accuracy"), &baseline, &some(&[now])).verdict;
        assert_eq!(first(0.94), Judgement::Pass);
        assert_eq!(first(0.93), Judgement::Pass);
        assert_eq!(first(0.90), Judgement::Suspicious);
        assert_eq!(first(1.0), Judgement::Better);
    }

    #[test]
    fn further_rounds_decide_by_their_own_seeds() {
        let guard = guard("test_accuracy");
        let baseline = Statistic::of(&ACCURACIES).unwrap();
        let suspicious = MetricComparison::first(guard, &baseline, &some(&[0.90]));
        let mut chance = suspicious.clone();
        chance.look_again(guard, &some(&[0.94, 0.93, 0.95]));
        assert_eq!(chance.verdict, Judgement::Pass);
        // What has passed is not looked at again.
        chance.look_again(guard, &some(&[0.90, 0.91, 0.90]));
        chance.decide();
        assert_eq!(chance.verdict, Judgement::Pass);
        let mut fault = suspicious.clone();
        fault.look_again(guard, &some(&[0.90, 0.91, 0.90]));
        assert_eq!(fault.verdict, Judgement::Suspicious);
        let mut twice = fault.clone();
        fault.look_again(guard, &some(&[0.94, 0.91, 0.95]));
        fault.decide();
        assert_eq!(fault.verdict, Judgement::Pass);
        twice.look_again(guard, &some(&[0.91, 0.91, 0.90]));
        twice.decide();
        assert_eq!(twice.verdict, Judgement::Regression);
        let mut astray = suspicious.clone();
        astray.look_again(guard, &some(&[0.94, 0.95, 0.80]));
        assert!(astray.p_again.unwrap() < REGRESSION);
        assert_eq!(astray.verdict, Judgement::Pass);
        let mut tailed = MetricComparison::first(guard, &baseline, &some(&[0.90]));
        tailed.baseline.values[0] = 0.905;
        tailed.look_again(guard, &some(&[0.90, 0.908, 0.909]));
        assert_eq!(tailed.verdict, Judgement::Pass);
        let mut passed = MetricComparison::first(guard, &baseline, &some(&[0.94]));
        passed.look_again(guard, &some(&[0.1, 0.1, 0.1]));
        assert_eq!((passed.verdict, passed.again), (Judgement::Pass, None));
    }

    #[test]
    fn one_round_decides_by_a_stricter_level_and_most_seeds() {
        let guard = guard("test_accuracy");
        let baseline = Statistic::of(&ACCURACIES).unwrap();
        let decided = |now: &[Option<f64>], level: f64| {
            let mut row = MetricComparison::first(guard, &baseline, now);
            row.decide_once(guard, now, level);
            row.verdict
        };
        // p = 0.0025
        let now = some(&[0.92, 0.93, 0.91]);
        assert_eq!(decided(&now, 0.001), Judgement::Pass);
        assert_eq!(decided(&now, 0.01), Judgement::Regression);
        // A single extreme value is no regression.
        assert_eq!(decided(&some(&[0.94, 0.95, 0.5]), 0.01), Judgement::Pass);
        assert_eq!(decided(&some(&[0.94; 3]), 0.01), Judgement::Pass);
        assert_eq!(decided(&some(&[0.99; 3]), 0.01), Judgement::Better);
        // Most seeds diverged.
        assert_eq!(
            decided(&[None, Some(0.94), None], 0.01),
            Judgement::Regression
        );
        assert_eq!(
            decided(&[None, Some(0.94), Some(0.94)], 0.01),
            Judgement::Pass
        );
        assert_eq!(decided(&[None], 0.01), Judgement::Regression);
    }

    #[test]
    fn a_baseline_without_spread() {
        let guard = Guard {
            metric: "bleu".into(),
            worse: Worse::Lower,
            logarithm: false,
            least_std: 0.0,
            of_machine: false,
        };
        let baseline = Statistic::of(&[0.0; 3]).unwrap();
        let first = |now| MetricComparison::first(&guard, &baseline, &some(&[now]));
        assert_eq!(
            (first(0.0).verdict, first(0.0).p),
            (Judgement::Pass, Some(0.5))
        );
        assert_eq!(
            (first(-1.0).verdict, first(-1.0).p),
            (Judgement::Suspicious, Some(0.0))
        );
        assert_eq!(
            (first(1.0).verdict, first(1.0).p),
            (Judgement::Better, Some(1.0))
        );
    }

    #[test]
    fn a_missing_figure_is_the_worst() {
        let guard = guard("test_loss");
        let baseline = Statistic::of(&[0.5, 0.6, 0.55]).unwrap();
        let row = MetricComparison::first(guard, &baseline, &[None]);
        assert_eq!((row.verdict, row.p), (Judgement::Suspicious, Some(0.0)));
        // One run in three that diverges may be chance, two are not.
        let again = |values: &[Option<f64>]| {
            let mut row = row.clone();
            row.look_again(guard, values);
            row.verdict
        };
        assert_eq!(again(&[None, Some(0.55), Some(0.55)]), Judgement::Pass);
        assert_eq!(again(&[None, Some(0.55), None]), Judgement::Suspicious);
        assert_eq!(again(&[None; 3]), Judgement::Suspicious);
        let mut partly = row.clone();
        partly.look_again(guard, &[None, Some(0.5), Some(0.6)]);
        assert_eq!(partly.again.unwrap().mean, 0.55);
        assert_eq!(partly.p_again, None);
    }

    /// A run that diverged says nothing of steps and speed.
    #[test]
    fn what_is_no_figure_of_the_network_is_of_the_runs_that_end() {
        for metric in ["steps", SPEED] {
            let baseline = Statistic::of(&[100.0; 2]).unwrap();
            let first = |now: &[Option<f64>]| {
                MetricComparison::first(guard(metric), &baseline, now).verdict
            };
            assert_eq!(first(&[None]), Judgement::Skipped);
            assert_eq!(first(&[None, Some(100.0)]), Judgement::Pass);
        }
        let baseline = Statistic::of(&[100.0; 2]).unwrap();
        let row = MetricComparison::first(guard("steps"), &baseline, &[None, Some(99.0)]);
        assert_eq!(row.verdict, Judgement::Regression);
    }

    #[test]
    fn what_no_chance_changes_must_be_the_same() {
        let baseline = Statistic::of(&[62_006.0; 2]).unwrap();
        let first =
            |now| MetricComparison::first(guard("parameters"), &baseline, &some(&[now])).verdict;
        assert_eq!(first(62_006.0), Judgement::Pass);
        assert_eq!(first(62_005.0), Judgement::Regression);
        assert_eq!(first(62_007.0), Judgement::Regression);
    }

    /// Ten equal values say nothing of the spread: the least one stands in for it.
    #[test]
    fn values_that_lie_close_together_are_not_held_against_a_new_one() {
        let baseline = Statistic::of(&[0.95; 10]).unwrap();
        let first =
            |now| MetricComparison::first(guard("test_accuracy"), &baseline, &some(&[now])).verdict;
        assert_eq!(first(0.949), Judgement::Pass);
        assert_eq!(first(0.93), Judgement::Suspicious);
    }

    #[test]
    fn speed_must_fall_by_a_third() {
        let baseline = Statistic::of(&[0.30; 30]).unwrap();
        let judged = |now: f64| {
            let mut row = MetricComparison::first(guard(SPEED), &baseline, &some(&[now]));
            row.look_again(guard(SPEED), &some(&[now; 3]));
            row.decide();
            row.verdict
        };
        assert_eq!(judged(0.22), Judgement::Pass);
        assert_eq!(judged(0.20), Judgement::Regression);
    }

    #[test]
    fn one_seed_is_nothing_to_judge_by() {
        let baseline = Statistic::of(&[0.95]).unwrap();
        let row = MetricComparison::first(guard("test_accuracy"), &baseline, &some(&[0.1]));
        assert_eq!((row.verdict, row.p), (Judgement::Skipped, None));
    }
}
