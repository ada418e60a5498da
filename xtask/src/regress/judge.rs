//! Whether a figure got worse by more than chance. `docs/regression.md` tells why it is done like this.
//!
//! In three rounds. The first compares the tier's own seeds with the baseline's, each figure by a one-sided test, and lets most of
//! them pass. What it finds suspicious is trained again with seeds that neither had, and those alone are judged, more strictly: what
//! was chance in the first round's seeds is not there in the second. What that finds has to show once more in the third.

use serde::Serialize;
use statrs::distribution::{ContinuousCDF, StudentsT};
use tallow_report::Statistic;

use super::guard::{Guard, Worse};

/// A figure whose p-value is below this in the first round is looked at again.
pub const SUSPICIOUS: f64 = 0.02;

/// Below this in the second round and in the third it is a regression.
pub const REGRESSION: f64 = 0.0002;

/// What is more, most of its seeds must be worse by themselves, by this p-value and than any of the baseline's: a run that goes astray
/// now and then would carry a mean away, and what goes astray often has a tail that Student's distribution knows nothing of.
pub const EACH: f64 = 0.05;

/// Seeds of the second round, and of the third.
pub const FRESH_SEEDS: u64 = 3;

/// Rounds with fresh seeds.
pub const FRESH_ROUNDS: usize = 2;

/// How a figure, or all of something, came out. From the best to the worst.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Verdict {
    /// Nothing to compare with: another machine, or a baseline of one seed.
    Skipped,
    /// The same to the bit, or not worse than chance explains.
    Pass,
    /// Better than chance explains: no fault, but a reason to renew the baseline.
    Better,
    /// Worse than is likely: more seeds are to decide.
    Suspicious,
    /// Worse than chance explains.
    Regression,
    /// Not compared, since what was run is not what the baseline was made of.
    Refused,
}

impl Verdict {
    /// As in tables.
    pub fn as_str(self) -> &'static str {
        match self {
            Verdict::Skipped => "skipped",
            Verdict::Pass => "pass",
            Verdict::Better => "better",
            Verdict::Suspicious => "suspicious",
            Verdict::Regression => "REGRESSION",
            Verdict::Refused => "REFUSED",
        }
    }

    /// Whether it is a reason to fail.
    pub fn fails(self) -> bool {
        self >= Verdict::Suspicious
    }
}

/// A figure beside the baseline's.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Row {
    /// Its name.
    pub metric: &'static str,
    /// Over the baseline's seeds.
    pub baseline: Statistic,
    /// Over the seeds of the first round. `None` where a run has no such figure: a loss that is not finite.
    pub now: Option<Statistic>,
    /// How likely so bad a figure, or a worse one, is by chance.
    pub p: Option<f64>,
    /// Over the seeds of the last further round that this one was judged in, where there was one; those that have such a figure.
    pub again: Option<Statistic>,
    /// The same of those, where all of them have one or none has.
    pub p_again: Option<f64>,
    /// What it comes to.
    pub verdict: Verdict,
}

impl Row {
    /// Compares the figures of the first round; `None` stands for one that is missing.
    pub fn first(guard: &Guard, baseline: &Statistic, now: &[Option<f64>]) -> Self {
        // A run that diverged was as fast and as large as it was, and its losses tell.
        let whole = guard.of_machine() || guard.worse == Worse::Different;
        let values: Option<Vec<f64>> = match whole {
            true => Some(now.iter().copied().flatten().collect()),
            false => now.iter().copied().collect(),
        };
        let now = values.as_deref().and_then(Statistic::of);
        let p = match &now {
            None if whole => None,
            _ => p_value(guard, &baseline.values, values.as_deref()),
        };
        let better = || p_value(&guard.turned(), &baseline.values, values.as_deref());
        let verdict = match p {
            None => Verdict::Skipped,
            Some(p) if p < SUSPICIOUS => Verdict::Suspicious,
            Some(_) if better().is_some_and(|p| p < REGRESSION) => Verdict::Better,
            Some(_) => Verdict::Pass,
        };
        let verdict = match guard.worse {
            // Chance has no part in it, so that more seeds say no more.
            Worse::Different if verdict == Verdict::Suspicious => Verdict::Regression,
            _ => verdict,
        };
        Self {
            metric: guard.metric,
            baseline: baseline.clone(),
            now,
            p,
            again: None,
            p_again: None,
            verdict,
        }
    }

