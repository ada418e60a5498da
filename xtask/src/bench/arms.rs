//! Choice of the arms that are measured in full.

use anyhow::{Result, bail};
use serde::{Deserialize, Serialize};

use super::worker::protocol::{Arm, Precision};

/// Number of arms of each precision that are measured in full.
pub const KEPT: usize = 2;

/// Arm with its time of the screening.
#[derive(Clone, Debug)]
pub struct Screened {
    pub arm: Arm,
    /// Seconds of a run, or why there are none.
    pub time: Result<f64, String>,
}

/// Arm that was not measured, and why.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct LeftOut {
    pub arm: String,
    pub reason: String,
}

/// Arms of a side.
#[derive(Clone, Debug, PartialEq)]
pub struct Choice {
    /// Those to measure.
    pub arms: Vec<Arm>,
    /// The fastest in f32 that is not compiled: the one whose memory is compared, since a compiler needs memory of its own.
    pub plain: Option<Arm>,
    pub left_out: Vec<LeftOut>,
}

impl Choice {
    /// All arms, of which there are so few that none has to be left out.
    pub fn all(arms: Vec<Arm>) -> Self {
        let plain = arms.iter().find(|arm| is_plain(arm)).cloned();
        Self {
            arms,
            plain,
            left_out: Vec::new(),
        }
    }
}

fn is_plain(arm: &Arm) -> bool {
    arm.precision == Precision::Fp32 && !arm.compiled
}

/// Whether there are more arms of a precision than are measured in full.
pub fn need_screening(arms: &[Arm]) -> bool {
    let count = |precision: Precision| arms.iter().filter(|arm| arm.precision == precision).count();
    count(Precision::Fp32) > KEPT || count(Precision::Bf16) > KEPT
}

/// The fastest arms of each precision.
///
/// # Errors
/// When no arm in f32 can be run, with the reason of the first.
pub fn choose(screened: Vec<Screened>) -> Result<Choice> {
    let mut timed = Vec::new();
    let mut left_out = Vec::new();
    for Screened { arm, time } in screened {
        match time {
            Ok(seconds) => timed.push((seconds, arm)),
            Err(reason) => left_out.push(LeftOut {
                arm: arm.name,
                reason,
            }),
        }
    }
    timed.sort_by(|a, b| a.0.total_cmp(&b.0));
    let fastest = |precision: Precision| {
        let of = move |(_, arm): &&(f64, Arm)| arm.precision == precision;
        timed
            .iter()
            .filter(of)
            .take(KEPT)
            .map(|(_, arm)| arm.clone())
    };
    let arms: Vec<Arm> = fastest(Precision::Fp32)
        .chain(fastest(Precision::Bf16))
        .collect();
    if !arms.iter().any(|arm| arm.precision == Precision::Fp32) {
        match left_out.first() {
            Some(LeftOut { arm, reason }) => bail!("no arm in f32 can be run; {arm}: {reason}"),
            None => bail!("there is no arm in f32"),
        }
    }
    let plain = timed.iter().find(|(_, arm)| is_plain(arm));
    Ok(Choice {
        arms,
        plain: plain.map(|(_, arm)| arm.clone()),
        left_out,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn arm(name: &str, precision: Precision, compiled: bool) -> Arm {
        Arm {
            name: name.to_string(),
            precision,
            compiled,
        }
    }

    fn screened(name: &str, precision: Precision, time: Result<f64, &str>) -> Screened {
        Screened {
            arm: arm(name, precision, name.starts_with("compile")),
            time: time.map_err(str::to_string),
        }
    }

    fn names(arms: &[Arm]) -> Vec<&str> {
        arms.iter().map(|arm| arm.name.as_str()).collect()
    }

    #[test]
    fn the_fastest_two_of_each_precision_are_kept() {
        use Precision::{Bf16, Fp32};
        let choice = choose(vec![
            screened("eager a", Fp32, Ok(3.0)),
            screened("compile a", Fp32, Ok(1.0)),
            screened("eager b", Fp32, Ok(2.0)),
            screened("bf16 a", Bf16, Ok(9.0)),
            screened("bf16 b", Bf16, Err("took longer than 300 s")),
            screened("compile b", Fp32, Err("no C++ compiler")),
            screened("eager c", Fp32, Ok(4.0)),
        ])
        .unwrap();
        // Those in f32 compete with ours even where bf16 is slower.
        assert_eq!(names(&choice.arms), ["compile a", "eager b", "bf16 a"]);
        assert_eq!(choice.plain.unwrap().name, "eager b");
        let left_out = [
            ("bf16 b", "took longer than 300 s"),
            ("compile b", "no C++ compiler"),
        ]
        .map(|(arm, reason)| LeftOut {
            arm: arm.to_string(),
            reason: reason.to_string(),
        });
        assert_eq!(choice.left_out, left_out);
    }

    #[test]
    fn without_an_arm_in_f32_there_is_nothing_to_compare() {
        let message = |screened| choose(screened).unwrap_err().to_string();
        let failed = screened("eager", Precision::Fp32, Err("out of memory"));
        let other = screened("bf16", Precision::Bf16, Ok(1.0));
        assert_eq!(
            message(vec![failed, other]),
            "no arm in f32 can be run; eager: out of memory"
        );
        assert_eq!(message(vec![]), "there is no arm in f32");
    }

    #[test]
    fn few_arms_need_no_screening() {
        let fp32 = |name| arm(name, Precision::Fp32, false);
        let bf16 = |name| arm(name, Precision::Bf16, false);
        let few = vec![fp32("a"), fp32("b"), bf16("c"), bf16("d")];
        assert!(!need_screening(&few));
        assert!(need_screening(&[few.clone(), vec![bf16("e")]].concat()));
        let all = Choice::all(few);
        assert_eq!(names(&all.arms), ["a", "b", "c", "d"]);
        assert_eq!(all.plain.unwrap().name, "a");
    }
}
