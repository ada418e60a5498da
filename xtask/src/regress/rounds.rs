//! Training an experiment for a comparison: once, and where that leaves doubt once or twice more.

use std::path::Path;
use std::time::Instant;

use anyhow::{Context, Result, bail, ensure};
use serde_json::Value;
use tallow_ops::instruction_set;
use tallow_report::Run;
use tallow_report::results::Environment;

use super::baseline::{self, Baseline, Data, Record};
use super::compare::{self, Report, fresh_seeds};
use super::judge::{FRESH_ROUNDS, FRESH_SEEDS, Verdict};
use super::measured::{self, Measured};
use crate::bench;
use crate::claims::{Claim, FACTS};
use crate::experiment::{self, Experiment};
use crate::outcome::Outcome;
use crate::output;
use crate::run::Runner;

/// What is needed to judge experiments.
pub struct Rounds<'a> {
    /// Trains.
    pub runner: &'a mut Runner,
    /// Where baselines are.
    pub place: &'a Path,
    /// Whether the baseline's weights are demanded.
    pub exact: bool,
    /// Whether speeds are judged, where they can be.
    pub speed: bool,
    /// The class of this machine, known once something has been trained.
    pub machine: Option<String>,
}

/// What came of training an experiment.
struct Trained {
    outcome: Outcome,
    runs: Vec<Run>,
    measured: Vec<Measured>,
    gemm_peak_gflops: f64,
    /// Processors that worked for others meanwhile.
    others: Option<f64>,
}

/// Speeds are judged where others took no more than this, in processors.
const QUIET: f64 = 0.1;

impl Trained {
    /// Whether the machine was left to it, as far as the system tells.
    fn quiet(&self) -> bool {
        self.others.is_none_or(|cpus| cpus <= QUIET)
    }
}

impl Rounds<'_> {
    /// All rounds of an experiment, beside the baseline that is of its data; `None` when the user interrupted it.
    ///
    /// An error is a report as well: what other experiments came to is not lost by it.
    pub fn judge(&mut self, experiment: &Experiment, baselines: &[Baseline]) -> Option<Report> {
        let started = Instant::now();
        let report = self
            .try_judge(experiment, baselines)
            .unwrap_or_else(|error| {
                let reason = output::message(&error);
                Some(Report::refused(&experiment.name, reason))
            })?;
        Some(Report {
            seconds: started.elapsed().as_secs_f64(),
            ..report
        })
    }

    fn try_judge(
        &mut self,
        experiment: &Experiment,
        baselines: &[Baseline],
    ) -> Result<Option<Report>> {
        let data = Data::of(&self.runner.dataset(experiment)?);
        let of_data = baselines.iter().find(|baseline| baseline.data == data);
        let baseline = of_data.or(baselines.first());
        let baseline = baseline.with_context(|| missing(self.place, experiment))?;
        if let Some(reason) = baseline.refuses(&data, &recipes(experiment)?) {
            let update = update_command(self.place, experiment);
            bail!("{reason}. If this is as it should be: {update}");
        }
        self.compare(experiment, baseline)
    }

    fn compare(&mut self, experiment: &Experiment, baseline: &Baseline) -> Result<Option<Report>> {
        let seeds = &experiment.seeds;
        let has_weights = |variant: &baseline::Variant| {
            seeds.iter().all(|&seed| variant.weights_of(seed).is_some())
        };
        ensure!(
            !self.exact || baseline.variants.iter().all(has_weights),
            "--exact: the baseline holds no weights of the seeds {}; it is of others, or was made with --from",
            list(seeds)
        );
        let Some(trained) = train(self.runner, experiment)? else {
            return Ok(None);
        };
        let environment = environment(&trained.runs)?;
        let class = baseline::machine_class(&environment, Some(instruction_set()));
        let same_class = class == baseline.machine_class();
        ensure!(
            same_class || !self.exact,
            "--exact: the baseline is of another machine ({})",
            baseline.machine_class()
        );
        self.machine = Some(class);
        let judges_speed = self.speed && same_class;
        let speed = judges_speed && trained.quiet();
        let first = |measured: &Measured| {
            let before = baseline.variant(&measured.name)?;
            Some(compare::first(before, measured, same_class, speed))
        };
        let facts = &trained.outcome.facts;
        let floor = |claim: &Claim, measured: &[Measured]| {
            claim.judge(|name, metric| {
                if name == FACTS {
                    return Some(facts.get(metric).copied().unwrap_or(f64::NAN));
                }
                Some(measured.iter().find(|m| m.name == name)?.mean(metric))
            })
        };
        let floors = experiment.claims.iter();
        let mut report = Report {
            experiment: experiment.name.clone(),
            verdict: Verdict::Pass,
            reason: None,
            claims: floors.map(|c| floor(c, &trained.measured)).collect(),
            variants: trained.measured.iter().filter_map(first).collect(),
            gemm_peak_gflops: trained.gemm_peak_gflops,
            others_cpus: trained.others,
            seconds: 0.0,
        };
        let mut diverged = trained.outcome.diverged.clone();
        let mut used = experiment.seeds.clone();
        for _ in 0..FRESH_ROUNDS {
            let suspicious = suspicious(&report, experiment);
            if suspicious.is_empty() {
                break;
            }
            let seeds = fresh_seeds(baseline, &used, FRESH_SEEDS);
            let seeds = seeds.context("there are no seeds after these for a further round")?;
            used.extend(&seeds);
            let Some(again) = self.again(experiment, &suspicious, seeds)? else {
                return Ok(None);
            };
            for variant in &mut report.variants {
                let measured = again.measured.iter().find(|m| m.name == variant.name);
                let before = baseline.variant(&variant.name);
                if let (Some(measured), Some(before)) = (measured, before) {
                    compare::again(variant, before, measured, judges_speed && again.quiet());
                }
            }
            // A floor that was missed is judged by the fresh seeds, as every other figure is.
            for (verdict, claim) in report.claims.iter_mut().zip(&experiment.claims) {
                if verdict.holds == Some(false) {
                    *verdict = floor(claim, &again.measured);
                }
            }
            diverged.extend(again.outcome.diverged);
        }
        report.conclude();
        if report.verdict.fails() && !diverged.is_empty() {
            report.reason = Some(diverged.join("; "));
        }
        if self.exact && !report.variants.iter().all(|v| v.exact) {
            report.verdict = report.verdict.max(Verdict::Regression);
            report.reason =
                Some("weights or figures are not the baseline's to the bit".to_string());
        }
        Ok(Some(report))
    }

    /// Trains some variants with other seeds.
    fn again(
        &mut self,
        experiment: &Experiment,
        names: &[String],
        seeds: Vec<u64>,
    ) -> Result<Option<Trained>> {
        let (named, listed) = (names.join(", "), list(&seeds));
        say!("suspicious: {named}; training again with the seeds {listed}");
        let mut part = experiment.clone();
        part.keep_only(names)?;
        part.seeds = seeds;
        train(self.runner, &part)
    }
}

