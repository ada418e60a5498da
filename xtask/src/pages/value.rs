//! A figure in a line: `value EXPERIMENT EXPRESSION FORMAT`.

use anyhow::{Context, Result, bail};

use tallow_experiment::suggest;
use tallow_regress::Sum;

use super::format::Format;
use super::page::Page;
use super::store::{figure, find_metric};

/// Text of a figure without a result.
const NONE: &str = "—";

/// The figure that these words ask for.
pub fn inline(words: &[&str], page: &Page<'_>) -> Result<String> {
    let [kind, rest @ ..] = words else {
        bail!("an empty mark: expected value EXPERIMENT EXPRESSION FORMAT");
    };
    if *kind != "value" {
        bail!(
            "{}; `{kind}` as a block stands on a line of its own",
            suggest::unknown("figure", kind, &["value"])
        );
    }
    let [name, expression @ .., format] = rest else {
        bail!("expected value EXPERIMENT EXPRESSION FORMAT");
    };
    let text = expression.join(" ");
    if text.is_empty() {
        bail!(
            "value {name}: expected an expression such as `cnn - fc` and a format such as percent"
        );
    }
    let results = page.store.get(name)?;
    let format = Format::parse(format)?;
    let sum = Sum::parse(&text)?;
    for (variant, metric) in sum.metrics() {
        match (variant, results) {
            ("facts", Some(results)) => {
                let known: Vec<&str> = results.facts.keys().map(String::as_str).collect();
                if !known.contains(&metric) {
                    bail!(suggest::unknown("fact", metric, &known));
                }
            }
            ("facts", None) => {}
            _ => {
                page.store.check_variants(name, &[variant])?;
                find_metric(metric)?;
            }
        }
    }
    let Some(results) = results else {
        return Ok(NONE.to_string());
    };
    let value = sum
        .value(|variant, metric| figure(results, variant, metric))
        .filter(|value| !value.is_nan())
        .with_context(|| format!("results/{name}.json has no figure for `{text}`"))?;
    Ok(format.show(value, page.language))
}