    /// Looks at the figures of a further round, if this one is suspicious still; it stays so where they confirm it.
    pub fn look_again(&mut self, guard: &Guard, again: &[Option<f64>]) {
        if self.verdict != Verdict::Suspicious {
            return;
        }
        let values: Vec<f64> = again.iter().copied().flatten().collect();
        let missing = again.len() - values.len();
        self.again = Statistic::of(&values);
        self.p_again = match missing {
            0 => p_value(guard, &self.baseline.values, Some(&values)),
            _ => values.is_empty().then_some(0.0),
        };
        let alone = |value: &Option<f64>| {
            let value = value.map(|value| [value]);
            let value = value.as_ref().map(|value| &value[..]);
            p_value(guard, &self.baseline.values, value).is_some_and(|p| p < EACH)
                && worst(guard, &self.baseline.values, value)
        };
        let most = 2 * again.iter().filter(|value| alone(value)).count() > again.len();
        // A mean of which a part is missing is as bad as can be.
        let likely = missing == 0 && self.p_again.is_none_or(|p| p >= REGRESSION);
        if !most || likely {
            self.verdict = Verdict::Pass;
        }
    }

    /// After the last round: what is suspicious still is a regression.
    pub fn decide(&mut self) {
        if self.verdict == Verdict::Suspicious {
            self.verdict = Verdict::Regression;
        }
    }
}

/// How likely it is that the mean of as many new values is as bad as theirs, or worse, if they come from where the baseline's came
/// from: Student's t of the difference, with the baseline's spread. `None` where the baseline has no spread to judge by.
///
/// A missing value is as bad as can be.
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
    let error = std * (1.0 / count(&old) + 1.0 / count(&new)).sqrt();
    let worse_by = match guard.worse {
        Worse::Lower => old.mean - new.mean,
        _ => new.mean - old.mean,
    };
    let student = StudentsT::new(0.0, 1.0, count(&old) - 1.0).ok()?;
    Some(student.sf(worse_by / error))
}

