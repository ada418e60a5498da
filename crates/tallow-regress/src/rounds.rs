//! Comparison of an experiment with its baseline, in up to three rounds of training.

use std::collections::BTreeMap;
use std::time::Instant;

use serde_json::Value;
use tallow_record::{ClaimResult, Environment, Run, error_message};

use crate::baseline::{self, Baseline, Record};
use crate::claim::{Claim, FACTS, Rule};
use crate::compare::{self, Comparison, VariantComparison, fresh_seeds};
use crate::error::{Error, Result};
use crate::figure::Figure;
use crate::format::list;
use crate::judge::{FRESH_ROUNDS, FRESH_SEEDS, Judgement};
use crate::measured::Measured;
use crate::plan::Plan;
use crate::traced;
use crate::train::{Train, Trained};

/// Options of a comparison with baselines.
#[derive(Debug)]
pub struct Rounds {
    /// Whether weights and metrics must equal the baseline's, bit for bit.
    pub exact: bool,
    /// Whether speeds are judged, if they can be.
    pub speed: bool,
    /// Whether the traces alone are compared, and nothing is trained.
    pub traces_alone: bool,
    /// Class of this machine, set once something was trained.
    pub machine: Option<String>,
}

impl Rounds {
    /// Compares an experiment with the baseline of its data; `None` if the user interrupted the training.
    ///
    /// An error becomes a comparison with the verdict [`Judgement::Refused`], so that the results of other experiments are kept.
    pub fn judge(
        &mut self,
        plan: &Plan,
        baselines: &[Baseline],
        trainer: &mut dyn Train,
    ) -> Option<Comparison> {
        let started = Instant::now();
        let report = match self.try_judge(plan, baselines, trainer) {
            Ok(report) => report?,
            Err(error) => Comparison::refused(&plan.experiment, error_message(&error)),
        };
        Some(Comparison {
            seconds: started.elapsed().as_secs_f64(),
            ..report
        })
    }

    fn try_judge(
        &mut self,
        plan: &Plan,
        baselines: &[Baseline],
        trainer: &mut dyn Train,
    ) -> Result<Option<Comparison>> {
        let data = trainer.data().map_err(Error::Train)?;
        let of_data = baselines.iter().find(|baseline| baseline.data == data);
        let Some(baseline) = of_data.or(baselines.first()) else {
            return Err(no_baseline(plan));
        };
        let normalize = |recipe: &Value| trainer.normalize_recipe(recipe);
        if let Some(reasons) = baseline.refuses(&data, plan, normalize) {
            return Err(Error::Refused {
                reasons,
                update_command: plan.update_command.clone(),
            });
        }
        if self.traces_alone {
            return traced::compare_alone(plan, baseline, trainer).map(Some);
        }
        self.compare(plan, baseline, trainer)
    }

    /// Compares an experiment with a baseline, without checking its data and recipes; `None` if the user interrupted the training.
    ///
    /// # Errors
    ///
    /// [`Error::Train`], [`Error::Exact`], and those of reading the runs.
    pub fn compare(
        &mut self,
        plan: &Plan,
        baseline: &Baseline,
        trainer: &mut dyn Train,
    ) -> Result<Option<Comparison>> {
        let has_weights = |variant: &baseline::Variant| {
            let mut seeds = plan.seeds.iter();
            seeds.all(|&seed| variant.weights_of(seed).is_some())
        };
        if self.exact && !baseline.variants.iter().all(has_weights) {
            return Err(Error::Exact(format!(
                "the baseline has no weights of the seeds {}; it has other seeds, or was made with --from",
                list(&plan.seeds)
            )));
        }
        let mut changes = traced::compare(plan, baseline, trainer)?;
        let names: Vec<String> = plan.variants.iter().map(|v| v.name.clone()).collect();
        let Some((trained, measured)) = train(trainer, plan, &names, &plan.seeds)? else {
            return Ok(None);
        };
        let environment = environment(plan, &trained.runs)?;
        let class = baseline::machine_class(environment, trained.instruction_set.as_deref());
        let same_class = class == baseline.machine_class();
        if self.exact && !same_class {
            return Err(Error::Exact(format!(
                "the baseline is of another machine ({})",
                baseline.machine_class()
            )));
        }
        self.machine = Some(class);
        let judges_speed = self.speed && same_class;
        let speed = judges_speed && trained.quiet();
        let mut first = |measured: &Measured| {
            let before = baseline.variant(&measured.name)?;
            let mut compared = compare::first(before, measured, same_class, speed);
            compared.changes = changes.remove(&measured.name).flatten();
            Some(compared)
        };
        let facts = &trained.facts;
        let mut report = Comparison {
            experiment: plan.experiment.clone(),
            verdict: Judgement::Pass,
            reason: None,
            claims: (plan.claims.iter())
                .map(|claim| judge(claim, facts, &measured))
                .collect(),
            variants: measured.iter().filter_map(&mut first).collect(),
            gemm_peak_gflops: Some(trained.gemm_peak_gflops),
            others_cpus: trained.others_cpus,
            seconds: 0.0,
        };
        let mut diverged = trained.diverged.clone();
        let mut used = plan.seeds.clone();
        for _ in 0..FRESH_ROUNDS {
            let names = suspicious(&report, &plan.claims);
            if names.is_empty() {
                break;
            }
            let seeds = fresh_seeds(baseline, &used, FRESH_SEEDS).ok_or(Error::NoSeeds)?;
            used.extend(&seeds);
            trainer.notify(&format!(
                "suspicious: {}; training again with the seeds {}",
                names.join(", "),
                list(&seeds)
            ));
            let Some((again, measured)) = train(trainer, plan, &names, &seeds)? else {
                return Ok(None);
            };
            let speed = judges_speed && again.quiet();
            for variant in &mut report.variants {
                let measured = measured.iter().find(|m| m.name == variant.name);
                let before = baseline.variant(&variant.name);
                if let (Some(measured), Some(before)) = (measured, before) {
                    compare::again(variant, before, measured, speed);
                }
            }
            // A claim that failed is judged by the fresh seeds, as every metric is.
            for (result, claim) in report.claims.iter_mut().zip(&plan.claims) {
                if result.holds == Some(false) {
                    *result = judge(claim, facts, &measured);
                }
            }
            diverged.extend(again.diverged);
        }
        report.conclude();
        if report.verdict.fails() && !diverged.is_empty() {
            report.reason = Some(diverged.join("; "));
        }
        if self.exact && !report.variants.iter().all(|v| v.exact) {
            report.verdict = report.verdict.max(Judgement::Regression);
            report.reason =
                Some("weights or metrics are not those of the baseline, bit for bit".to_string());
        }
        Ok(Some(report))
    }
}

