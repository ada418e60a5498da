//! `tallow summary`: the layers of a model, or all models.

use anyhow::{Result, bail};
use clap::Args;
use tallow_models::ModelConfig;
use tallow_record::thousands;

use crate::ending::Ending;
use crate::output;
use crate::program::Program;
use crate::table::{align_right, new_table};

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
    let text = match &args.model {
        Some(model) => layers(model, args, program)?,
        None => models(program),
    };
    output::print(&text)?;
    Ok(Ending::Done)
}

/// Table of the layers of a model.
fn layers(model: &str, args: &SummaryArgs, program: &Program) -> Result<String> {
    let entry = program.models.find(model)?;
    let classes = args.classes.map(|n| n as usize).or(entry.default_classes);
    let input_shape = args.input.or(entry.default_input);
    let (Some(classes), Some(input_shape)) = (classes, input_shape) else {
        bail!(
            "{model}: has no default input shape and classes; pass {}",
            match (classes, input_shape) {
                (None, None) => "--classes N and --input C,H,W",
                (None, Some(_)) => "--classes N",
                _ => "--input C,H,W",
            }
        );
    };
    let config = ModelConfig::new(classes, input_shape);
    let summary = entry.skip_init(&config)?.summary()?;
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
    Ok(format!(
        "{}: {}\ninput {c}x{h}x{w}, {} classes\n{table}\n{} parameters, {} multiply-adds per image\n",
        entry.name(),
        entry.description,
        classes,
        thousands(summary.parameters as u64),
        thousands(summary.multiply_adds),
    ))
}

/// Table of all models with their default shapes.
fn models(program: &Program) -> String {
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
    format!("{table}\n{} models\n", program.models.len())
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
    use tallow_models::Registry;
    use tallow_models::nn::Sequential;
    use tallow_ops::ParamPath;

    use super::*;

    #[test]
    fn shapes() {
        assert_eq!(parse_shape("3,32,32").unwrap(), (3, 32, 32));
        for bad in ["3,32", "3,32,0", "x", "1,2,3,4"] {
            assert!(parse_shape(bad).is_err(), "{bad}");
        }
    }

    /// A model without default shapes needs them from the command line.
    #[test]
    fn a_custom_model() {
        let mut models = Registry::default();
        let net = |p: &ParamPath, config: &ModelConfig| {
            Sequential::build(p, config.input_shape)
                .flatten()
                .linear("fc", config.classes)
                .finish()
        };
        models.register("my-net", net).unwrap();
        let program = Program::new("tallow", || clap::Command::new("tallow"), models);
        let args = |classes, input| SummaryArgs {
            model: Some("my-net".to_string()),
            classes,
            input,
        };
        let text = layers("my-net", &args(Some(3), Some((1, 4, 5))), &program).unwrap();
        assert!(text.contains("input 1x4x5, 3 classes"), "{text}");
        assert!(
            text.contains("63 parameters, 60 multiply-adds per image"),
            "{text}"
        );
        for (args, missing) in [
            (args(None, None), "pass --classes N and --input C,H,W"),
            (args(Some(3), None), "pass --input C,H,W"),
            (args(None, Some((1, 4, 5))), "pass --classes N"),
        ] {
            let error = layers("my-net", &args, &program).unwrap_err().to_string();
            assert!(error.ends_with(missing), "{error}");
        }
        assert!(super::models(&program).contains("my-net"));
    }
}
