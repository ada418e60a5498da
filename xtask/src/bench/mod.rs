//! `cargo xtask bench`: speed of Tallow, alone and compared with PyTorch, candle and burn.
//!
//! Each side is a worker process that runs one benchmark at a time on request, so that all are treated alike and only one works at a
//! time. This process only waits meanwhile.

pub mod args;
mod arms;
mod best;
mod cases;
mod compare;
mod measure;
mod programs;
mod quiet;
mod row;
mod run;
mod screen;
mod side;
mod table;
mod worker;

use std::path::Path;

use anyhow::{Context, Result, bail, ensure};
use tallow_cli::console::status;
use tallow_cli::{Ending, machine, output};
use tallow_datasets::{LoadOptions, locate};
use tallow_experiment::device;

use args::{Against, BenchArgs};
use best::Best;
use compare::{Session, compare};
use measure::Effort;
use programs::Programs;
use side::{Place, Side, Who};
use worker::protocol::{Gemm, Request};

pub use cases::KINDS;
pub use row::{Other, Row};
pub use run::Run;
#[cfg(test)]
pub use run::tests::FIXTURE;
pub use worker::case::{Case, Kind, Work};
pub use worker::data::made_up;
pub use worker::job::Job;
pub use worker::{WorkerArgs, prepare};

/// Runs the benchmarks, prints the table, and writes the run as JSON. `commit` is that of this repository.
pub fn bench(args: &BenchArgs, commit: Option<String>) -> Result<Ending> {
    let mut cases = cases::select(&args.filter)?;
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
        arms: args.arms,
        programs: Programs::build(args)?,
    };
    let mut sides = who(args, &place)
        .into_iter()
        .map(|who| Side::start(who, &place))
        .collect::<Result<Vec<Side>>>()?;
    let versions = sides.iter().filter(|side| side.who != Who::Library);
    let versions = versions.map(|side| side.version.clone()).collect();
    let mut run = Run::begin(args, &place, versions, commit);
    greet(&run);

    let best_path = match &args.best {
        Some(path) => path.clone(),
        None => best::usual_path()?,
    };
    let mut session = Session {
        effort: Effort {
            rounds: args.repeats as usize,
            turn: args.seconds,
        },
        retries: args.retries as usize,
        compile_limit: args.compile_limit,
        memory: args.memory,
        best: Best::read(&best_path, run.day())?,
        place,
    };
    let file = args.json.as_deref();
    let file = file.filter(|path| *path != Path::new("-"));
    let mut failures = 0;
    for case in &cases {
        // Between the benchmarks, so that it is the peak of the same minutes.
        let gemm: Gemm = sides[0].ask(&Request::Gemm)?;
        run.gemm_peak_gflops = run.gemm_peak_gflops.max(gemm.gflops);
        match compare(case, &mut sides, &mut session) {
            Ok(row) => {
                status!("{}", row.line());
                run.rows.push(row);
                if let Some(file) = file {
                    // Now too, since the whole run may take hours.
                    write(&run, file)?;
                }
            }
            Err(error) => {
                failures += 1;
                let message = output::message(&error);
                status!("{} {}: {message}", case.name, case.kind);
            }
        }
        session.best.write(&best_path)?;
    }
    report(&run, args.json.as_deref())?;
    if failures > 0 {
        bail!(
            "{failures} of {} benchmarks could not be measured",
            cases.len()
        );
    }
    Ok(Ending::Done)
}

/// Answers the requests of `bench`, with the allocator of this program.
pub fn work(args: &WorkerArgs) -> Result<Ending> {
    worker::work(args, Some(machine::gemm_peak))?;
    Ok(Ending::Done)
}

/// The training steps of all networks.
pub fn steps() -> Result<Vec<Case>> {
    cases::select(&[Kind::Step.to_string()])
}

/// The sides: ours first; ours as a library where there is something to compare with; each of the others once.
fn who(args: &BenchArgs, place: &Place) -> Vec<Who> {
    let mut who = vec![Who::Ours];
    if place.programs.system.is_some() {
        who.push(Who::Library);
    }
    for &other in &args.against {
        if !who.contains(&Who::Other(other)) {
            who.push(Who::Other(other));
        }
    }
    who
}

/// Keeps the benchmarks of other devices than the CPU.
fn only_networks(cases: &mut Vec<Case>, args: &BenchArgs) -> Result<()> {
    let only_pytorch = args.against.iter().all(|other| *other == Against::Pytorch);
    ensure!(
        !args.memory && only_pytorch && args.system_worker.is_none(),
        "--memory, --system-worker, --against candle and --against burn are for the CPU; leave them out, or --device {}",
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

/// Names the sides, and other programs that work. All sides wait for requests when this is called.
fn greet(run: &Run) {
    let names = run.versions.join("; ");
    let (threads, device) = (run.environment.threads, &run.environment.device);
    match device.as_str() {
        "cpu" => status!("{names} on {threads} threads"),
        _ => status!("{names} on {device}, fed by {threads} threads"),
    }
    if let Some(cpus) = machine::busy_cpus().filter(|cpus| *cpus > 0.15) {
        status!(
            "note: other programs keep {cpus:.1} processors busy; not even the ratios can be trusted"
        );
    }
}

/// The table on standard output and the run in a file; the run has standard output to itself when it is that file.
fn report(run: &Run, json: Option<&Path>) -> Result<()> {
    let mut text = String::new();
    if !run.rows.is_empty() {
        text = format!(
            "{}\nMedians; ratios of f32; GEMM: {:.0} GFLOP/s; GFLOP/s count the products of direct convolution.\n{}",
            table::table(&run.rows, run.gemm_peak_gflops),
            run.gemm_peak_gflops,
            table::notes(&run.rows)
        );
    }
    let Some(path) = json else {
        return output::print(&text);
    };
    if path == Path::new("-") {
        status!("{}", text.trim_end_matches('\n'));
        return output::print(&run.to_json()?);
    }
    output::print(&text)?;
    write(run, path)
}

fn write(run: &Run, path: &Path) -> Result<()> {
    tallow_record::write_atomic(path, run.to_json()?)
        .with_context(|| format!("cannot write {}", path.display()))
}
