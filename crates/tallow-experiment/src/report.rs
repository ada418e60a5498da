//! Report of runs: one HTML file with their results, claims, curves and pictures.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

use tallow_record::{Run, SweepResults, Tier, by_variant, runs_of, write_atomic};
use tallow_report::html::{Report, page};
use toml::Value;

use crate::analysis;
use crate::error::{Error, Result};
use crate::experiment::{Experiment, Variant};
use crate::job::{EXPERIMENT_FILE, config_text};
use crate::outcome;
use crate::predictor::trained::recorded;
use crate::recipe::Recipe;
use crate::unfinished::{differences, essential};

/// Writes `report.html` beside the runs of an experiment and returns its path.
///
/// Variants of the experiment that are not among the runs, because others were asked for, are reported by their last finished runs of the
/// same recipe and tier.
pub fn of_experiment(experiment: &Experiment, runs: &[Run]) -> Result<PathBuf> {
    let Some(folder) = runs.first().and_then(|run| run.dir.parent()) else {
        return Err(no_runs());
    };
    let path = folder.join("report.html");
    let mut known = Vec::new();
    if experiment.all.len() > experiment.variants.len() {
        for dir in runs_of(folder)? {
            // A record that cannot be read is not reported.
            known.extend(Run::read(dir).ok().filter(|run| run.summary.is_some()));
        }
    }
    let mut reported = Vec::new();
    for variant in &experiment.all {
        let own = runs.iter().filter(|run| run.info.variant == variant.name);
        let before = reported.len();
        reported.extend(own.cloned());
        if reported.len() == before {
            reported.extend(last_runs(&known, variant, experiment.tier));
        }
    }
    let whole = Experiment {
        variants: experiment.all.clone(),
        ..experiment.clone()
    };
    write_page(&path, &reported, Some(&whole))?;
    Ok(path)
}

/// The last run of each seed of a variant with its present recipe. `known` is in the order of time.
fn last_runs(known: &[Run], variant: &Variant, tier: Tier) -> Vec<Run> {
    let mut last = BTreeMap::new();
    for run in known.iter().filter(|run| run.info.variant == variant.name) {
        let of_tier = run.config.get("tier").and_then(Value::as_str) == Some(tier.as_str());
        let same = recorded(&run.config).is_ok_and(|recipe| same_results(&recipe, &variant.recipe));
        if of_tier && same {
            last.insert(run.info.seed, run.clone());
        }
    }
    last.into_values().collect()
}

/// Whether two recipes differ at most in what results do not depend on.
fn same_results(a: &Recipe, b: &Recipe) -> bool {
    let table = |recipe: &Recipe| toml::Table::try_from(recipe).map(essential);
    matches!((table(a), table(b)), (Ok(a), Ok(b)) if a == b)
}

/// Writes the report of these runs to `path`.
///
/// Question, claims and statements are those of `given`. Without it they are those of the runs' experiment, if all runs are of one
/// experiment and one tier: of the TOML in the first run's folder, or of the built-in experiment of that name.
pub fn write_page(path: &Path, runs: &[Run], given: Option<&Experiment>) -> Result<()> {
    let first = runs.first().ok_or_else(no_runs)?.info.experiment.as_str();
    let one = runs.iter().all(|run| run.info.experiment == first);
    let named: Vec<Run>;
    let runs = if one {
        runs
    } else {
        named = runs.iter().map(named_in_full).collect();
        &named
    };
    let mut story = Report {
        title: if one { first } else { "Runs" }.to_string(),
        question: None,
        claims: Vec::new(),
        statements: Vec::new(),
        published: Default::default(),
        runs,
        command: command(runs),
        sweep: None,
    };
    let known = match given {
        None if one => known(first, runs),
        _ => None,
    };
    if let Some(experiment) = given.or(known.as_ref()) {
        judge(&mut story, experiment)?;
    }
    let marked: Vec<Run>;
    if let Some(experiment) = &known {
        marked = runs.iter().map(|run| changed(run, experiment)).collect();
        for (run, marked) in runs.iter().zip(&marked) {
            if let Some(variant) = experiment.variant(&run.info.variant) {
                let published = variant.published.clone();
                story
                    .published
                    .insert(marked.info.variant.clone(), published);
            }
        }
        story.runs = &marked;
    }
    Ok(write_atomic(path, page(&story)?)?)
}

