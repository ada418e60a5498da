//! `cargo xtask list`.

use std::fmt::Write;

use anyhow::Result;

use crate::table::{align_right, new_table};
use crate::{experiment, output};

/// Prints the experiments and the models.
pub fn list() -> Result<()> {
    let mut text = String::from("Experiments (cargo xtask run NAME)\n");
    for name in experiment::names()? {
        let experiment = experiment::load(&name, &[])?;
        let variants: Vec<&str> = experiment
            .variants
            .iter()
            .map(|v| v.name.as_str())
            .collect();
        let dataset = &experiment.variants[0].recipe.data.dataset;
        let _ = writeln!(
            text,
            "\n  {name}\n      {}\n      on {dataset}; variants: {}",
            experiment.question,
            variants.join(", ")
        );
    }

    text.push_str("\nModels (cargo xtask summary NAME)\n");
    let mut models = new_table(&["name", "input", "classes", "what"]);
    for entry in tallow_models::registry() {
        let (c, h, w) = entry.default_input;
        models.add_row([
            entry.name.to_string(),
            format!("{c}x{h}x{w}"),
            entry.default_classes.to_string(),
            entry.description.to_string(),
        ]);
    }
    align_right(&mut models, 2);
    let _ = writeln!(text, "{models}\nDatasets: cargo xtask data list");
    output::print(&text)
}