/// Trains an experiment for a new baseline; `None` when the user interrupted it.
pub fn record(runner: &mut Runner, experiment: &Experiment) -> Result<Option<Record>> {
    let Some(mut trained) = train(runner, experiment)? else {
        return Ok(None);
    };
    if !trained.quiet() {
        let others = trained.others.unwrap_or_default();
        say!("other programs took {others:.1} processors: the baseline holds no speed");
        trained.measured.iter_mut().for_each(Measured::forget_speed);
    }
    Ok(Some(Record {
        data: Data::of(&trained.outcome.dataset),
        environment: environment(&trained.runs)?,
        instruction_set: Some(instruction_set().to_string()),
        measured: trained.measured,
    }))
}

fn train(runner: &mut Runner, experiment: &Experiment) -> Result<Option<Trained>> {
    let others = bench::Others::watch();
    let gemm_peak_gflops = bench::gemm_peak(runner.device())?;
    let command = format!(
        "cargo xtask run {} --tier {}",
        experiment.name, experiment.tier
    );
    let Some(outcome) = runner.run(experiment, command)? else {
        return Ok(None);
    };
    let others = others.cpus();
    let runs = outcome.runs.iter().map(Run::read);
    let runs = runs.collect::<Result<Vec<_>, _>>()?;
    let measured = Measured::of_runs(experiment, &runs, gemm_peak_gflops)?;
    Ok(Some(Trained {
        outcome,
        runs,
        measured,
        gemm_peak_gflops,
        others,
    }))
}

fn environment(runs: &[Run]) -> Result<Environment> {
    let run = runs.first().context("there are no runs")?;
    Ok(run.environment.clone().into())
}

/// The recipes by variant.
fn recipes(experiment: &Experiment) -> Result<Vec<(String, Value)>> {
    let of = |variant: &experiment::Variant| {
        Ok((variant.name.clone(), measured::recipe(&variant.recipe)?))
    };
    experiment.variants.iter().map(of).collect()
}

