//! What the documentation is made of: an outcome with the course of its runs, as a file.

use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, anyhow};
use clap::ValueEnum;
use serde::Deserialize;
use serde::de::DeserializeOwned;
use tallow_report::Run;
use tallow_report::results::{
    Check, Dataset, Gradients, Results, Run as RunResults, Statement, Variant,
};

use crate::claims;
use crate::experiment::{self, Experiment, Judged, Tier};
use crate::outcome::{self, Outcome};

/// A results file judged by the claims and statements that its experiment's file has now, where that differs from what it says.
/// Results of an experiment that does not come with Tallow are left as they are.
pub fn judged_anew(path: &Path) -> Result<Option<Results>> {
    let mut results = Results::read(path)?;
    if !experiment::names()?.contains(&results.experiment) {
        return Ok(None);
    }
    let before = results.clone();
    let tier = Tier::from_str(&results.tier, false)
        .map_err(|_| anyhow!("{}: unknown tier `{}`", path.display(), results.tier))?;
    let experiment = experiment::load(&results.experiment, tier, &[])
        .with_context(|| path.display().to_string())?;
    let of = |name: &str| results.variant(name).map(|v| &v.metrics);
    let mean = |name: &str, metric: &str| outcome::figure(of, &results.facts, name, metric);
    let claims = experiment.claims.iter().map(|c| check(&c.judge(mean)));
    let statements = experiment
        .statements
        .iter()
        .map(|s| statement(&s.judge(mean)));
    let (claims, statements) = (claims.collect(), statements.collect());
    results.claims = claims;
    results.statements = statements;
    results.question = experiment.question;
    Ok((results != before).then_some(results))
}

/// `<experiment>.json`, or `<experiment>.<tier>.json` for another tier than the standard one.
pub fn path(folder: &Path, experiment: &str, tier: Tier) -> PathBuf {
    folder.join(match tier {
        Tier::Standard => format!("{experiment}.json"),
        tier => format!("{experiment}.{tier}.json"),
    })
}

/// Writes the results file of an outcome.
pub fn write(
    folder: &Path,
    experiment: &Experiment,
    outcome: &Outcome,
    runs: &[Run],
    command: String,
) -> Result<()> {
    let path = path(folder, &outcome.experiment, outcome.tier);
    gather(experiment, outcome, runs, command)?.write(&path)?;
    say!("results: {}", path.display());
    Ok(())
}

fn gather(
    experiment: &Experiment,
    outcome: &Outcome,
    runs: &[Run],
    command: String,
) -> Result<Results> {
    let first = runs.first().context("there are no runs")?;
    let environment = first.environment.clone();
    let variants = outcome.variants.iter().map(|variant| {
        let named = experiment.variant(&variant.name);
        let recipe = named.map(|v| serde_json::to_value(&v.recipe)).transpose()?;
        let runs = (runs.iter())
            .filter(|run| run.info.variant == variant.name)
            .enumerate()
            .map(|(i, run)| of_run(run, i == 0));
        Ok(Variant {
            name: variant.name.clone(),
            model: variant.model.clone(),
            parameters: variant.parameters,
            seeds: variant.seeds.clone(),
            metrics: variant.metrics.clone(),
            published: variant.published.clone(),
            recipe: recipe.unwrap_or_default(),
            runs: runs.collect::<Result<_>>()?,
        })
    });
    Ok(Results {
        experiment: outcome.experiment.clone(),
        tier: outcome.tier.to_string(),
        question: experiment.question.clone(),
        command,
        dataset: Dataset {
            name: outcome.dataset.name.clone(),
            provenance: outcome.dataset.provenance.clone(),
            digest: outcome.dataset.digest.clone(),
            test_digest: outcome.dataset.test_digest.clone(),
            classes: first.info.dataset.classes.clone(),
        },
        environment: environment.into(),
        seconds: outcome.seconds,
        claims: outcome.claims.iter().map(check).collect(),
        statements: (outcome.statements.iter()).map(statement).collect(),
        facts: outcome.facts.clone(),
        variants: variants.collect::<Result<_>>()?,
    })
}

pub fn check(verdict: &claims::Verdict) -> Check {
    Check {
        text: verdict.text.clone(),
        holds: verdict.holds,
        figures: verdict.figures.clone(),
    }
}

pub fn statement(judged: &Judged) -> Statement {
    Statement {
        text: judged.text.clone(),
        zh: judged.zh.clone(),
        verdict: judged.verdict,
        checks: judged.checks.iter().map(check).collect(),
    }
}

/// The course of a run; of a variant's first one also what only pictures show.
fn of_run(run: &Run, first: bool) -> Result<RunResults> {
    let mut results = RunResults {
        seed: run.info.seed,
        epochs: run.epochs.clone(),
        confusion: None,
        per_class: None,
        gradients: None,
        inputs: None,
        predictions: None,
    };
    if !first {
        return Ok(results);
    }
    if let Some(summary) = &run.summary {
        results.confusion = summary.confusion.clone();
        results.per_class = summary.per_class.clone();
    }
    let per_epoch: Vec<GradientRow> = read(run, "gradients.json")?;
    // The start and the end.
    let last = per_epoch.len().saturating_sub(1);
    results.gradients = Some(
        per_epoch
            .into_iter()
            .enumerate()
            .filter(|(i, _)| [0, last].contains(i))
            .map(|(_, row)| row.into())
            .collect(),
    );
    results.inputs = Some(read(run, "inputs.json")?);
    results.predictions = Some(read(run, "predictions.json")?);
    Ok(results)
}

/// A row of `gradients.json`.
#[derive(Deserialize)]
struct GradientRow {
    epoch: usize,
    step: usize,
    total: Option<f64>,
    norms: Vec<(String, Option<f64>)>,
}

impl From<GradientRow> for Gradients {
    fn from(row: GradientRow) -> Self {
        Self {
            epoch: row.epoch,
            step: row.step,
            total: row.total,
            norms: row.norms,
        }
    }
}

fn read<T: DeserializeOwned>(run: &Run, name: &str) -> Result<T> {
    let path = run.dir.join(name);
    let text = fs::read(&path).with_context(|| format!("cannot read {}", path.display()))?;
    serde_json::from_slice(&text).with_context(|| path.display().to_string())
}
