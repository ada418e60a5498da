//! Timing the sides in turn.

use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};

use super::arms::Choice;
use super::side::Side;
use super::worker::case::Case;
use super::worker::protocol::{Arm, Precision, Prepared};

/// Before each turn, since threads of PyTorch's OpenMP go on spinning for a while after their last work. `OMP_WAIT_POLICY=PASSIVE` would
/// forbid that, and is not set: PyTorch runs with its defaults.
const SETTLE: Duration = Duration::from_millis(20);

/// Number and duration of measurements.
#[derive(Clone, Copy, Debug)]
pub struct Effort {
    /// Rounds, in each of which every side has its turn.
    pub rounds: usize,
    /// The least time of a turn; a step that takes longer is a turn by itself.
    pub turn: f64,
}

/// Result of an arm.
#[derive(Clone, Debug, PartialEq)]
pub struct Timed {
    pub arm: Arm,
    /// Median time of a run, over all rounds.
    pub seconds: f64,
    /// Half of the rounds lie within this share of the median.
    pub spread: f64,
}

/// An arm of a side, with its times.
pub struct Lane {
    side: usize,
    arm: Arm,
    steps: usize,
    rounds: Vec<Vec<f64>>,
}

/// Makes all sides ready for a case. The answers are in the sides' order.
pub fn prepare(sides: &mut [&mut Side], case: &Case) -> Result<Vec<Prepared>> {
    let mut prepared = Vec::with_capacity(sides.len());
    for side in sides.iter_mut() {
        let ready = side
            .prepare(case)
            .with_context(|| side.who.name().to_string())?;
        prepared.push(ready);
    }
    // One network is never to be compared with another.
    let parameters: Vec<usize> = prepared.iter().filter_map(|p| p.parameters).collect();
    ensure!(
        parameters.windows(2).all(|pair| pair[0] == pair[1]),
        "the sides' networks differ: they have {parameters:?} parameters"
    );
    Ok(prepared)
}

/// Warms up the arms of each side.
pub fn lanes(sides: &mut [&mut Side], choices: &[Choice], effort: Effort) -> Result<Vec<Lane>> {
    let mut lanes = Vec::new();
    for (index, (side, choice)) in sides.iter_mut().zip(choices).enumerate() {
        for arm in &choice.arms {
            let steps = warm_up(side, &arm.name, effort)
                .with_context(|| format!("{}: {}", side.who.name(), arm.name))?;
            lanes.push(Lane {
                side: index,
                arm: arm.clone(),
                steps,
                rounds: Vec::new(),
            });
        }
    }
    Ok(lanes)
}

/// Times all arms in rounds in which each has a turn, in place of earlier times. Only one of them works at a time.
pub fn measure(sides: &mut [&mut Side], lanes: &mut [Lane], effort: Effort) -> Result<()> {
    for lane in &mut *lanes {
        lane.rounds.clear();
    }
    for _ in 0..effort.rounds {
        for lane in &mut *lanes {
            let side = &mut sides[lane.side];
            thread::sleep(SETTLE);
            let seconds = side
                .run(&lane.arm.name, lane.steps, None)
                .with_context(|| side.who.name().to_string())?;
            lane.rounds.push(seconds);
        }
    }
    Ok(())
}

/// The arms of a side, the fastest first.
pub fn of_side(lanes: &[Lane], side: usize) -> Vec<Timed> {
    let own = lanes.iter().filter(|lane| lane.side == side);
    let mut timed: Vec<Timed> = own
        .map(|lane| {
            let medians: Vec<f64> = lane.rounds.iter().map(|round| median(round)).collect();
            Timed {
                arm: lane.arm.clone(),
                seconds: median(&lane.rounds.concat()),
                spread: spread(&medians),
            }
        })
        .collect();
    timed.sort_by(|a, b| a.seconds.total_cmp(&b.seconds));
    timed
}

/// The first arm of a precision.
pub fn first(timed: &[Timed], precision: Precision) -> Option<&Timed> {
    timed.iter().find(|timed| timed.arm.precision == precision)
}

