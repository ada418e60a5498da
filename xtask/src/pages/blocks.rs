//! The blocks by kind.

use anyhow::{Result, bail, ensure};
use tallow_experiment::suggest;
use tallow_record::{METRICS, Results};

use super::block::Block;
use super::page::Page;
use super::store::{choose, find_metric};
use super::{
    bench, charts, equivalence, images, minutes, prose, regression, schedules, speedrun, tables,
    trained,
};

/// Words after the experiment in the mark of a block.
#[derive(Clone, Copy, PartialEq)]
enum Takes {
    /// The experiment alone.
    Experiment,
    /// Metrics, then perhaps variants.
    Metrics,
    /// A metric, then perhaps variants.
    Metric,
    /// A metric of every epoch, then perhaps variants.
    EpochMetric,
    /// Perhaps a metric, then perhaps variants.
    MaybeMetric,
    /// One variant.
    Variant,
    /// Perhaps variants.
    Variants,
}

/// The kinds of block.
const KINDS: [(&str, Takes); 15] = [
    ("results", Takes::Variants),
    ("metrics", Takes::Metrics),
    ("statements", Takes::Experiment),
    ("claims", Takes::Experiment),
    ("setup", Takes::Experiment),
    ("per-class", Takes::Variant),
    ("predictions", Takes::Variant),
    ("facts", Takes::Experiment),
    ("curves", Takes::EpochMetric),
    ("bars", Takes::Metric),
    ("waterfall", Takes::MaybeMetric),
    ("confusion", Takes::Variant),
    ("gradients", Takes::Variants),
    ("inputs", Takes::Variants),
    ("samples", Takes::Variant),
];

/// The kinds that are of no experiment.
const ALONE: [&str; 9] = [
    "summary",
    "recipes",
    "speedrun",
    "minutes",
    "faults",
    "repeats",
    "schedules",
    "equivalence",
    "equivalence-plan",
];

/// The kind that is of runs of `cargo xtask bench`, with words of its own.
const BENCH: &str = "bench";

/// Text between the marks of a block.
pub fn block(words: &[&str], page: &mut Page<'_>) -> Result<String> {
    let [kind, rest @ ..] = words else {
        bail!("an empty mark: expected a kind of block and an experiment");
    };
    if *kind == BENCH {
        return bench::bench(rest, page);
    }
    if ALONE.contains(kind) {
        ensure!(rest.is_empty(), "{kind} takes no words after it");
        return match *kind {
            "faults" => regression::faults(page),
            "repeats" => regression::repeats(page),
            "schedules" => schedules::schedules(page),
            "recipes" => trained::recipes(page),
            "speedrun" => speedrun::speedrun(page),
            "minutes" => minutes::minutes(page),
            "equivalence" => equivalence::equivalence(page),
            "equivalence-plan" => Ok(equivalence::plan()),
            _ => prose::summary(page),
        };
    }
    let Some((_, takes)) = KINDS.iter().find(|(name, _)| name == kind) else {
        if *kind == "value" {
            bail!("a value stands in a line, its two marks in the same one");
        }
        let kinds = KINDS.iter().map(|(name, _)| *name);
        let known: Vec<&str> = kinds.chain(ALONE).chain([BENCH]).collect();
        bail!(suggest::unknown("block", kind, &known));
    };
    let block = parse(kind, rest, *takes)?;
    let store = page.store;
    let results = store.get(block.name)?;
    store.check_variants(block.name, &block.variants)?;
    match results {
        Some(results) => make(kind, &block, results, page),
        None => Ok(page.language.not_run().to_string()),
    }
}

fn parse<'a>(kind: &str, words: &[&'a str], takes: Takes) -> Result<Block<'a>> {
    let [name, rest @ ..] = words else {
        bail!("{kind}: expected the name of an experiment");
    };
    let (rest, variants) = match rest.iter().position(|word| *word == "variants") {
        None => (rest, None),
        Some(at) => (&rest[..at], Some(&rest[at + 1..])),
    };
    let list = |word: &'a str| word.split(',').filter(|part| !part.is_empty());
    let mut block = Block {
        name,
        metrics: Vec::new(),
        variants: variants
            .unwrap_or_default()
            .iter()
            .flat_map(|word| list(word))
            .collect(),
    };
    ensure!(
        variants.is_none() || !block.variants.is_empty(),
        "{kind} {name}: no variants follow `variants`"
    );
    let words: Vec<&'a str> = rest.iter().flat_map(|word| list(word)).collect();
    match takes {
        Takes::Variant => {
            ensure!(
                words.len() == 1 && variants.is_none(),
                "{kind} {name}: expected one variant after the experiment"
            );
            block.variants = words;
        }
        Takes::Metrics | Takes::Metric | Takes::EpochMetric | Takes::MaybeMetric => {
            let counts = match takes {
                Takes::Metrics => 1..=usize::MAX,
                Takes::MaybeMetric => 0..=1,
                _ => 1..=1,
            };
            ensure!(
                counts.contains(&words.len()),
                "{kind} {name}: expected {} after the experiment",
                if takes == Takes::Metrics {
                    "metrics"
                } else {
                    "one metric"
                }
            );
            for word in &words {
                let metric = find_metric(word)?;
                if takes == Takes::EpochMetric && !metric.has_curve() {
                    let curves = METRICS.iter().filter(|metric| metric.has_curve());
                    let curves: Vec<&str> = curves.map(|metric| metric.name).collect();
                    bail!(
                        "{kind} {name}: `{word}` is not a metric of every epoch; those are {}",
                        curves.join(", ")
                    );
                }
            }
            block.metrics = words;
        }
        Takes::Variants | Takes::Experiment => {
            ensure!(
                words.is_empty() && (takes == Takes::Variants || variants.is_none()),
                "{kind} {name}: unexpected word `{}`",
                rest.first().unwrap_or(&"variants")
            );
        }
    }
    Ok(block)
}

fn make(kind: &str, block: &Block<'_>, results: &Results, page: &mut Page<'_>) -> Result<String> {
    let variants = choose(results, &block.variants);
    let language = page.language;
    match kind {
        "results" => tables::results(&variants, language),
        "metrics" => tables::metrics(&variants, &block.metrics, language),
        "statements" => prose::statements(results, language),
        "claims" => prose::claims(results, language),
        "setup" => prose::setup(results, language),
        "facts" => tables::facts(results, language),
        "per-class" => tables::per_class(results, variants[0], language),
        "predictions" => images::predictions(block, results, variants[0], page),
        "samples" => images::samples(block, results, variants[0], page),
        "curves" => charts::curves(block, &variants, page),
        "bars" => charts::bars(block, &variants, page),
        "waterfall" => charts::waterfall(block, &variants, page),
        "confusion" => charts::confusion(block, results, variants[0], page),
        "gradients" => charts::gradients(block, &variants, page),
        "inputs" => charts::inputs(block, &variants, page),
        other => bail!("{other}: no such block"),
    }
}