/// Variants that the rounds so far leave in doubt: with suspicious figures of their own, or in a floor that was missed.
fn suspicious(report: &Report, experiment: &Experiment) -> Vec<String> {
    let missed = (report.claims.iter())
        .zip(&experiment.claims)
        .filter(|(verdict, _)| verdict.holds == Some(false));
    let named: Vec<&str> = missed
        .flat_map(|(_, claim)| claim.metrics().map(|(variant, _)| variant))
        .collect();
    let doubtful = |variant: &&compare::VariantReport| {
        let rows = &variant.rows;
        let worse = rows.iter().any(|row| row.verdict == Verdict::Suspicious);
        worse || named.contains(&variant.name.as_str())
    };
    (report.variants.iter())
        .filter(doubtful)
        .map(|variant| variant.name.clone())
        .collect()
}

/// That there is nothing to compare an experiment with.
pub fn missing(place: &Path, experiment: &Experiment) -> String {
    format!(
        "{} has no baseline of {}.{}; to make one: {}",
        place.display(),
        experiment.name,
        experiment.tier,
        update_command(place, experiment)
    )
}

/// What makes a new baseline.
fn update_command(place: &Path, experiment: &Experiment) -> String {
    let place = match place == baseline::folder() {
        true => String::new(),
        false => format!(" --baseline {}", place.display()),
    };
    format!(
        "cargo xtask regress --tier {} --only {}{place} --update --reason \"...\"",
        experiment.tier, experiment.name
    )
}

fn list(seeds: &[u64]) -> String {
    let seeds: Vec<String> = seeds.iter().map(u64::to_string).collect();
    seeds.join(", ")
}

#[cfg(test)]
mod tests {
    use clap::Parser;

    use super::*;
    use crate::cli::{Cli, Command};
    use crate::experiment::Tier;

    #[test]
    fn runs_that_diverge_are_seen_through_and_found() {
        let folder = tempfile::tempdir().unwrap();
        let out = folder.path().to_str().unwrap();
        let cli = Cli::parse_from(["xtask", "run", "guard", "--out", out]);
        let Command::Run(args) = cli.command else {
            unreachable!()
        };
        let mut runner = Runner::new(&args.runner, false).unwrap();
        let sets = ["train.optimizer.lr=1e30".to_string()];
        let mut experiment = experiment::load("guard", Tier::Smoke, &sets).unwrap();
        let names = ["plain", "dropout"].map(str::to_string);
        experiment.keep_only(&names).unwrap();
        let error = train(&mut runner, &experiment).err().unwrap();
        assert!(output::message(&error).contains("the loss is"), "{error}");

        runner.goes_on = true;
        let trained = train(&mut runner, &experiment).unwrap().unwrap();
        assert_eq!(trained.outcome.diverged.len(), 2);
        assert_eq!(trained.measured.len(), 2);
        for measured in &trained.measured {
            assert_eq!(measured.values("steps", None), [None]);
            assert_eq!(measured.values("epochs_to_threshold", Some(0.1)), [None]);
            assert_eq!(measured.weights, [None]);
            assert!(measured.mean("test_accuracy").is_nan());
        }

        let place = baseline::folder();
        let (_, baseline) = baseline::find(&place, "guard", Tier::Smoke)
            .unwrap()
            .remove(0);
        let mut rounds = Rounds {
            runner: &mut runner,
            place: &place,
            exact: false,
            speed: true,
            machine: None,
        };
        let report = rounds.compare(&experiment, &baseline).unwrap().unwrap();
        assert_eq!(report.verdict, Verdict::Regression);
        for variant in &report.variants {
            assert_eq!(variant.fresh_seeds.len(), 6);
            for row in &variant.rows {
                let of_network = row.metric.ends_with("_accuracy")
                    || row.metric.ends_with("_loss")
                    || row.metric == "epochs_to_threshold";
                let expected = match of_network {
                    true => (Verdict::Regression, Some(0.0)),
                    false => (Verdict::Skipped, None),
                };
                assert_eq!((row.verdict, row.p_again), expected, "{}", row.metric);
            }
        }
        assert!(report.claims.iter().any(|claim| claim.holds == Some(false)));
        let reason = report.reason.unwrap();
        assert_eq!(reason.matches("the loss is").count(), 14, "{reason}");
    }
}
