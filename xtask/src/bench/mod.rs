//! `cargo xtask bench`: speed of Tallow, alone and compared with PyTorch and candle.
//!
//! Each side is a worker process that runs one benchmark at a time on request, so that all are treated alike and only one works at a
//! time. This process only waits meanwhile.

pub mod args;
mod candle;
mod case;
mod data;
mod job;
mod measure;
mod network;
mod operator;
mod protocol;
mod row;
mod side;
mod worker;

use std::path::Path;

use anyhow::{Context, Result, bail, ensure};
use tallow_datasets::{LoadOptions, locate};

pub use worker::work;

use tallow_cli::console::status;
use tallow_cli::{Ending, machine, output};
use tallow_experiment::device;

use args::{Against, BenchArgs};
use case::{Case, Work};
use measure::{Effort, measure, peak_memory};
use protocol::{Gemm, Request};
use row::Row;
use side::{Place, Side, Who};

/// Runs the benchmarks, prints the table, and writes the rows as JSON.
pub fn bench(args: &BenchArgs) -> Result<Ending> {
    let mut cases = case::select(&args.filter)?;
    if let Some(batch) = args.batch {
        cases
            .iter_mut()
            .for_each(|case| case.batch = batch as usize);
    }
    if let Some(path) = &args.json {
        // Now rather than when all is measured.
        let folder = path.parent().filter(|folder| *folder != Path::new(""));
        ensure!(
            folder.is_none_or(Path::is_dir) && !path.is_dir(),
            "--json {}: no such folder, or a folder itself",
            path.display()
        );
    }
    if args.device != "cpu" {
        device::parse(&args.device)?;
        only_networks(&mut cases, args)?;
    }
    find_data(&mut cases, !args.filter.is_empty())?;
    let place = Place {
        threads: args.threads.map_or_else(machine::cores, usize::from),
        device: args.device.clone(),
    };
    let mut against: Vec<Against> = Vec::new();
    for &other in &args.against {
        if !against.contains(&other) {
            against.push(other);
        }
    }
    let mut ours = Side::start(Who::Ours, &place)?;
    let mut others = against
        .into_iter()
        .map(|other| Side::start(Who::Other(other), &place))
        .collect::<Result<Vec<_>>>()?;
    greet(&ours, &others, &place);

    let effort = Effort {
        rounds: args.repeats as usize,
        turn: args.seconds,
    };
    let (mut rows, mut failures, mut peak) = (Vec::new(), 0, 0f64);
    for case in &cases {
        // Between the benchmarks, so that it is the peak of the same minutes.
        peak = peak.max(ours.ask::<Gemm>(&Request::Gemm)?.gflops);
        match compare(case, &mut ours, &mut others, effort, &place, args.memory) {
            Ok(new) => {
                new.iter().for_each(|row: &Row| status!("{}", row.line()));
                rows.extend(new);
            }
            Err(error) => {
                failures += 1;
                let message = output::message(&error);
                status!("{} {}: {message}", case.name, case.kind);
            }
        }
    }
    warn_if_busy();
    rows.iter_mut().for_each(|row| row.gemm_peak_gflops = peak);
    report(&rows, args.json.as_deref())?;
    if failures > 0 {
        bail!(
            "{failures} of {} benchmarks could not be measured",
            cases.len()
        );
    }
    Ok(Ending::Done)
}

/// Keeps the benchmarks of other devices than the CPU.
fn only_networks(cases: &mut Vec<Case>, args: &BenchArgs) -> Result<()> {
    ensure!(
        !args.memory && !args.against.contains(&Against::Candle),
        "--memory and --against candle are for the CPU; leave them out, or --device {}",
        args.device
    );
    cases.retain(|case| matches!(case.work, Work::Network { .. }));
    ensure!(
        !cases.is_empty(),
        "only networks run on {}: --filter step, --filter inference, or a network's name",
        args.device
    );
    Ok(())
}

