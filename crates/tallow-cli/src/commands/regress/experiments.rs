//! Comparison of experiments with their baselines.

use std::path::{Path, PathBuf};
use std::time::Instant;

use anyhow::{Context, Result, bail, ensure};
use tallow_experiment::experiment::Source;
use tallow_experiment::regression::{ExperimentTrainer, Machine, normalize_recipe, plan};
use tallow_experiment::report::shell_quoted;
use tallow_experiment::{Experiment, results};
use tallow_record::Tier;
use tallow_regress::{
    Baseline, Findings, Plan, Rounds, Train, baseline, no_baseline, record, record_of_results,
    record_traces, table,
};

use super::args::RegressArgs;
use super::publish::{prepare, publish};
use crate::args::Seeds;
use crate::console::status;
use crate::ending::Ending;
use crate::program::Program;
use crate::runner::Runner;
use crate::{interrupt, machine, output};

/// Number of seeds of a new baseline of the smoke tier.
const BASELINE_SEEDS: u64 = 30;

const MACHINE: Machine = Machine {
    gemm_peak_gflops: machine::gemm_peak,
    watch_load: || {
        let others = machine::Others::watch();
        Box::new(move || others.cpus())
    },
};

/// Experiment with its plan, its baselines and the command that trains it.
struct Subject {
    experiment: Experiment,
    plan: Plan,
    command: String,
}

/// Compares the experiments of a tier with their baselines, or makes new baselines.
pub fn regress(args: &RegressArgs, program: &Program) -> Result<Ending> {
    let place = args.baseline.as_deref().unwrap_or(&program.baselines);
    let mut runner = Runner::new(&args.runner, args.json, program)?;
    let sets = runner.sets(&[]);
    let experiments = Experiment::of_tier(args.tier, &args.only, &sets)?;
    ensure!(
        !baseline::is_file(place) || experiments.len() == 1,
        "--baseline {} is one file: name its experiment with --only",
        place.display()
    );
    let subject = |experiment| subject(args, program, place, experiment);
    let subjects: Vec<Subject> = experiments
        .into_iter()
        .map(subject)
        .collect::<Result<_>>()?;
    interrupt::listen()?;
    match (args.update, args.traces) {
        (false, _) => compare(args, place, &mut runner, &subjects),
        (true, false) => update(args, place, &mut runner, &subjects),
        (true, true) => renew_traces(args, program, place, &mut runner, &subjects),
    }
}

fn subject(
    args: &RegressArgs,
    program: &Program,
    place: &Path,
    mut experiment: Experiment,
) -> Result<Subject> {
    if let Some(Seeds(seeds)) = &args.seeds {
        experiment.seeds.clone_from(seeds);
    } else if args.update && args.tier == Tier::Smoke {
        experiment.seeds = (0..BASELINE_SEEDS).collect();
    }
    let name = match &experiment.source {
        Source::File(path) => shell_quoted(&path.display().to_string()),
        Source::BuiltIn | Source::Text => experiment.name.clone(),
    };
    let (program_name, tier) = (&program.name, experiment.tier);
    let at = match place == program.baselines {
        true => String::new(),
        false => format!(" --baseline {}", shell_quoted(&place.display().to_string())),
    };
    let update_command =
        format!("{program_name} regress --tier {tier} --only {name}{at} --update --reason \"...\"");
    Ok(Subject {
        plan: plan(&experiment, update_command)?,
        command: format!("{program_name} run {name} --tier {tier}"),
        experiment,
    })
}

fn trainer<'a>(runner: &'a mut Runner, subject: &'a Subject) -> ExperimentTrainer<'a> {
    ExperimentTrainer {
        runner: &mut runner.engine,
        experiment: &subject.experiment,
        command: subject.command.clone(),
        machine: MACHINE,
        progress: &mut runner.progress,
    }
}

