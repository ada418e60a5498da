//! Standing of a sweep: the results of its rungs so far, a function of the records alone.

use tallow_train::Monitor;

use super::plan::Sweep;
use super::records::{Reached, Records};
use super::rungs::best;

/// Rung that has begun.
pub(super) struct Begun {
    /// Epochs after which its trials are compared; `None` for the last rung, whose trials are trained to their end.
    pub epochs: Option<usize>,
    /// Trials by their index, with their results.
    pub trials: Vec<(usize, Reached)>,
}

impl Begun {
    /// Whether all trials have their result.
    pub fn is_complete(&self) -> bool {
        let missing = |(_, reached): &(usize, Reached)| *reached == Reached::Missing;
        !self.trials.iter().any(missing)
    }
}

/// The rungs that have begun, at least the first. A rung begins when all results of the one before are there.
pub(super) fn standing(sweep: &Sweep, records: &Records, metric: Monitor) -> Vec<Begun> {
    let mut begun: Vec<Begun> = Vec::new();
    let mut trials: Vec<usize> = (0..sweep.trials.len()).collect();
    for (number, rung) in sweep.rungs.iter().enumerate() {
        let next = sweep.rungs.get(number + 1);
        let epochs = next.map(|_| rung.epochs);
        let results = trials
            .iter()
            .map(|&trial| (trial, records.reached(trial, epochs, metric)));
        let rung = Begun {
            epochs,
            trials: results.collect(),
        };
        let complete = rung.is_complete();
        let values = rung.trials.iter().map(|(trial, reached)| match reached {
            Reached::Value(value) => (*trial, *value),
            Reached::Missing => (*trial, None),
        });
        let values = values.collect();
        begun.push(rung);
        let Some(next) = next.filter(|_| complete) else {
            break;
        };
        trials = best(values, next.trials, metric.higher_is_better());
        if trials.is_empty() {
            // All of them diverged.
            break;
        }
    }
    begun
}