/// Error of an experiment without a baseline.
pub fn no_baseline(plan: &Plan) -> Error {
    Error::NoBaseline {
        experiment: plan.experiment.clone(),
        tier: plan.tier,
        update_command: plan.update_command.clone(),
    }
}

/// Trains an experiment for a new baseline; `None` if the user interrupted the training.
///
/// # Errors
///
/// [`Error::Train`], and those of reading the runs.
pub fn record(plan: &Plan, trainer: &mut dyn Train) -> Result<Option<Record>> {
    let data = trainer.data().map_err(Error::Train)?;
    let traces = traced::record(plan, trainer)?;
    let names: Vec<String> = plan.variants.iter().map(|v| v.name.clone()).collect();
    let Some((trained, mut measured)) = train(trainer, plan, &names, &plan.seeds)? else {
        return Ok(None);
    };
    if !trained.quiet() {
        let others = trained.others_cpus.unwrap_or_default();
        trainer.notify(&format!(
            "other programs used {others:.1} processors: the baseline has no speed"
        ));
        measured.iter_mut().for_each(Measured::forget_speed);
    }
    Ok(Some(Record {
        data,
        environment: environment(plan, &trained.runs)?.clone().without_command(),
        instruction_set: trained.instruction_set,
        measured,
        traces,
    }))
}

fn train(
    trainer: &mut dyn Train,
    plan: &Plan,
    variants: &[String],
    seeds: &[u64],
) -> Result<Option<(Trained, Vec<Measured>)>> {
    let Some(trained) = trainer.train(variants, seeds).map_err(Error::Train)? else {
        return Ok(None);
    };
    let mut measured = Measured::of_runs(plan, &trained.runs, trained.gemm_peak_gflops)?;
    measured.retain(|m| variants.contains(&m.name));
    Ok(Some((trained, measured)))
}

fn environment<'a>(plan: &Plan, runs: &'a [Run]) -> Result<&'a Environment> {
    let run = runs.first();
    let run = run.ok_or_else(|| Error::NoRuns(plan.experiment.clone()))?;
    Ok(&run.environment)
}

fn judge(claim: &Claim, facts: &BTreeMap<String, f64>, measured: &[Measured]) -> ClaimResult {
    // A floor is there to be missed by faults; it lies far from the usual value, and one seed shows it.
    claim.judge(Rule::FloorsByMean, |name, metric| {
        if name == FACTS {
            let value = facts.get(metric).copied().unwrap_or(f64::NAN);
            return Some(Figure::Constant(value));
        }
        Some(measured.iter().find(|m| m.name == name)?.figure(metric))
    })
}

/// Variants to be trained again: with a suspicious metric, or part of a claim that failed.
fn suspicious(report: &Comparison, claims: &[Claim]) -> Vec<String> {
    let failed = (report.claims.iter())
        .zip(claims)
        .filter(|(result, _)| result.holds == Some(false));
    let named: Vec<&str> = failed
        .flat_map(|(_, claim)| claim.metrics().map(|(variant, _)| variant))
        .collect();
    let doubtful = |variant: &&VariantComparison| {
        let mut rows = variant.rows.iter();
        rows.any(|row| row.verdict == Judgement::Suspicious)
            || named.contains(&variant.name.as_str())
    };
    (report.variants.iter())
        .filter(doubtful)
        .map(|variant| variant.name.clone())
        .collect()
}