fn compare(
    args: &RegressArgs,
    place: &Path,
    runner: &mut Runner,
    subjects: &[Subject],
) -> Result<Ending> {
    let started = Instant::now();
    // All of them before the first is trained, so that a missing baseline is reported at once.
    let mut baselines = Vec::new();
    for Subject { plan, .. } in subjects {
        let found = find(place, plan)?.into_iter();
        baselines.push(found.map(|(_, baseline)| baseline).collect::<Vec<_>>());
    }
    prepare(args)?;
    // A diverged run is a result, until it is known how many diverge.
    runner.engine.options_mut().skip_diverged = true;
    let mut rounds = Rounds {
        exact: args.exact,
        speed: !args.no_speed,
        traces_alone: args.traces,
        machine: None,
    };
    let mut findings = Findings {
        tier: Some(args.tier),
        ..Findings::default()
    };
    for (i, (subject, baselines)) in subjects.iter().zip(&baselines).enumerate() {
        let name = &subject.plan.experiment;
        status!("\n== {name} ({} of {})", i + 1, subjects.len());
        let report = rounds.judge(&subject.plan, baselines, &mut trainer(runner, subject));
        let Some(report) = report else {
            return Ok(Ending::Interrupted);
        };
        status!("{}", table::summary(&report).trim_end_matches('\n'));
        findings.experiments.push(report);
    }
    findings.machine = rounds.machine;
    findings.seconds = started.elapsed().as_secs_f64();
    findings.conclude();
    publish(args, &findings)
}

/// Baselines of an experiment with their files, at least one.
fn find(place: &Path, plan: &Plan) -> Result<Vec<(PathBuf, Baseline)>> {
    let found = baseline::find(place, &plan.experiment, plan.tier)?;
    if found.is_empty() {
        return Err(no_baseline(plan)).context(place.display().to_string());
    }
    Ok(found)
}

/// Renews the traces of the baselines of the data at hand, and keeps their metrics.
fn renew_traces(
    args: &RegressArgs,
    program: &Program,
    place: &Path,
    runner: &mut Runner,
    subjects: &[Subject],
) -> Result<Ending> {
    let reason = args.reason.as_deref().unwrap_or_default();
    for (i, subject) in subjects.iter().enumerate() {
        let plan = &subject.plan;
        status!("\n== {} ({} of {})", plan.experiment, i + 1, subjects.len());
        let found = find(place, plan)?;
        let mut trainer = trainer(runner, subject);
        let data = Train::data(&mut trainer).map_err(tallow_regress::Error::Train)?;
        let of_data = found.iter().position(|(_, baseline)| baseline.data == data);
        let (path, mut baseline) = found
            .into_iter()
            .nth(of_data.unwrap_or(0))
            .context(place.display().to_string())?;
        if let Some(reasons) = baseline.refuses(&data, plan, normalize_recipe) {
            bail!(
                "{}: {reasons}; without --traces the baseline is made anew",
                path.display()
            );
        }
        let traces = record_traces(plan, &mut trainer)?;
        baseline.renew_traces(traces, reason, (program.commit)());
        baseline.write(&path)?;
        let events = args.runner.events_on_stdout();
        output::result::<()>(&format!("{}\n", path.display()), None, events)?;
    }
    Ok(Ending::Done)
}

fn update(
    args: &RegressArgs,
    place: &Path,
    runner: &mut Runner,
    subjects: &[Subject],
) -> Result<Ending> {
    let reason = args.reason.as_deref().unwrap_or_default();
    for (i, subject) in subjects.iter().enumerate() {
        let plan = &subject.plan;
        let (name, tier) = (&plan.experiment, plan.tier);
        status!("\n== {name} ({} of {})", i + 1, subjects.len());
        let made = match &args.from {
            Some(folder) => {
                let path = results::path(folder, name, tier);
                let again = format!("{} --results {}", subject.command, folder.display());
                record_of_results(&path, plan, normalize_recipe, &again)?
            }
            None => match record(plan, &mut trainer(runner, subject))? {
                Some(made) => made,
                None => return Ok(Ending::Interrupted),
            },
        };
        let (path, before) = baseline::place_for(place, name, tier, &made.data)?;
        let new = Baseline::new(plan, made, before.as_ref(), reason);
        new.check_complete()?;
        new.write(&path)?;
        let events = args.runner.events_on_stdout();
        output::result::<()>(&format!("{}\n", path.display()), None, events)?;
    }
    Ok(Ending::Done)
}
