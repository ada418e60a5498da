//! The figures that are compared with the baseline, and what makes one worse.

/// Which way a figure goes when something is wrong.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Worse {
    /// Less is worse: accuracies, speed.
    Lower,
    /// More is worse: losses.
    Higher,
    /// It depends on no chance: any other value is wrong.
    Different,
}

/// A figure that is compared.
#[derive(Debug)]
pub struct Guard {
    /// Its name, as in a run's summary, or one of those worked out here.
    pub metric: &'static str,
    /// Which way is worse.
    pub worse: Worse,
    /// Whether its logarithm is compared: of losses and speeds, which spread in proportion to their size.
    logarithm: bool,
    /// The standard deviation is taken to be at least this, on the scale that is compared: seeds that lie close together by chance
    /// are no reason to call the next one a regression.
    pub least_std: f64,
}

/// The epoch, from 1, that first reached the baseline's threshold; one more than there were where none did.
pub const EPOCHS_TO_THRESHOLD: &str = "epochs_to_threshold";

/// Arithmetic of the training steps a second, as a share of what a large matrix product reached just before.
pub const SPEED: &str = "share_of_gemm_peak";

/// All that are compared.
pub const GUARDS: [Guard; 9] = [
    figure("test_accuracy", Worse::Lower, 0.003),
    figure("best_test_accuracy", Worse::Lower, 0.003),
    ratio("test_loss", Worse::Higher, 0.01),
    ratio("train_loss", Worse::Higher, 0.01),
    figure(EPOCHS_TO_THRESHOLD, Worse::Higher, 0.5),
    ratio(SPEED, Worse::Lower, 0.15),
    figure("parameters", Worse::Different, 0.0),
    figure("multiply_adds", Worse::Different, 0.0),
    figure("steps", Worse::Different, 0.0),
];

const fn figure(metric: &'static str, worse: Worse, least_std: f64) -> Guard {
    Guard {
        metric,
        worse,
        logarithm: false,
        least_std,
    }
}

const fn ratio(metric: &'static str, worse: Worse, least_std: f64) -> Guard {
    Guard {
        metric,
        worse,
        logarithm: true,
        least_std,
    }
}

impl Guard {
    /// On the scale on which it is compared.
    pub fn scale(&self, values: &[f64]) -> Vec<f64> {
        let scale = |value: &f64| {
            if self.logarithm {
                // A loss that is exactly 0 has no logarithm.
                value.max(1e-12).ln()
            } else {
                *value
            }
        };
        values.iter().map(scale).collect()
    }

    /// Whether it depends on the machine and not on the seed alone.
    pub fn of_machine(&self) -> bool {
        self.metric == SPEED
    }

    /// The same figure, better in place of worse.
    pub fn turned(&self) -> Self {
        Self {
            worse: match self.worse {
                Worse::Lower => Worse::Higher,
                Worse::Higher => Worse::Lower,
                Worse::Different => Worse::Different,
            },
            ..*self
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::claims::METRICS;

    #[test]
    fn every_figure_is_in_a_summary_or_worked_out_here() {
        for guard in &GUARDS {
            let here = [EPOCHS_TO_THRESHOLD, SPEED].contains(&guard.metric);
            let in_summary = METRICS.contains(&guard.metric);
            assert!(in_summary != here, "{}", guard.metric);
        }
    }

    #[test]
    fn logarithms_of_what_spreads_in_proportion() {
        let of = |metric| GUARDS.iter().find(|g| g.metric == metric).unwrap();
        assert_eq!(of("test_accuracy").scale(&[0.5]), [0.5]);
        assert_eq!(of("test_loss").scale(&[1.0]), [0.0]);
        assert!(of("test_loss").scale(&[0.0])[0].is_finite());
    }
}