/// Whether all of these are worse than all of the baseline's.
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
    use super::super::guard::{GUARDS, SPEED};
    use super::*;

    fn guard(metric: &str) -> &'static Guard {
        GUARDS.iter().find(|g| g.metric == metric).unwrap()
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
        let first = |now| Row::first(guard("test_accuracy"), &baseline, &some(&[now])).verdict;
        assert_eq!(first(0.94), Verdict::Pass);
        assert_eq!(first(0.93), Verdict::Pass);
        assert_eq!(first(0.90), Verdict::Suspicious);
        assert_eq!(first(1.0), Verdict::Better);
    }

    #[test]
    fn further_rounds_decide_by_their_own_seeds() {
        let guard = guard("test_accuracy");
        let baseline = Statistic::of(&ACCURACIES).unwrap();
        let suspicious = Row::first(guard, &baseline, &some(&[0.90]));
        let mut chance = suspicious.clone();
        chance.look_again(guard, &some(&[0.94, 0.93, 0.95]));
        assert_eq!(chance.verdict, Verdict::Pass);
        // What has passed is not looked at again.
        chance.look_again(guard, &some(&[0.90, 0.91, 0.90]));
        chance.decide();
        assert_eq!(chance.verdict, Verdict::Pass);
        let mut fault = suspicious.clone();
        fault.look_again(guard, &some(&[0.90, 0.91, 0.90]));
        assert_eq!(fault.verdict, Verdict::Suspicious);
        let mut twice = fault.clone();
        fault.look_again(guard, &some(&[0.94, 0.91, 0.95]));
        fault.decide();
        assert_eq!(fault.verdict, Verdict::Pass);
        twice.look_again(guard, &some(&[0.91, 0.91, 0.90]));
        twice.decide();
        assert_eq!(twice.verdict, Verdict::Regression);
        let mut astray = suspicious.clone();
        astray.look_again(guard, &some(&[0.94, 0.95, 0.80]));
        assert!(astray.p_again.unwrap() < REGRESSION);
        assert_eq!(astray.verdict, Verdict::Pass);
        let mut tailed = Row::first(guard, &baseline, &some(&[0.90]));
        tailed.baseline.values[0] = 0.905;
        tailed.look_again(guard, &some(&[0.90, 0.908, 0.909]));
        assert_eq!(tailed.verdict, Verdict::Pass);
        let mut passed = Row::first(guard, &baseline, &some(&[0.94]));
        passed.look_again(guard, &some(&[0.1, 0.1, 0.1]));
        assert_eq!((passed.verdict, passed.again), (Verdict::Pass, None));
    }

    #[test]
    fn a_missing_figure_is_the_worst() {
        let guard = guard("test_loss");
        let baseline = Statistic::of(&[0.5, 0.6, 0.55]).unwrap();
        let row = Row::first(guard, &baseline, &[None]);
        assert_eq!((row.verdict, row.p), (Verdict::Suspicious, Some(0.0)));
        // One run in three that diverges may be chance, two are not.
        let again = |values: &[Option<f64>]| {
            let mut row = row.clone();
            row.look_again(guard, values);
            row.verdict
        };
        assert_eq!(again(&[None, Some(0.55), Some(0.55)]), Verdict::Pass);
        assert_eq!(again(&[None, Some(0.55), None]), Verdict::Suspicious);
        assert_eq!(again(&[None; 3]), Verdict::Suspicious);
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
            let first = |now: &[Option<f64>]| Row::first(guard(metric), &baseline, now).verdict;
            assert_eq!(first(&[None]), Verdict::Skipped);
            assert_eq!(first(&[None, Some(100.0)]), Verdict::Pass);
        }
        let baseline = Statistic::of(&[100.0; 2]).unwrap();
        let row = Row::first(guard("steps"), &baseline, &[None, Some(99.0)]);
        assert_eq!(row.verdict, Verdict::Regression);
    }

    #[test]
    fn what_no_chance_changes_must_be_the_same() {
        let baseline = Statistic::of(&[62_006.0; 2]).unwrap();
        let first = |now| Row::first(guard("parameters"), &baseline, &some(&[now])).verdict;
        assert_eq!(first(62_006.0), Verdict::Pass);
        assert_eq!(first(62_005.0), Verdict::Regression);
        assert_eq!(first(62_007.0), Verdict::Regression);
    }

    /// Ten equal values say nothing of the spread: the least one stands in for it.
    #[test]
    fn values_that_lie_close_together_are_not_held_against_a_new_one() {
        let baseline = Statistic::of(&[0.95; 10]).unwrap();
        let first = |now| Row::first(guard("test_accuracy"), &baseline, &some(&[now])).verdict;
        assert_eq!(first(0.949), Verdict::Pass);
        assert_eq!(first(0.93), Verdict::Suspicious);
    }

    #[test]
    fn speed_must_fall_by_a_third() {
        let baseline = Statistic::of(&[0.30; 30]).unwrap();
        let judged = |now: f64| {
            let mut row = Row::first(guard(SPEED), &baseline, &some(&[now]));
            row.look_again(guard(SPEED), &some(&[now; 3]));
            row.decide();
            row.verdict
        };
        assert_eq!(judged(0.22), Verdict::Pass);
        assert_eq!(judged(0.20), Verdict::Regression);
    }

    #[test]
    fn one_seed_is_nothing_to_judge_by() {
        let baseline = Statistic::of(&[0.95]).unwrap();
        let row = Row::first(guard("test_accuracy"), &baseline, &some(&[0.1]));
        assert_eq!((row.verdict, row.p), (Verdict::Skipped, None));
    }
}