/// Fills in the folders of datasets. A case whose dataset is missing is skipped with a message, or an error if it was asked for.
fn find_data(cases: &mut Vec<Case>, asked: bool) -> Result<()> {
    const GET: &str =
        "TALLOW_DATA can name a folder that has it, and `cargo xtask data get mnist` gets it";
    let mut missing = None;
    cases.retain_mut(|case| {
        let Work::Epoch { data, .. } = &mut case.work else {
            return true;
        };
        match locate("mnist", &LoadOptions::default()) {
            Ok(dir) => *data = dir,
            Err(error) => {
                missing = Some((case.name.clone(), error));
                return false;
            }
        }
        true
    });
    match missing {
        Some((name, error)) if asked => {
            Err(anyhow::Error::from(error).context(format!("{name}: {GET}")))
        }
        Some((name, _)) => {
            status!("{name} is skipped: MNIST was not found; {GET}");
            Ok(())
        }
        None => Ok(()),
    }
}

fn greet(ours: &Side, others: &[Side], place: &Place) {
    let names: Vec<&str> = [ours]
        .into_iter()
        .chain(others)
        .map(|side| side.version.as_str())
        .collect();
    let Place { threads, device } = place;
    let names = names.join("; ");
    match device.as_str() {
        "cpu" => status!("{names} on {threads} threads"),
        _ => status!("{names} on {device}, fed by {threads} threads"),
    }
    warn_if_busy();
}

/// Says so if other programs work too. All sides wait for requests when this is called.
fn warn_if_busy() {
    if let Some(cpus) = machine::busy_cpus().filter(|cpus| *cpus > 0.15) {
        status!(
            "note: other programs keep {cpus:.1} processors busy; not even the ratios can be trusted"
        );
    }
}

/// The rows of one benchmark: one for each of the others that can do it, or one of ours alone.
fn compare(
    case: &Case,
    ours: &mut Side,
    others: &mut [Side],
    effort: Effort,
    place: &Place,
    memory: bool,
) -> Result<Vec<Row>> {
    let mut sides = vec![ours];
    sides.extend(others.iter_mut().filter(|side| side.who.does(case)));
    let timed = measure(&mut sides, case, effort)?;
    let who: Vec<Who> = sides.iter().map(|side| side.who).collect();
    let mut peaks = vec![None; who.len()];
    if memory && matches!(case.work, Work::Network { .. }) {
        for ((peak, who), timed) in peaks.iter_mut().zip(&who).zip(&timed) {
            *peak = peak_memory(Side::start(*who, place)?, case, &timed.variant)?;
        }
    }
    let row = |index: usize| {
        let other = (index > 0).then(|| (who[index].name(), &timed[index]));
        Row {
            peak_rss_mb: peaks[0],
            other_peak_rss_mb: if index > 0 { peaks[index] } else { None },
            ..Row::new(case, &timed[0], other, place)
        }
    };
    Ok(match who.len() {
        1 => vec![row(0)],
        n => (1..n).map(row).collect(),
    })
}

/// The table on standard output and the rows in a file; the rows have standard output to themselves when it is that file.
fn report(rows: &[Row], json: Option<&Path>) -> Result<()> {
    let mut text = String::new();
    if let Some(row) = rows.first() {
        text = format!(
            "{}\nMedians; GEMM: {:.0} GFLOP/s; GFLOP/s count the products of direct convolution.\n",
            row::table(rows),
            row.gemm_peak_gflops
        );
    }
    let Some(path) = json else {
        return output::print(&text);
    };
    let rows = format!("{}\n", serde_json::to_string_pretty(rows)?);
    if path == Path::new("-") {
        status!("{}", text.trim_end_matches('\n'));
        return output::print(&rows);
    }
    output::print(&text)?;
    tallow_record::write_atomic(path, rows)
        .with_context(|| format!("cannot write {}", path.display()))
}
