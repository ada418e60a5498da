//! A benchmark on all sides.

use std::collections::BTreeMap;

use anyhow::{Context, Result};
use tallow_cli::console::status;
use tallow_cli::machine;

use super::args::Against;
use super::arms::Choice;
use super::best::{self, Best};
use super::measure::{Effort, Lane, Timed, first, lanes, measure, of_side, peak_memory, prepare};
use super::quiet::{Conditions, disturbances, may_pass, wait_for_load_average};
use super::row::{Other, Row};
use super::screen::screen;
use super::side::{Place, Side, Who};
use super::worker::case::{Case, Work};
use super::worker::protocol::Precision;

/// Settings of all benchmarks of a run.
pub struct Session {
    pub place: Place,
    pub effort: Effort,
    /// Number of times that a benchmark is measured again while the machine was not quiet.
    pub retries: usize,
    /// Seconds for compiling an arm.
    pub compile_limit: f64,
    /// Whether peak memory is measured too.
    pub memory: bool,
    /// PyTorch's best times of the day.
    pub best: Best,
}

/// The row of a benchmark on the sides that can do it, of which ours is the first.
pub fn compare(case: &Case, sides: &mut [Side], session: &mut Session) -> Result<Row> {
    let able = sides.iter_mut().filter(|side| side.who.does(case));
    let mut sides: Vec<&mut Side> = able.collect();
    let mut choices = Vec::with_capacity(sides.len());
    let prepared = prepare(&mut sides, case)?;
    let gflop = prepared.iter().find_map(|ready| ready.gflop);
    for (side, ready) in sides.iter_mut().zip(prepared) {
        let (place, limit) = (&session.place, session.compile_limit);
        let choice = screen(side, case, ready.arms, place, limit)
            .with_context(|| side.who.name().to_string())?;
        choices.push(choice);
    }
    let mut lanes = lanes(&mut sides, &choices, session.effort)?;
    let who: Vec<Who> = sides.iter().map(|side| side.who).collect();
    let mut attempts = 0;
    let (conditions, reasons) = loop {
        attempts += 1;
        let watch = machine::Others::watch();
        measure(&mut sides, &mut lanes, session.effort)?;
        let load = watch.load();
        let mut conditions = Conditions {
            load_average: machine::load_average(),
            own_load: own_load(case, &session.place),
            others_cpus: load.map(|load| load.cpus),
            stolen_cpus: load.map(|load| load.stolen),
            spread: spreads(&who, &lanes),
            drift: None,
        };
        if let Some(side) = sides.iter().position(|side| is_pytorch(side.who)) {
            let name = best::name(case, &session.place, &sides[side].version);
            let timed = of_side(&lanes, side);
            if let Some(fastest) = first(&timed, Precision::Fp32) {
                conditions.drift = session.best.drift(&name, fastest.seconds);
                session.best.note(&name, fastest.seconds);
            }
        }
        let reasons = disturbances(&conditions);
        if attempts > session.retries || !may_pass(&reasons) {
            break (conditions, reasons);
        }
        status!("{} {}: {}; again", case.name, case.kind, reasons.join(", "));
        wait_for_load_average(conditions.own_load);
    };
    let row = Row {
        quiet: reasons.is_empty(),
        disturbances: reasons,
        conditions,
        attempts,
        ..row(case, &who, &choices, &lanes, gflop)?
    };
    match session.memory && matches!(case.work, Work::Network { .. }) {
        true => with_memory(row, case, &who, &choices, &session.place),
        false => Ok(row),
    }
}

fn is_pytorch(who: Who) -> bool {
    who == Who::Other(Against::Pytorch)
}

/// Threads that compute, and workers that load.
fn own_load(case: &Case, place: &Place) -> f64 {
    let workers = match case.work {
        Work::Loader { workers, .. } | Work::Epoch { workers, .. } => workers,
        _ => 0,
    };
    (place.threads + workers) as f64
}

/// Spread of the rounds of the fastest arm in f32 of each side.
fn spreads(who: &[Who], lanes: &[Lane]) -> BTreeMap<String, f64> {
    let sides = who.iter().enumerate();
    sides
        .filter_map(|(side, who)| {
            let timed = of_side(lanes, side);
            let fastest = first(&timed, Precision::Fp32)?;
            Some((who.name().to_string(), fastest.spread))
        })
        .collect()
}

/// The times of all sides.
fn row(
    case: &Case,
    who: &[Who],
    choices: &[Choice],
    lanes: &[Lane],
    gflop: Option<f64>,
) -> Result<Row> {
    let fastest = |timed: &[Timed]| {
        let fastest = first(timed, Precision::Fp32).cloned();
        fastest.context("a side has nothing to run in f32")
    };
    let ours = fastest(&of_side(lanes, 0))?;
    let mut row = Row::new(case, &ours, gflop);
    for (side, who) in who.iter().enumerate() {
        let timed = of_side(lanes, side);
        let fp32 = fastest(&timed)?;
        match who {
            Who::Ours => {}
            Who::Library => row.library_ms = Some(1e3 * fp32.seconds),
            Who::Other(other) => row.others.push(Other::new(
                other.name(),
                &fp32,
                first(&timed, Precision::Bf16),
                choices[side].left_out.clone(),
                &ours,
            )),
        }
    }
    Ok(row)
}

/// The row with the peak memory of ours and of the others, each in a fresh process.
fn with_memory(
    mut row: Row,
    case: &Case,
    who: &[Who],
    choices: &[Choice],
    place: &Place,
) -> Result<Row> {
    for (who, choice) in who.iter().zip(choices) {
        let arm = choice.plain.as_ref().or(choice.arms.first());
        let arm = arm.context("a side has nothing to run")?;
        let peak = match who {
            Who::Ours => &mut row.peak_rss_mb,
            Who::Library => continue,
            Who::Other(other) => {
                let found = row.others.iter_mut().find(|o| o.name == other.name());
                match found {
                    Some(found) => &mut found.peak_rss_mb,
                    None => continue,
                }
            }
        };
        *peak = peak_memory(Side::start(*who, place)?, case, &arm.name)?;
    }
    Ok(row)
}
