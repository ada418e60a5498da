//! Accuracies of Tallow and of PyTorch with the same recipes, as distributions over seeds.

mod plan;
mod samples;

use anyhow::Result;
use tallow_record::{Metric, Statistic};
use tallow_regress::equivalence as two_one_sided_tests;
use tallow_report::charts::{self, SamplePair};

use super::format::Format;
use super::language::Language;
use super::page::{Page, image};
use super::prose;
use super::tables::{Table, axis, count_of_seeds, count_of_threads};
use plan::{PLANS, Plan, points};
use samples::{Both, Pair, read_both};

/// The page is in English alone.
const ENGLISH: Language = Language::English;

/// Text of a cell without a figure.
const NONE: &str = "—";

/// Table of the margins and their reasons.
pub fn plan() -> String {
    plan::table()
}

/// Table of the comparisons, and a chart of each recipe.
pub fn equivalence(page: &mut Page<'_>) -> Result<String> {
    let mut found: Vec<(&Plan, Both)> = Vec::new();
    let mut missing = Vec::new();
    for plan in &PLANS {
        match read_both(page.store, plan.recipe)? {
            Some(both) => found.push((plan, both)),
            None => missing.push(format!("`{}`", plan.recipe)),
        }
    }
    if found.is_empty() {
        return Ok(page.language.not_run().to_string());
    }
    let mut text = comparisons(&found);
    if !missing.is_empty() {
        text += &ENGLISH.not_run_yet(&missing);
    }
    for (plan, both) in &found {
        text += &section(plan, both, page)?;
    }
    Ok(text)
}

/// A row a variant.
fn comparisons(found: &[(&Plan, Both)]) -> String {
    let headings = [
        "recipe",
        "variant",
        "Tallow",
        "PyTorch",
        "difference [90 % interval]",
        "margin",
        "verdict",
    ];
    let mut table = Table::new(&headings.map(String::from), 2);
    for (plan, both) in found {
        for pair in &both.pairs {
            let test = two_one_sided_tests(&pair.ours, &pair.theirs, plan.margin);
            let interval = test.interval.map_or(String::new(), |[low, high]| {
                format!(" [{}, {}]", points(low), points(high))
            });
            table.row(&[
                format!("`{}`", plan.recipe),
                format!("`{}`", pair.variant),
                sample(&pair.ours),
                sample(&pair.theirs),
                format!("{}{interval}", points(test.difference)),
                points(plan.margin),
                match test.is_shown() {
                    true => "equivalent".to_string(),
                    false => "not shown".to_string(),
                },
            ]);
        }
    }
    table.finish()
}

/// `86.90 ± 1.70 % (128 seeds)`.
fn sample(values: &[f64]) -> String {
    let shown = Statistic::of(values).map_or(NONE.to_string(), |statistic| {
        Format::Percent.statistic(&statistic, ENGLISH)
    });
    format!("{shown} ({})", count_of_seeds(values.len(), ENGLISH))
}

/// Origin of the figures of a recipe, and its chart.
fn section(plan: &Plan, both: &Both, page: &mut Page<'_>) -> Result<String> {
    let (ours, theirs) = (&both.ours, &both.theirs);
    let environment = &ours.environment;
    let commit = prose::commit(environment.commit.as_deref().unwrap_or("unknown"));
    let mut text = format!(
        "\n### {}\n\nTallow {} at commit `{commit}` on {}, {}: `{}`. PyTorch {} on {}, {}. Data: {}.\n",
        plan.recipe,
        environment.tallow,
        environment.cpu,
        count_of_threads(environment.threads, ENGLISH),
        ours.command,
        theirs.torch,
        theirs.cpu,
        count_of_threads(theirs.threads, ENGLISH),
        ours.dataset.provenance
    );
    if let Some(fewer) = fewer(plan, &both.pairs) {
        text += &format!("\n{fewer}\n");
    }
    let pairs: Vec<SamplePair> = (both.pairs.iter())
        .map(|pair| SamplePair {
            label: pair.variant.clone(),
            samples: [pair.ours.clone(), pair.theirs.clone()],
        })
        .collect();
    let accuracies = pairs.iter().flat_map(|p| p.samples.iter().flatten());
    let drawable = accuracies.filter(|value| value.is_finite()).count() > 0;
    if let Some(metric) = Metric::find("test_accuracy").filter(|_| drawable) {
        let title = format!("{}: test accuracy over seeds", plan.recipe);
        let svg = charts::distributions(&title, &axis(metric), ["Tallow", "PyTorch"], &pairs)?;
        let stem = format!("{}-equivalence", plan.recipe);
        let path = page.pictures.keep(&stem, &[], &svg);
        let each = both.pairs.iter().map(|pair| {
            let (ours, theirs) = (sample(&pair.ours), sample(&pair.theirs));
            format!("{} {ours} and {theirs}", pair.variant)
        });
        let each = page.language.clauses(&each.collect::<Vec<_>>());
        let words = format!("Histograms of the test accuracy in Tallow and in PyTorch: {each}.");
        text += &format!("\n{}\n", image(&words, &page.link(&path)));
    }
    Ok(text)
}

/// A sentence if a sample has fewer seeds than the plan.
fn fewer(plan: &Plan, pairs: &[Pair]) -> Option<String> {
    let least = |of: fn(&Pair) -> &Vec<f64>| pairs.iter().map(|pair| of(pair).len()).min();
    let (ours, theirs) = (least(|pair| &pair.ours)?, least(|pair| &pair.theirs)?);
    (ours.min(theirs) < plan.seeds).then(|| {
        format!(
            "Fewer runs than planned: {} of Tallow and {} of PyTorch, of {}.",
            count_of_seeds(ours, ENGLISH),
            count_of_seeds(theirs, ENGLISH),
            plan.seeds
        )
    })
}
