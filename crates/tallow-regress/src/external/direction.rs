//! Direction of improvement of a metric.

use serde::{Deserialize, Serialize};
use tallow_record::{Better, Metric, Varies};

use crate::guard::{Guard, Worse};

/// Direction of improvement, as in a baseline file.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Direction {
    /// Higher values are better.
    Higher,
    /// Lower values are better.
    Lower,
    /// It does not depend on the seed: every value must be the same.
    Same,
}

/// Directions of improvement that the user gives, by the names of metrics.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Directions {
    /// Metrics of which lower values are better.
    pub lower: Vec<String>,
    /// Metrics of which higher values are better.
    pub higher: Vec<String>,
}

impl Directions {
    /// Direction of a metric; `None` for one that is not judged.
    ///
    /// The user's directions come first, then those of [`METRICS`](tallow_record::METRICS). Of other names, lower values are better if
    /// the name contains `loss`, `error` or `seconds`, and higher values otherwise.
    pub fn of(&self, metric: &str) -> Option<Direction> {
        let has = |names: &[String]| names.iter().any(|name| name == metric);
        if has(&self.lower) {
            return Some(Direction::Lower);
        }
        if has(&self.higher) {
            return Some(Direction::Higher);
        }
        if let Some(known) = Metric::find(metric) {
            return match (known.better, known.varies) {
                (Some(Better::Higher), _) => Some(Direction::Higher),
                (Some(Better::Lower), _) => Some(Direction::Lower),
                (None, Varies::Never) => Some(Direction::Same),
                (None, _) => None,
            };
        }
        let name = metric.to_ascii_lowercase();
        let lower = ["loss", "error", "seconds"].iter();
        Some(match lower.into_iter().any(|part| name.contains(part)) {
            true => Direction::Lower,
            false => Direction::Higher,
        })
    }
}

/// Lower bounds of the standard deviation, as a fraction of the mean, of metrics that are not in [`GUARDS`](crate::guard::GUARDS).
mod least {
    pub const HIGHER_IS_BETTER: f64 = 0.003;
    pub const LOWER_IS_BETTER: f64 = 0.01;
    pub const OF_MACHINE: f64 = 0.15;
}

impl Direction {
    /// Rules of the comparison of a metric with this direction, given the values of its baseline and their mean.
    ///
    /// Losses, errors, times and speeds are compared by their logarithm if all values are positive: their spread is proportional to
    /// their size, with a long tail above.
    pub fn guard(self, metric: &str, values: &[f64], mean: f64) -> Guard {
        let worse = match self {
            Self::Higher => Worse::Lower,
            Self::Lower => Worse::Higher,
            Self::Same => Worse::Different,
        };
        let positive = values.iter().all(|value| *value > 0.0);
        if let Some(known) = Guard::find(metric)
            && known.worse == worse
            && (positive || !known.logarithm)
        {
            return known.clone();
        }
        let of_machine = of_machine(metric);
        let least = match self {
            Self::Same => 0.0,
            _ if of_machine => least::OF_MACHINE,
            Self::Higher => least::HIGHER_IS_BETTER,
            Self::Lower => least::LOWER_IS_BETTER,
        };
        let logarithm = positive && (of_machine || self == Self::Lower) && self != Self::Same;
        Guard {
            metric: metric.to_string().into(),
            worse,
            logarithm,
            least_std: match logarithm {
                true => least,
                false => least * mean.abs(),
            },
            of_machine,
        }
    }
}

/// Whether a metric depends on the machine and its load: one of [`METRICS`](tallow_record::METRICS) that varies with time, or a name
/// that contains `second`.
pub fn of_machine(metric: &str) -> bool {
    match Metric::find(metric) {
        Some(known) => known.varies == Varies::WithTime,
        None => metric.to_ascii_lowercase().contains("second"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn directions_by_user_table_and_name() {
        let directions = Directions {
            lower: vec!["wer".to_string()],
            higher: vec!["error_margin".to_string()],
        };
        for (name, expected) in [
            ("wer", Some(Direction::Lower)),
            ("error_margin", Some(Direction::Higher)),
            ("test_accuracy", Some(Direction::Higher)),
            ("images_per_second", Some(Direction::Higher)),
            ("parameters", Some(Direction::Same)),
            ("input_mean", None),
            ("val/Loss", Some(Direction::Lower)),
            ("top1_error", Some(Direction::Lower)),
            ("epoch_seconds", Some(Direction::Lower)),
            ("bleu", Some(Direction::Higher)),
        ] {
            assert_eq!(directions.of(name), expected, "{name}");
        }
    }

    #[test]
    fn guards_of_known_and_of_other_metrics() {
        let of =
            |direction: Direction, name: &str, value: f64| direction.guard(name, &[value], value);
        let known = of(Direction::Lower, "test_loss", 0.5);
        assert_eq!(&known, Guard::find("test_loss").unwrap());
        // A loss that may be negative has no logarithm, and one the user turns around is another metric.
        assert!(!of(Direction::Lower, "test_loss", -0.5).logarithm);
        assert_eq!(of(Direction::Higher, "test_loss", 0.5).worse, Worse::Lower);
        let other = of(Direction::Lower, "wer", -20.0);
        assert_eq!((other.worse, other.least_std), (Worse::Higher, 0.2));
        assert!(!other.logarithm);
        let loss = of(Direction::Lower, "val_loss", 20.0);
        assert_eq!((loss.logarithm, loss.least_std), (true, 0.01));
        let speed = of(Direction::Higher, "tokens_per_second", 20.0);
        assert!(speed.of_machine && speed.logarithm);
        assert_eq!(speed.least_std, 0.15);
        let bleu = of(Direction::Higher, "bleu", 20.0);
        assert!(!bleu.of_machine && !bleu.logarithm);
        assert_eq!(bleu.least_std, 0.06);
    }
}
