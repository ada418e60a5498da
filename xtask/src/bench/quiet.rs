//! Whether the machine was quiet while a benchmark was measured.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

/// Largest number of processors that other programs may use. `regress` has the same limit.
const OTHERS: f64 = 0.1;

/// Largest number of processors that the host of a virtual machine may give to others.
const STOLEN: f64 = 0.04;

/// Largest number of processes that may be ready to run beyond those of the benchmark.
const WAITING: f64 = 1.0;

/// Largest spread of the rounds of a side.
const SPREAD: f64 = 0.1;

/// Largest time of PyTorch, in terms of its best of the day.
const DRIFT: f64 = 1.1;

/// Circumstances of a measurement. What the system does not report is none.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Conditions {
    /// Load average of the last minute, at the end.
    pub load_average: Option<f64>,
    /// Load that the benchmark itself may cause: its threads and loader workers.
    pub own_load: f64,
    /// Mean number of processors that were busy for other programs.
    pub others_cpus: Option<f64>,
    /// Mean number of processors that the host of a virtual machine gave to others.
    pub stolen_cpus: Option<f64>,
    /// Spread between the rounds of each side: half of them lie within this share of the median.
    pub spread: BTreeMap<String, f64>,
    /// PyTorch's time in terms of its best of the day, where there is one.
    pub drift: Option<f64>,
}

/// Reasons why the machine was not quiet; none if it was.
pub fn disturbances(conditions: &Conditions) -> Vec<String> {
    let mut reasons = Vec::new();
    match (conditions.others_cpus, conditions.stolen_cpus) {
        (Some(others), Some(stolen)) => {
            if others > OTHERS {
                reasons.push(format!("other programs used {others:.2} processors"));
            }
            if stolen > STOLEN {
                reasons.push(format!("the host gave {stolen:.2} processors to others"));
            }
        }
        _ => reasons.push(UNKNOWN.to_string()),
    }
    if let Some(load) = conditions.load_average
        && load > conditions.own_load + WAITING
    {
        reasons.push(format!(
            "the load average was {load:.1}, of which the benchmark explains {:.0}",
            conditions.own_load
        ));
    }
    for (side, spread) in &conditions.spread {
        // A time that is not a number is no reason for calm.
        if spread.is_nan() || *spread > SPREAD {
            reasons.push(format!(
                "the rounds of {side} spread over {:.0} %",
                100.0 * spread
            ));
        }
    }
    if let Some(drift) = conditions.drift.filter(|drift| *drift > DRIFT) {
        reasons.push(format!("PyTorch took {drift:.2} times its best of the day"));
    }
    reasons
}

const UNKNOWN: &str = "this system does not report the load of other programs";

/// Whether another measurement may be quieter.
pub fn may_pass(reasons: &[String]) -> bool {
    reasons.iter().any(|reason| reason != UNKNOWN)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn quiet() -> Conditions {
        let spread = [("tallow", 0.01), ("pytorch", 0.09)];
        Conditions {
            load_average: Some(2.2),
            own_load: 2.0,
            others_cpus: Some(0.05),
            stolen_cpus: Some(0.01),
            spread: spread.map(|(side, s)| (side.to_string(), s)).into(),
            drift: Some(1.05),
        }
    }

    /// The one reason of conditions that were quiet before the change.
    fn reason(change: impl FnOnce(&mut Conditions)) -> String {
        let mut conditions = quiet();
        change(&mut conditions);
        let reasons = disturbances(&conditions);
        assert_eq!(reasons.len(), 1, "{reasons:?}");
        reasons[0].clone()
    }

    #[test]
    fn a_quiet_machine_gives_no_reason() {
        assert!(disturbances(&quiet()).is_empty());
        // The first measurement of a day has no best one, and some systems no load average.
        let first = Conditions {
            drift: None,
            load_average: None,
            ..quiet()
        };
        assert!(disturbances(&first).is_empty());
    }

    #[test]
    fn each_disturbance_is_named() {
        let others = reason(|c| c.others_cpus = Some(0.31));
        assert_eq!(others, "other programs used 0.31 processors");
        let stolen = reason(|c| c.stolen_cpus = Some(0.5));
        assert_eq!(stolen, "the host gave 0.50 processors to others");
        let load = reason(|c| c.load_average = Some(4.4));
        assert!(
            load.contains("4.4") && load.contains("explains 2"),
            "{load}"
        );
        let spread = reason(|c| {
            c.spread.insert("pytorch".to_string(), 0.2);
        });
        assert_eq!(spread, "the rounds of pytorch spread over 20 %");
        let drift = reason(|c| c.drift = Some(1.3));
        assert_eq!(drift, "PyTorch took 1.30 times its best of the day");
        let unknown = reason(|c| c.others_cpus = None);
        assert!(unknown.contains("does not report"), "{unknown}");
        reason(|c| {
            c.spread.insert("burn".to_string(), f64::NAN);
        });
    }

    #[test]
    fn what_the_system_hides_is_not_measured_again() {
        let hidden = Conditions {
            others_cpus: None,
            stolen_cpus: None,
            ..quiet()
        };
        assert!(!may_pass(&disturbances(&hidden)));
        assert!(!may_pass(&[]));
        let drift = Conditions {
            drift: Some(2.0),
            ..hidden
        };
        assert!(may_pass(&disturbances(&drift)));
    }
}
