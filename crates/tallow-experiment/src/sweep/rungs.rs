//! Rungs of successive halving (Jamieson and Talwalkar 2016, arXiv 1502.07943): so many trials are trained for so many epochs.

use std::cmp::Ordering;

use serde::Serialize;

/// Rung of a sweep.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
pub struct Rung {
    /// Number of trials.
    pub trials: usize,
    /// Epochs of each in all, those of the rungs before included.
    pub epochs: usize,
}

/// Rungs of a sweep of `trials` with `epochs` each at most: the first has `min_epochs`, each further one `eta` times the epochs of the one
/// before, and a share of 1 / `eta` of its trials, rounded down, but one at least. The last one has all epochs.
pub(super) fn rungs(trials: usize, eta: usize, min_epochs: usize, epochs: usize) -> Vec<Rung> {
    let mut rungs = Vec::new();
    let (mut left, mut so_far) = (trials, min_epochs);
    // A trial alone has nothing to be compared with.
    while left > 1 && so_far < epochs {
        rungs.push(Rung {
            trials: left,
            epochs: so_far,
        });
        left = (left / eta.max(2)).max(1);
        so_far = so_far.saturating_mul(eta.max(2));
    }
    rungs.push(Rung {
        trials: left,
        epochs,
    });
    rungs
}

/// Order of two results, the better one first. One that is missing or not finite is the last.
pub(super) fn order(a: Option<f64>, b: Option<f64>, higher_is_better: bool) -> Ordering {
    let finite = |value: Option<f64>| value.filter(|value| value.is_finite());
    match (finite(a), finite(b)) {
        (Some(a), Some(b)) if higher_is_better => b.total_cmp(&a),
        (Some(a), Some(b)) => a.total_cmp(&b),
        (a, b) => b.is_some().cmp(&a.is_some()),
    }
}

/// The best `count` trials of a rung, sorted by their index: of equals those of the least index. A trial without a finite result is never
/// among them.
pub(super) fn best(
    mut results: Vec<(usize, Option<f64>)>,
    count: usize,
    higher_is_better: bool,
) -> Vec<usize> {
    results.retain(|(_, value)| value.is_some_and(f64::is_finite));
    results.sort_by(|a, b| order(a.1, b.1, higher_is_better).then(a.0.cmp(&b.0)));
    let mut best: Vec<usize> = results
        .iter()
        .take(count)
        .map(|(trial, _)| *trial)
        .collect();
    best.sort_unstable();
    best
}

#[cfg(test)]
mod tests {
    use super::*;

    fn pairs(trials: usize, eta: usize, min_epochs: usize, epochs: usize) -> Vec<(usize, usize)> {
        let rungs = rungs(trials, eta, min_epochs, epochs).into_iter();
        rungs.map(|rung| (rung.trials, rung.epochs)).collect()
    }

    #[test]
    fn epochs_rise_as_trials_fall() {
        assert_eq!(pairs(9, 3, 1, 9), [(9, 1), (3, 3), (1, 9)]);
        assert_eq!(pairs(27, 3, 1, 9), [(27, 1), (9, 3), (3, 9)]);
        assert_eq!(pairs(12, 2, 2, 10), [(12, 2), (6, 4), (3, 8), (1, 10)]);
        // Few trials are soon one, which goes on to the end.
        assert_eq!(pairs(4, 4, 1, 100), [(4, 1), (1, 100)]);
        assert_eq!(pairs(3, 4, 1, 100), [(3, 1), (1, 100)]);
        assert_eq!(pairs(1, 3, 1, 9), [(1, 9)]);
    }

    #[test]
    fn the_best_go_on() {
        let results = || {
            vec![
                (0, Some(0.5)),
                (2, None),
                (3, Some(0.7)),
                (4, Some(0.5)),
                (5, Some(f64::NAN)),
            ]
        };
        assert_eq!(best(results(), 2, true), [0, 3]);
        assert_eq!(best(results(), 2, false), [0, 4]);
        assert_eq!(best(results(), 9, true), [0, 3, 4]);
        assert!(best(vec![(1, None)], 1, true).is_empty());
    }
}
