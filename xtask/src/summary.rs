//! `cargo xtask summary`.

use anyhow::Result;
use tallow_models::{Model, ModelConfig, find, registry};

use crate::cli::SummaryArgs;
use crate::output;
use crate::table::{align_right, new_table, thousands};

/// Prints a model's layers, or all models.
pub fn summary(args: &SummaryArgs) -> Result<()> {
    let Some(model) = &args.model else {
        return models();
    };
    let entry = find(model)?;
    let default = entry.config()?;
    let config = ModelConfig {
        classes: args.classes.map_or(default.classes, |n| n as usize),
        input_shape: args.input.unwrap_or(default.input_shape),
        ..default
    };
    let summary = Model::build(entry.name(), &config)?.summary()?;
    let (c, h, w) = summary.input_shape;
    let mut table = new_table(&["layer", "kind", "output", "parameters", "multiply-adds"]);
    for layer in &summary.layers {
        table.add_row([
            layer.name.clone(),
            layer.kind.to_string(),
            shape(&layer.output_shape),
            count(layer.parameters as u64),
            count(layer.multiply_adds),
        ]);
    }
    for column in [2, 3, 4] {
        align_right(&mut table, column);
    }
    output::print(&format!(
        "{}: {}\ninput {c}x{h}x{w}, {} classes\n{table}\n{} parameters, {} multiply-adds an image\n",
        entry.name(),
        entry.description,
        config.classes,
        thousands(summary.parameters as u64),
        thousands(summary.multiply_adds),
    ))
}

/// Prints the models there are, each as it is by default.
fn models() -> Result<()> {
    let mut table = new_table(&[
        "model",
        "input",
        "parameters",
        "multiply-adds",
        "what it is",
    ]);
    for entry in registry() {
        let input = entry.default_input.map(|(c, h, w)| shape(&[c, h, w]));
        table.add_row([
            entry.name().to_string(),
            input.unwrap_or_default(),
            entry
                .parameters
                .map_or_else(String::new, |n| thousands(n as u64)),
            entry.multiply_adds.map_or_else(String::new, thousands),
            entry.description.to_string(),
        ]);
    }
    for column in [1, 2, 3] {
        align_right(&mut table, column);
    }
    output::print(&format!("{table}\n{} models\n", registry().len()))
}

fn shape(sizes: &[usize]) -> String {
    let sizes: Vec<String> = sizes.iter().map(usize::to_string).collect();
    sizes.join("x")
}

/// Layers without parameters or products show nothing, which reads easier than zeros.
fn count(n: u64) -> String {
    match n {
        0 => String::new(),
        n => thousands(n),
    }
}
