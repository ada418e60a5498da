//! `cargo xtask regress`: whether a change cost accuracy or speed. `docs/regression.md` tells how it is decided.

mod baseline;
mod compare;
mod guard;
mod judge;
mod junit;
mod measured;
mod rounds;
mod table;

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::time::Instant;

use anyhow::{Context, Result, bail, ensure};
use clap::Args;
use serde::Serialize;
use tallow_report::results::Results;
use tallow_report::write_json;

use crate::cli::{RunnerArgs, Seeds, parse_seeds};
use crate::experiment::{Experiment, Tier};
use crate::run::Runner;
use crate::{Ending, interrupt, output, report, reproduce, results};
use baseline::Baseline;
use compare::Report;
use guard::{GUARDS, Guard};
use judge::Verdict;
use measured::Measured;
use rounds::Rounds;

/// What `--help` ends with.
pub const EXAMPLES: &str = "Examples:
  cargo xtask regress
  cargo xtask regress --only mnist-pixel-order --only cifar10-cnn
  cargo xtask regress --tier standard --junit junit.xml --markdown table.md
  cargo xtask regress --seeds 100..103 --json
  cargo xtask regress --update --reason \"a wider first layer\" --only cifar10-cnn
  cargo xtask regress --tier standard --only cifar10-cnn --update --from docs/results --reason \"first record\"

Exit codes: 0 nothing got worse; 1 a figure got worse, or a floor was missed; 2 bad input, missing data, or a baseline that is of
other data or another recipe, whatever the other experiments came to; 130 interrupted.";

/// Seeds of a new baseline of the smoke tier.
const BASELINE_SEEDS: u64 = 30;

/// Arguments of `regress`.
#[derive(Args, Debug)]
pub struct RegressArgs {
    /// How much of each experiment.
    #[arg(long, value_enum, default_value_t = Tier::Smoke)]
    tier: Tier,
    /// Look at this experiment alone (may be given several times).
    #[arg(long, value_name = "EXPERIMENT")]
    only: Vec<String>,
    /// Seeds of the first round, in place of the experiments' own: 0..3 is 0, 1, 2. With --update, the baseline's; by default thirty
    /// in the smoke tier.
    #[arg(long, value_name = "SEEDS", value_parser = parse_seeds)]
    seeds: Option<Seeds>,
    /// Baselines: a folder of EXPERIMENT.TIER.json, or the file of the one experiment named by --only.
    #[arg(long, value_name = "PATH")]
    baseline: Option<PathBuf>,
    /// Fail as well when weights differ from the baseline's on the same class of machine: for changes that are to change no bit.
    #[arg(long, conflicts_with = "update")]
    exact: bool,
    /// Judge no speeds: for machines that are shared, as those of CI are.
    #[arg(long, conflicts_with = "update")]
    no_speed: bool,
    /// Write what was found as JUnit XML.
    #[arg(long, value_name = "FILE", conflicts_with = "update")]
    junit: Option<PathBuf>,
    /// Write what was found as a table in Markdown, as for a comment on a pull request.
    #[arg(long, value_name = "FILE", conflicts_with = "update")]
    markdown: Option<PathBuf>,
    /// Make new baselines of what is found now; needs --reason.
    #[arg(long, requires = "reason")]
    update: bool,
    /// Why the baseline changes: written into it, with the commit.
    #[arg(long, value_name = "TEXT", requires = "update")]
    reason: Option<String>,
    /// With --update: take the figures from the results files in this folder, and train nothing.
    #[arg(
        long,
        value_name = "DIR",
        requires = "update",
        conflicts_with = "seeds"
    )]
    from: Option<PathBuf>,
    #[command(flatten)]
    pub runner: RunnerArgs,
    /// Print one JSON object on standard output, and nothing else there.
    #[arg(long, conflicts_with = "update")]
    json: bool,
}

/// What `--json` prints.
#[derive(Debug, Serialize)]
struct Findings {
    tier: Tier,
    passed: bool,
    machine: Option<String>,
    experiments: Vec<Report>,
    seconds: f64,
}