/// Writes the report of a sweep to `path`: its results, and the runs of its best trials.
pub(crate) fn write_sweep(
    path: &Path,
    runs: &[Run],
    experiment: &Experiment,
    sweep: &SweepResults,
) -> Result<()> {
    let story = Report {
        title: experiment.name.clone(),
        question: Some(experiment.question.clone()),
        claims: Vec::new(),
        statements: Vec::new(),
        published: Default::default(),
        runs,
        command: command(runs),
        sweep: Some(sweep),
    };
    Ok(write_atomic(path, page(&story)?)?)
}

/// Most changes that the name of a variant lists.
const LISTED: usize = 3;

/// The run with the settings in its variant's name that are not those of the experiment's file, as after `--set`: otherwise a table would
/// mix recipes unmarked.
fn changed(run: &Run, experiment: &Experiment) -> Run {
    let text =
        |recipe: &Recipe| config_text(experiment, (&run.info.variant, run.info.seed), recipe).ok();
    let differences = || {
        let variant = experiment.variant(&run.info.variant)?;
        let ran = recorded(&run.config).ok()?;
        Some(differences(&text(&variant.recipe)?, &text(&ran)?))
    };
    let mut found = differences().unwrap_or_default();
    if found.is_empty() {
        return run.clone();
    }
    let more = found.len().saturating_sub(LISTED);
    found.truncate(LISTED);
    if more > 0 {
        found.push(format!("{more} more changes"));
    }
    let mut run = run.clone();
    run.info.variant = format!("{} with {}", run.info.variant, found.join(", "));
    run
}

fn no_runs() -> Error {
    Error::RunRecord("there are no runs to report".to_string())
}

/// The run with its variant named `experiment: variant`: variants of different experiments may have one name.
fn named_in_full(run: &Run) -> Run {
    let mut run = run.clone();
    run.info.variant = format!("{}: {}", run.info.experiment, run.info.variant);
    run
}

/// Experiment of the runs, if it can be found and they are of one tier.
fn known(name: &str, runs: &[Run]) -> Option<Experiment> {
    let tier = |run: &Run| run.config.get("tier")?.as_str().map(str::to_string);
    let first = runs.first()?;
    let of_first = tier(first)?;
    if runs.iter().any(|run| tier(run).as_ref() != Some(&of_first)) {
        return None;
    }
    let tier: Tier = of_first.parse().ok()?;
    match fs::read_to_string(first.dir.join(EXPERIMENT_FILE)) {
        Ok(text) => Experiment::parse(name, &text, tier, &[]).ok(),
        Err(_) => Experiment::load(name, tier, &[]).ok(),
    }
}

fn judge(story: &mut Report<'_>, experiment: &Experiment) -> Result<()> {
    let variants = by_variant(story.runs);
    let facts = analysis::compute(&experiment.analyses)?;
    let of = |name: &str| {
        let variant = variants.iter().find(|v| v.name == name)?;
        Some((&variant.seeds[..], &variant.metrics))
    };
    let figure = |name: &str, metric: &str| outcome::figure(of, &facts, name, metric);
    story.question = Some(experiment.question.clone());
    (story.claims, story.statements) = experiment.judge(figure);
    for variant in &experiment.variants {
        let (name, published) = (variant.name.clone(), variant.published.clone());
        story.published.insert(name, published);
    }
    Ok(())
}

/// Command line of the runs if they share one, with the program's name instead of its path.
fn command(runs: &[Run]) -> Option<String> {
    let (program, arguments) = runs.first()?.environment.command.split_first()?;
    let same = |run: &Run| run.environment.command.get(1..) == Some(arguments);
    if !runs.iter().all(same) {
        return None;
    }
    let program = Path::new(program).file_stem()?.to_string_lossy();
    let program = match &*program {
        "xtask" => "cargo xtask".into(),
        _ => program,
    };
    let words = arguments.iter().map(|word| shell_quoted(word));
    Some(
        [program.into_owned()]
            .into_iter()
            .chain(words)
            .collect::<Vec<_>>()
            .join(" "),
    )
}

/// Word quoted for a POSIX shell where that is necessary.
pub fn shell_quoted(word: &str) -> String {
    let plain = |c: char| c.is_ascii_alphanumeric() || "_./=:,-".contains(c);
    if !word.is_empty() && word.chars().all(plain) {
        word.to_string()
    } else {
        format!("'{}'", word.replace('\'', r"'\''"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_shell_takes_it_for_one_word() {
        assert_eq!(shell_quoted("train.epochs=1"), "train.epochs=1");
        assert_eq!(shell_quoted("a={b,c}"), "'a={b,c}'");
        assert_eq!(shell_quoted("it's"), r"'it'\''s'");
        assert_eq!(shell_quoted(""), "''");
    }
}
