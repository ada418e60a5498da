//! Screening: a few runs of every arm of a side.

use std::time::Instant;

use anyhow::Result;
use tallow_cli::console::status;
use tallow_cli::output;

use super::arms::{Choice, Screened, choose, need_screening};
use super::side::{Place, Side};
use super::worker::case::Case;
use super::worker::protocol::{Arm, Precision};

/// Time of a turn of an arm that is fast, in seconds.
const TURN: f64 = 0.1;

/// Times every arm shortly, where there are more than are measured in full, and chooses the fastest. A process that ends is started
/// again, and the arm that ended it is left out.
pub fn screen(
    side: &mut Side,
    case: &Case,
    arms: Vec<Arm>,
    place: &Place,
    compile_limit: f64,
) -> Result<Choice> {
    if !need_screening(&arms) {
        return Ok(Choice::all(arms));
    }
    let who = side.who;
    status!(
        "{} {}: screening {} arms of {}",
        case.name,
        case.kind,
        arms.len(),
        who.name()
    );
    let mut best: [Option<f64>; 2] = [None; 2];
    let mut screened = Vec::with_capacity(arms.len());
    for arm in arms {
        let best = &mut best[usize::from(arm.precision == Precision::Bf16)];
        let time = match time(side, &arm, compile_limit, *best) {
            Ok(seconds) => {
                *best = Some(best.map_or(seconds, |best: f64| best.min(seconds)));
                Ok(seconds)
            }
            Err(error) => {
                let reason = output::message(&error);
                if side.has_ended() {
                    *side = Side::start(who, place)?;
                    side.prepare(case)?;
                }
                Err(reason)
            }
        };
        screened.push(Screened { arm, time });
    }
    let choice = choose(screened)?;
    let kept: Vec<&str> = choice.arms.iter().map(|arm| arm.name.as_str()).collect();
    status!("  measured in full: {}", kept.join("; "));
    for out in &choice.left_out {
        status!("  left out: {}: {}", out.arm, out.reason);
    }
    Ok(choice)
}

/// Seconds of a run, the least of a few; after a first run, which compiles it. An arm that is clearly slower than the best of its
/// precision so far is not run again.
fn time(side: &mut Side, arm: &Arm, compile_limit: f64, best: Option<f64>) -> Result<f64> {
    // By our own clock: the times of a loader are for a batch, and a run of it is an epoch.
    let mut elapsed = |steps: usize, limit| -> Result<f64> {
        let started = Instant::now();
        side.run(&arm.name, steps, limit)?;
        Ok(started.elapsed().as_secs_f64() / steps as f64)
    };
    let slower = |seconds: f64, times: f64| best.is_some_and(|best| seconds > times * best);
    let first = elapsed(1, Some(compile_limit))?;
    let seconds = if !arm.compiled && first > 1.0 && slower(first, 2.0) {
        first
    } else {
        let one = elapsed(1, None)?;
        if one > TURN && slower(one, 1.5) {
            one
        } else {
            let steps = (TURN / one).ceil().clamp(1.0, 1e4) as usize;
            let turns = [elapsed(steps, None)?, elapsed(steps, None)?];
            // A single step of a small network is mostly the message to the process.
            let one = if steps == 1 { one } else { f64::INFINITY };
            turns.into_iter().fold(one, f64::min)
        }
    };
    side.drop_arm(&arm.name)?;
    Ok(seconds)
}
