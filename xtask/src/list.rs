//! `cargo xtask list`.

use std::fmt::Write;

use anyhow::Result;

use crate::experiment::{Experiment, Tier};
use crate::table::{align_right, new_table, percent};
use crate::{experiment, output};

/// Prints the experiments and the models.
pub fn list() -> Result<()> {
    let mut text = String::from("Experiments (cargo xtask run NAME [--tier TIER])\n");
    for name in experiment::names()? {
        let experiment = experiment::load(&name, Tier::Full, &[])?;
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
    text.push_str(
        "\n  Times are those of two cores. All of a tier: cargo xtask reproduce --tier smoke\n",
    );

    text.push_str("\nModels (cargo xtask summary NAME)\n");
    let mut models = new_table(&["name", "input", "classes", "what"]);
    for entry in tallow_models::registry() {
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
    let _ = writeln!(text, "{models}\nDatasets: cargo xtask data list");
    output::print(&text)
}

/// `smoke (10 s), standard (2 min), full (1.5 h)`.
fn tiers(experiment: &Experiment) -> String {
    let tier = |(tier, seconds): &(Tier, Option<f64>)| match seconds {
        Some(seconds) => format!("{tier} ({})", duration(*seconds)),
        None => tier.to_string(),
    };
    let tiers: Vec<String> = experiment.tiers.iter().map(tier).collect();
    tiers.join(", ")
}

fn duration(seconds: f64) -> String {
    match seconds {
        ..90.0 => format!("{seconds:.0} s"),
        ..5400.0 => format!("{:.0} min", seconds / 60.0),
        _ => format!("{:.1} h", seconds / 3600.0),
    }
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations() {
        assert_eq!(duration(14.6), "15 s");
        assert_eq!(duration(90.0), "2 min");
        assert_eq!(duration(5400.0), "1.5 h");
    }
}