/// Compares a tier with its baselines, or makes new ones.
pub fn regress(args: &RegressArgs) -> Result<Ending> {
    let place = args.baseline.clone().unwrap_or_else(baseline::folder);
    ensure!(
        args.runner.results.is_none(),
        "--results is for run and reproduce: regress trains some variants more than once"
    );
    if let Some(reason) = &args.reason {
        ensure!(!reason.trim().is_empty(), "--reason says nothing");
    }
    let mut runner = Runner::new(&args.runner, args.json)?;
    let sets = runner.sets(&[]);
    let mut experiments = reproduce::of_tier(args.tier, &args.only, &sets)?;
    ensure!(
        !baseline::is_file(&place) || experiments.len() == 1,
        "--baseline {} is one file: name its experiment with --only",
        place.display()
    );
    for experiment in &mut experiments {
        if let Some(Seeds(seeds)) = &args.seeds {
            experiment.seeds = seeds.clone();
        } else if args.update && args.tier == Tier::Smoke {
            experiment.seeds = (0..BASELINE_SEEDS).collect();
        }
    }
    interrupt::listen()?;
    if args.update {
        return update(args, &place, &mut runner, &experiments);
    }

    let started = Instant::now();
    // All of them before the first is trained: a baseline that is missing shows now.
    let mut baselines = BTreeMap::new();
    for experiment in &experiments {
        let found = baseline::find(&place, &experiment.name, args.tier)?;
        ensure!(!found.is_empty(), rounds::missing(&place, experiment));
        let found: Vec<Baseline> = found.into_iter().map(|(_, baseline)| baseline).collect();
        baselines.insert(&experiment.name, found);
    }
    for path in [&args.junit, &args.markdown].into_iter().flatten() {
        if let Some(folder) = path.parent() {
            fs::create_dir_all(folder)
                .with_context(|| format!("cannot make {}", folder.display()))?;
        }
    }
    let mut findings = Findings {
        tier: args.tier,
        passed: true,
        machine: None,
        experiments: Vec::new(),
        seconds: 0.0,
    };
    // A run that diverges is a figure like any other, until it is known how many do.
    runner.goes_on = true;
    let mut rounds = Rounds {
        runner: &mut runner,
        place: &place,
        exact: args.exact,
        speed: !args.no_speed,
        machine: None,
    };
    for (i, experiment) in experiments.iter().enumerate() {
        let name = &experiment.name;
        say!("\n== {name} ({} of {})", i + 1, experiments.len());
        let Some(report) = rounds.judge(experiment, &baselines[name]) else {
            return Ok(Ending::Interrupted);
        };
        say!("{}", table::summary(&report).trim_end_matches('\n'));
        findings.experiments.push(report);
    }
    findings.machine = rounds.machine;
    findings.passed = !(findings.experiments.iter()).any(|report| report.verdict.fails());
    findings.seconds = started.elapsed().as_secs_f64();
    publish(args, &findings)
}

/// Writes and prints what was found.
fn publish(args: &RegressArgs, findings: &Findings) -> Result<Ending> {
    let text = table::terminal(findings);
    let events = args.runner.events_on_stdout();
    output::result(&text, args.json.then_some(findings), events)?;
    for (path, text) in [
        (&args.junit, junit::render(findings)?),
        (&args.markdown, table::markdown(findings)),
    ] {
        if let Some(path) = path {
            report::write(path, text)?;
        }
    }
    let refused = |report: &Report| report.verdict == Verdict::Refused;
    Ok(if findings.experiments.iter().any(refused) {
        Ending::Refused
    } else if findings.passed {
        Ending::Done
    } else {
        Ending::ClaimFailed
    })
}

/// Makes new baselines.
fn update(
    args: &RegressArgs,
    place: &Path,
    runner: &mut Runner,
    experiments: &[Experiment],
) -> Result<Ending> {
    let reason = args.reason.as_deref().unwrap_or_default();
    for (i, experiment) in experiments.iter().enumerate() {
        let (name, tier) = (&experiment.name, experiment.tier);
        say!("\n== {name} ({} of {})", i + 1, experiments.len());
        let record = match &args.from {
            Some(folder) => from_results(folder, experiment)?,
            None => match rounds::record(runner, experiment)? {
                Some(record) => record,
                None => return Ok(Ending::Interrupted),
            },
        };
        let (path, before) = baseline::place_for(place, name, tier, &record.data)?;
        let new = Baseline::new(experiment, record, before.as_ref(), reason);
        for variant in &new.variants {
            let guarded =
                |guard: &&Guard| guard.of_machine() || variant.metrics.contains_key(guard.metric);
            if let Some(guard) = GUARDS.iter().find(|guard| !guarded(guard)) {
                bail!(
                    "{name}: `{}` has no {} with some seed, so that it would not be compared; the baseline stays as it was",
                    variant.name,
                    guard.metric
                );
            }
        }
        write_json(&path, &new)?;
        let events = args.runner.events_on_stdout();
        output::result::<()>(&format!("{}\n", path.display()), None, events)?;
    }
    Ok(Ending::Done)
}

/// What a results file says, which `run --results` wrote.
fn from_results(folder: &Path, experiment: &Experiment) -> Result<baseline::Record> {
    let (name, tier) = (&experiment.name, experiment.tier);
    let path = results::path(folder, name, tier);
    let results = Results::read(&path)?;
    ensure!(
        results.tier == tier.to_string() && results.experiment == *name,
        "{} tells of the {} tier of {}",
        path.display(),
        results.tier,
        results.experiment
    );
    let mut measured = Measured::of_results(&results);
    for variant in &experiment.variants {
        let name = &variant.name;
        let again = format!(
            "run again: cargo xtask run {} --tier {tier} --results {}",
            experiment.name,
            folder.display()
        );
        let Some(found) = measured.iter().find(|m| m.name == *name) else {
            bail!("{}: has no variant `{name}`; {again}", path.display());
        };
        ensure!(
            found.recipe == measured::recipe(&variant.recipe)?,
            "{}: the recipe of `{name}` is not the one that the experiment has now; {again}",
            path.display()
        );
    }
    measured.retain(|m| experiment.variants.iter().any(|v| v.name == m.name));
    Ok(baseline::Record {
        data: baseline::Data {
            name: results.dataset.name.clone(),
            digest: results.dataset.digest.clone(),
            test_digest: results.dataset.test_digest.clone(),
        },
        environment: results.environment.clone(),
        instruction_set: None,
        measured,
    })
}
