//! Results file of an experiment: its outcome and the course of its runs.

use std::path::{Path, PathBuf};

use tallow_record::{Dataset, Results, Run, RunResults, Tier, Variant};

use crate::builtin;
use crate::error::{Context, Error, Result};
use crate::experiment::Experiment;
use crate::outcome::{self, Outcome};

/// Results file judged by the claims and statements that its built-in experiment has now; `None` if nothing differs.
///
/// Results of other experiments keep their verdicts.
pub fn judged_anew(path: &Path) -> Result<Option<Results>> {
    let mut results = Results::read(path)?;
    if builtin::text(&results.experiment).is_none() {
        return Ok(None);
    }
    let before = results.clone();
    let at = || path.display().to_string();
    let tier: Tier = results.tier.parse().context(at)?;
    let experiment = Experiment::load(&results.experiment, tier, &[]).context(at)?;
    let of = |name: &str| results.variant(name).map(|v| (&v.seeds[..], &v.metrics));
    let figure = |name: &str, metric: &str| outcome::figure(of, &results.facts, name, metric);
    let (claims, statements) = experiment.judge(figure);
    (results.claims, results.statements) = (claims, statements);
    results.question = experiment.question;
    Ok((results != before).then_some(results))
}

/// Path of a results file: `<experiment>.json`, or `<experiment>.<tier>.json` for tiers other than the standard one.
pub fn path(folder: &Path, experiment: &str, tier: Tier) -> PathBuf {
    folder.join(match tier {
        Tier::Standard => format!("{experiment}.json"),
        tier => format!("{experiment}.{tier}.json"),
    })
}

/// Writes the results file of an outcome into `folder` and returns its path.
pub fn write(
    folder: &Path,
    experiment: &Experiment,
    outcome: &Outcome,
    runs: &[Run],
    command: &str,
) -> Result<PathBuf> {
    let path = path(folder, &outcome.experiment, outcome.tier);
    gather(experiment, outcome, runs, command)?.write(&path)?;
    Ok(path)
}

/// Results of an outcome. `command` repeats the experiment.
pub fn gather(
    experiment: &Experiment,
    outcome: &Outcome,
    runs: &[Run],
    command: &str,
) -> Result<Results> {
    let Some(first) = runs.first() else {
        return Err(Error::RunRecord("there are no runs".to_string()));
    };
    let variants = outcome.variants.iter().map(|variant| {
        let named = experiment.variant(&variant.name);
        let recipe = named.map(|v| serde_json::to_value(&v.recipe)).transpose()?;
        let runs = (runs.iter())
            .filter(|run| run.info.variant == variant.name)
            .enumerate()
            .map(|(i, run)| match i {
                // The data of the charts, for the first run of a variant.
                0 => RunResults::with_details(run),
                _ => Ok(RunResults::of(run)),
            });
        Ok(Variant {
            name: variant.name.clone(),
            model: variant.model.clone(),
            parameters: variant.parameters,
            seeds: variant.seeds.clone(),
            metrics: variant.metrics.clone(),
            published: variant.published.clone(),
            recipe: recipe.unwrap_or_default(),
            runs: runs.collect::<Result<_, _>>()?,
        })
    });
    Ok(Results {
        experiment: outcome.experiment.clone(),
        tier: outcome.tier.to_string(),
        question: experiment.question.clone(),
        command: command.to_string(),
        dataset: Dataset {
            classes: first.info.dataset.classes.clone(),
            ..outcome.dataset.clone()
        },
        environment: first.environment.clone().without_command(),
        seconds: outcome.seconds,
        claims: outcome.claims.clone(),
        statements: outcome.statements.clone(),
        facts: outcome.facts.clone(),
        variants: variants.collect::<Result<_>>()?,
    })
}