/// Runs until caches are warm and memory is allocated: twice, and for a turn at least; a run of a second or more is enough by itself.
/// Gives the number of steps in a turn.
fn warm_up(side: &mut Side, arm: &str, effort: Effort) -> Result<usize> {
    // By our own clock: the times of a loader are for a batch, and a run of it is an epoch.
    let mut run = |steps| -> Result<f64> {
        let started = Instant::now();
        side.run(arm, steps, None)?;
        Ok(started.elapsed().as_secs_f64())
    };
    if run(1)? >= effort.turn.max(1.0) {
        return Ok(1);
    }
    let (mut steps, mut spent) = (1, 0.0);
    loop {
        let last = run(steps)?;
        spent += last;
        let turn = (effort.turn * steps as f64 / last).ceil().clamp(1.0, 1e6) as usize;
        if spent >= effort.turn {
            return Ok(turn);
        }
        steps = turn.min(4 * steps);
    }
}

/// The middle value; between the two middle ones of an even number.
fn median(values: &[f64]) -> f64 {
    quantile(values, 0.5)
}

/// Distance between the first and the third quartile, as a share of the median.
fn spread(values: &[f64]) -> f64 {
    (quantile(values, 0.75) - quantile(values, 0.25)) / median(values)
}

/// Value below which a share of the values lies, interpolated between the two nearest.
fn quantile(values: &[f64], share: f64) -> f64 {
    let mut sorted = values.to_vec();
    sorted.sort_unstable_by(f64::total_cmp);
    let Some(last) = sorted.len().checked_sub(1) else {
        return f64::NAN;
    };
    let at = share * last as f64;
    let (below, above) = (sorted[at.floor() as usize], sorted[at.ceil() as usize]);
    below + (above - below) * at.fract()
}

/// Peak memory in MiB of a fresh process that runs the case twice and nothing else.
pub fn peak_memory(mut side: Side, case: &Case, arm: &str) -> Result<Option<f64>> {
    side.prepare(case)?;
    side.run(arm, 2, None)?;
    Ok(side.memory())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn medians() {
        assert_eq!(median(&[3.0, 1.0, 2.0]), 2.0);
        assert_eq!(median(&[4.0, 1.0, 2.0, 3.0]), 2.5);
        assert!(median(&[]).is_nan());
    }

    #[test]
    fn an_outlier_is_no_spread() {
        let spread = |values: &[f64]| (1e6 * spread(values)).round() / 1e6;
        assert_eq!(spread(&[10.0, 10.0, 10.0, 10.0, 90.0]), 0.0);
        assert_eq!(spread(&[8.0, 9.0, 10.0, 11.0, 12.0]), 0.2);
        assert_eq!(spread(&[10.0, 12.0]), 0.090909);
        assert_eq!(spread(&[10.0]), 0.0);
    }

    #[test]
    fn the_fastest_arm_is_first() {
        let lane = |side, name: &str, precision, rounds: [[f64; 2]; 2]| Lane {
            side,
            arm: Arm {
                name: name.to_string(),
                precision,
                compiled: false,
            },
            steps: 2,
            rounds: rounds.map(|round| round.to_vec()).to_vec(),
        };
        let lanes = [
            lane(0, "ours", Precision::Fp32, [[1.0, 1.0], [1.0, 1.0]]),
            lane(1, "a", Precision::Fp32, [[4.0, 6.0], [4.0, 6.0]]),
            lane(1, "b", Precision::Fp32, [[2.0, 4.0], [4.0, 6.0]]),
            lane(1, "c", Precision::Bf16, [[2.0, 2.0], [2.0, 2.0]]),
        ];
        let timed = of_side(&lanes, 1);
        let names: Vec<&str> = timed.iter().map(|t| t.arm.name.as_str()).collect();
        assert_eq!(names, ["c", "b", "a"]);
        let b = first(&timed, Precision::Fp32).unwrap();
        assert_eq!((b.arm.name.as_str(), b.seconds, b.spread), ("b", 4.0, 0.25));
        assert!(first(&of_side(&lanes, 0), Precision::Bf16).is_none());
    }
}
