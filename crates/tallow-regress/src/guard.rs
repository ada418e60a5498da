//! Metrics that are compared with a baseline, and the rules of each comparison.

use std::borrow::Cow;

/// Direction in which a metric gets worse.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Worse {
    /// A lower value is worse: accuracies, speeds.
    Lower,
    /// A higher value is worse: losses, errors, times.
    Higher,
    /// Any other value is wrong: counts that do not depend on the seed.
    Different,
}

/// Metric that is compared with a baseline.
#[derive(Clone, Debug, PartialEq)]
pub struct Guard {
    /// Name of the metric.
    pub metric: Cow<'static, str>,
    /// Direction in which it gets worse.
    pub worse: Worse,
    /// Whether logarithms are compared: for losses and speeds, whose spread is proportional to their size.
    pub logarithm: bool,
    /// Lower bound of the baseline's standard deviation, on the scale that is compared. Seeds that lie close together by chance
    /// would otherwise turn a normal value into a regression.
    pub least_std: f64,
    /// Whether the value depends on the machine and its load, and not on the seed alone.
    pub of_machine: bool,
}

/// Metric: first epoch, from 1, whose test accuracy reaches the baseline's threshold; one more than the number of epochs if none does.
pub(crate) const EPOCHS_TO_THRESHOLD: &str = "epochs_to_threshold";

/// Metric: arithmetic of the training steps per second, as a fraction of what a large matrix product reached just before.
pub(crate) const SPEED: &str = "share_of_gemm_peak";

/// Metrics of an experiment that are compared with its baseline.
pub(crate) static GUARDS: [Guard; 9] = [
    linear("test_accuracy", Worse::Lower, 0.003),
    linear("best_test_accuracy", Worse::Lower, 0.003),
    ratio("test_loss", Worse::Higher, 0.01),
    ratio("train_loss", Worse::Higher, 0.01),
    linear(EPOCHS_TO_THRESHOLD, Worse::Higher, 0.5),
    Guard {
        metric: Cow::Borrowed(SPEED),
        worse: Worse::Lower,
        logarithm: true,
        least_std: 0.15,
        of_machine: true,
    },
    linear("parameters", Worse::Different, 0.0),
    linear("multiply_adds", Worse::Different, 0.0),
    linear("steps", Worse::Different, 0.0),
];

const fn linear(metric: &'static str, worse: Worse, least_std: f64) -> Guard {
    Guard {
        metric: Cow::Borrowed(metric),
        worse,
        logarithm: false,
        least_std,
        of_machine: false,
    }
}

const fn ratio(metric: &'static str, worse: Worse, least_std: f64) -> Guard {
    Guard {
        metric: Cow::Borrowed(metric),
        worse,
        logarithm: true,
        least_std,
        of_machine: false,
    }
}

impl Guard {
    /// Guard of this metric among the built-in ones.
    pub fn find(metric: &str) -> Option<&'static Self> {
        GUARDS.iter().find(|guard| guard.metric == metric)
    }

    /// Values on the scale on which they are compared.
    pub fn scale(&self, values: &[f64]) -> Vec<f64> {
        let scale = |value: &f64| {
            if self.logarithm {
                // A loss of exactly 0 has no logarithm.
                value.max(1e-12).ln()
            } else {
                *value
            }
        };
        values.iter().map(scale).collect()
    }

    /// Guard for the opposite direction: finds values that are better.
    pub fn reversed(&self) -> Self {
        Self {
            worse: match self.worse {
                Worse::Lower => Worse::Higher,
                Worse::Higher => Worse::Lower,
                Worse::Different => Worse::Different,
            },
            ..self.clone()
        }
    }
}

#[cfg(test)]
mod tests {
    use tallow_record::{Better, Metric, Varies};

    use super::*;

    #[test]
    fn guards_agree_with_the_table_of_metrics() {
        for guard in &GUARDS {
            let metric = Metric::find(&guard.metric).unwrap();
            let worse = match metric.better {
                Some(Better::Higher) => Worse::Lower,
                Some(Better::Lower) => Worse::Higher,
                None => Worse::Different,
            };
            assert_eq!(guard.worse, worse, "{}", metric.name);
            let never = metric.varies == Varies::Never;
            assert_eq!(never, worse == Worse::Different, "{}", metric.name);
            let of_machine = metric.varies == Varies::WithTime;
            assert_eq!(guard.of_machine, of_machine, "{}", metric.name);
            let here = [EPOCHS_TO_THRESHOLD, SPEED].contains(&metric.name);
            assert_ne!(metric.in_summary, here, "{}", metric.name);
        }
    }

    #[test]
    fn logarithms_of_values_whose_spread_is_proportional() {
        let of = |metric| Guard::find(metric).unwrap();
        assert_eq!(of("test_accuracy").scale(&[0.5]), [0.5]);
        assert_eq!(of("test_loss").scale(&[1.0]), [0.0]);
        assert!(of("test_loss").scale(&[0.0])[0].is_finite());
    }
}
