//! `tallow list`: the experiments and the models.

use std::fmt::Write;

use anyhow::Result;
use tallow_experiment::{Experiment, builtin};
use tallow_record::{Tier, duration, percent};

use crate::ending::Ending;
use crate::output;
use crate::program::Program;
use crate::table::{align_right, new_table};

/// Example at the end of the help text.
pub const EXAMPLES: &str = "Example: {tallow} list";

/// Prints the experiments and the models.
pub fn list(program: &Program) -> Result<Ending> {
    let tallow = &program.name;
    let mut text = format!("Experiments ({tallow} run NAME [--tier TIER])\n");
    for name in builtin::names() {
        let experiment = Experiment::load(name, Tier::Full, &[])?;
        let variants: Vec<&str> = experiment
            .variants
            .iter()
            .map(|v| v.name.as_str())
            .collect();
        let dataset = &experiment.variants[0].recipe.data.dataset;
        let _ = writeln!(
            text,
            "\n  {name}\n      {}\n      on {dataset}; variants: {}\n      tiers: {}",
            experiment.question,
            variants.join(", "),
            tiers(&experiment),
        );
        let published = published(&experiment);
        if !published.is_empty() {
            let _ = writeln!(text, "      published: {published}");
        }
    }
    let _ = writeln!(
        text,
        "\n  Times are those of two cores. All experiments of a tier: {tallow} reproduce --tier smoke\n  Your own experiment: {tallow} run PATH.toml\n\nModels ({tallow} summary NAME)"
    );

    let mut models = new_table(&["name", "input", "classes", "description"]);
    for entry in &program.models {
        let input = entry.default_input;
        let classes = entry.default_classes;
        models.add_row([
            entry.name().to_string(),
            input.map_or_else(String::new, |(c, h, w)| format!("{c}x{h}x{w}")),
            classes.map_or_else(String::new, |n| n.to_string()),
            entry.description.to_string(),
        ]);
    }
    align_right(&mut models, 2);
    let _ = writeln!(text, "{models}\nDatasets: {tallow} data list");
    output::print(&text)?;
    Ok(Ending::Done)
}

/// `smoke (10 s), standard (2 min), full (1 h 30 min)`.
fn tiers(experiment: &Experiment) -> String {
    let tier = |(tier, seconds): &(Tier, Option<f64>)| match seconds {
        Some(seconds) => format!("{tier} ({})", duration(*seconds)),
        None => tier.to_string(),
    };
    let tiers: Vec<String> = experiment.tiers.iter().map(tier).collect();
    tiers.join(", ")
}

/// `fc 87.35 %, cnn 96.15 %`.
fn published(experiment: &Experiment) -> String {
    let mut parts = Vec::new();
    for variant in &experiment.variants {
        if variant.published.is_empty() {
            continue;
        }
        let figures: Vec<String> = (variant.published.iter())
            .map(|p| percent(p.test_accuracy))
            .collect();
        parts.push(format!("{} {}", variant.name, figures.join(" and ")));
    }
    parts.join(", ")
}
