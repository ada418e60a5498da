//! Timing the sides in turn.

use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};

use super::case::Case;
use super::side::Side;

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

/// Result of one process.
#[derive(Debug)]
pub struct Timed {
    /// The fastest way it could be run.
    pub variant: String,
    /// The median time of a run that way.
    pub seconds: f64,
    /// Nominal arithmetic of a run.
    pub gflop: Option<f64>,
}

/// One way to run the case on one side.
struct Lane {
    side: usize,
    variant: String,
    steps: usize,
    seconds: Vec<f64>,
}

/// Times `case` on each of the sides: a warm-up, then rounds in which each has a turn in each of its variants. Only one of them works
/// at a time. The answers are in the sides' order.
pub fn measure(sides: &mut [&mut Side], case: &Case, effort: Effort) -> Result<Vec<Timed>> {
    let (mut lanes, mut prepared) = (Vec::new(), Vec::new());
    for (index, side) in sides.iter_mut().enumerate() {
        let ready = side
            .prepare(case)
            .with_context(|| side.who.name().to_string())?;
        for variant in &ready.variants {
            lanes.push(Lane {
                side: index,
                variant: variant.clone(),
                steps: 1,
                seconds: Vec::new(),
            });
        }
        prepared.push(ready);
    }
    // One network is never to be compared with another.
    let parameters: Vec<usize> = prepared.iter().filter_map(|p| p.parameters).collect();
    ensure!(
        parameters.windows(2).all(|pair| pair[0] == pair[1]),
        "the sides' networks differ: they have {parameters:?} parameters"
    );

    for lane in &mut lanes {
        let side = &mut sides[lane.side];
        lane.steps =
            warm_up(side, &lane.variant, effort).with_context(|| side.who.name().to_string())?;
    }
    for _ in 0..effort.rounds {
        for lane in &mut lanes {
            let side = &mut sides[lane.side];
            thread::sleep(SETTLE);
            let seconds = side
                .run(&lane.variant, lane.steps)
                .with_context(|| side.who.name().to_string())?;
            lane.seconds.extend(seconds);
        }
    }

    prepared
        .into_iter()
        .enumerate()
        .map(|(index, ready)| {
            let own = lanes.iter().filter(|lane| lane.side == index);
            let times = own.map(|lane| (median(&lane.seconds), &lane.variant));
            let (seconds, variant) = times
                .min_by(|a, b| a.0.total_cmp(&b.0))
                .context("a side has nothing to run")?;
            Ok(Timed {
                variant: variant.clone(),
                seconds,
                gflop: ready.gflop,
            })
        })
        .collect()
}

/// Runs until caches are warm and memory is allocated: twice, and for a turn at least; a run of a second or more is enough by itself.
/// Gives the number of steps in a turn.
fn warm_up(side: &mut Side, variant: &str, effort: Effort) -> Result<usize> {
    // By our own clock: the times of a loader are for a batch, and a run of it is an epoch.
    let mut run = |steps| -> Result<f64> {
        let started = Instant::now();
        side.run(variant, steps)?;
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
    let mut sorted = values.to_vec();
    sorted.sort_unstable_by(f64::total_cmp);
    match sorted.len() {
        0 => f64::NAN,
        n if n % 2 == 1 => sorted[n / 2],
        n => (sorted[n / 2 - 1] + sorted[n / 2]) / 2.0,
    }
}

/// Peak memory in MiB of a fresh process that runs the case twice and nothing else.
pub fn peak_memory(mut side: Side, case: &Case, variant: &str) -> Result<Option<f64>> {
    side.prepare(case)?;
    side.run(variant, 2)?;
    side.memory()
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
}
