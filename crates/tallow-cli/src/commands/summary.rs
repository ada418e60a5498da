//! `tallow summary`: the layers of a model, or all models.

use anyhow::Result;
use clap::Args;
use tallow_models::ModelConfig;

use crate::ending::Ending;
use crate::output;
use crate::program::Program;
use crate::table::{align_right, new_table};
use crate::text::thousands;

/// Examples at the end of the help text.
pub const EXAMPLES: &str = "Examples:
  {tallow} summary
  {tallow} summary vgg16-slim
  {tallow} summary resnet18 --classes 100 --input 3,64,64";

/// Arguments of `summary`.
#[derive(Args, Debug)]
pub struct SummaryArgs {
    /// Name of the model; without one, all models are listed with their parameters and multiply-adds.
    #[arg(value_name = "MODEL")]
    pub model: Option<String>,
    /// Number of classes, instead of the model's own.
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..))]
    pub classes: Option<u32>,
    /// Input shape as C,H,W, instead of the model's own.
    #[arg(long, value_name = "C,H,W", value_parser = parse_shape)]
    pub input: Option<(usize, usize, usize)>,
}

fn parse_shape(text: &str) -> Result<(usize, usize, usize), String> {
    let sizes: Vec<usize> = text
        .split(',')
        .map(|s| s.trim().parse().ok().filter(|&n| n > 0))
        .collect::<Option<_>>()
        .unwrap_or_default();
    match sizes[..] {
        [c, h, w] => Ok((c, h, w)),
        _ => Err("expected three positive numbers, such as 3,32,32".to_string()),
    }
}

/// Prints the layers of a model, or all models.
pub fn summary(args: &SummaryArgs, program: &Program) -> Result<Ending> {
    let Some(model) = &args.model else {
        return models(program);
    };
    let entry = program.models.find(model)?;
    let default = entry.config()?;
    let config = ModelConfig {
        classes: args.classes.map_or(default.classes, |n| n as usize),
        input_shape: args.input.unwrap_or(default.input_shape),
        ..default
    };
    let summary = entry.build(&config)?.summary()?;
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
    ))?;
    Ok(Ending::Done)
}

/// Prints all models with their default shapes.
fn models(program: &Program) -> Result<Ending> {
    let mut table = new_table(&[
        "model",
        "input",
        "parameters",
        "multiply-adds",
        "description",
    ]);
    for entry in &program.models {
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
    output::print(&format!("{table}\n{} models\n", program.models.len()))?;
    Ok(Ending::Done)
}

fn shape(sizes: &[usize]) -> String {
    let sizes: Vec<String> = sizes.iter().map(usize::to_string).collect();
    sizes.join("x")
}

/// A count, empty for 0, which is easier to read in a table.
fn count(n: u64) -> String {
    match n {
        0 => String::new(),
        n => thousands(n),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn shapes() {
        assert_eq!(parse_shape("3,32,32").unwrap(), (3, 32, 32));
        for bad in ["3,32", "3,32,0", "x", "1,2,3,4"] {
            assert!(parse_shape(bad).is_err(), "{bad}");
        }
    }
}
