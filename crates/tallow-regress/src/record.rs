//! Baselines from results files, without training.

use std::collections::BTreeMap;
use std::path::Path;

use serde_json::Value;
use tallow_record::Results;

use crate::baseline::{Data, Record};
use crate::error::{Error, Result};
use crate::measured::Measured;
use crate::plan::Plan;
use crate::recipe::{comparable, differences};

/// Results for a new baseline, from a results file. They have no weights, speeds and traces.
///
/// `normalize` fills the defaults into a recipe, as [`Train::normalize_recipe`](crate::Train::normalize_recipe) does. `again` is the
/// command that makes a new results file, for messages.
///
/// # Errors
///
/// [`Error::Record`] if the file cannot be read, and [`Error::File`] if it is of another experiment or tier, lacks a variant, or has
/// another recipe.
pub fn record_of_results(
    path: &Path,
    plan: &Plan,
    normalize: impl Fn(&Value) -> Value,
    again: &str,
) -> Result<Record> {
    let results = Results::read(path)?;
    let fail = |message: String| Error::File {
        path: path.to_path_buf(),
        message,
    };
    if results.tier != plan.tier.as_str() || results.experiment != plan.experiment {
        return Err(fail(format!(
            "expected results of {}, {} tier; found those of {}, {} tier",
            plan.experiment, plan.tier, results.experiment, results.tier
        )));
    }
    let complete = |recipe: &Value| comparable(normalize(recipe));
    let mut measured = Measured::of_results(&results);
    for planned in &plan.variants {
        let name = &planned.name;
        let Some(found) = measured.iter().find(|m| m.name == *name) else {
            return Err(fail(format!(
                "there is no variant `{name}`; run again: {again}"
            )));
        };
        let differences = differences(&complete(&found.recipe), &complete(&planned.recipe));
        if !differences.is_empty() {
            return Err(fail(format!(
                "the recipe of `{name}` differs from the experiment's in {}; run again: {again}",
                differences.join("; ")
            )));
        }
    }
    measured.retain(|m| plan.variant(&m.name).is_some());
    Ok(Record {
        data: Data {
            name: results.dataset.name,
            digest: results.dataset.digest,
            test_digest: results.dataset.test_digest.unwrap_or_default(),
        },
        environment: results.environment.without_command(),
        instruction_set: None,
        measured,
        traces: BTreeMap::new(),
    })
}
