//! Outcome of an experiment, in the shape that `--json` prints.

use std::collections::BTreeMap;
use std::path::PathBuf;

use serde::Serialize;
use tallow_record::{ClaimResult, Dataset, Published, Run, Statement, Statistic, Tier, by_variant};
use tallow_regress::FACTS;

use crate::experiment::Experiment;

/// Outcome of an experiment.
#[derive(Debug, Serialize)]
pub struct Outcome {
    /// Name of the experiment.
    pub experiment: String,
    /// Tier.
    pub tier: Tier,
    /// Name, provenance and digests of the data.
    pub dataset: Dataset,
    /// Metrics of the variants, in the order of the experiment.
    pub variants: Vec<Variant>,
    /// Results of the claims, in the order of the experiment.
    pub claims: Vec<ClaimResult>,
    /// Verdicts on the statements of the write-up.
    pub statements: Vec<Statement>,
    /// Figures of the analyses.
    pub facts: BTreeMap<String, f64>,
    /// Folders of the run records, in the order of the runs.
    pub runs: Vec<PathBuf>,
    /// Messages of the runs that diverged and were skipped.
    #[serde(skip)]
    pub diverged: Vec<String>,
    /// Wall time in seconds.
    pub seconds: f64,
}

/// Metrics of one variant.
#[derive(Debug, Serialize)]
pub struct Variant {
    /// Name of the variant.
    pub name: String,
    /// Name of its model.
    pub model: String,
    /// Number of trained parameters.
    pub parameters: usize,
    /// Seeds, one per run.
    pub seeds: Vec<u64>,
    /// Statistics over the seeds, by metric; accuracies are fractions.
    pub metrics: BTreeMap<String, Statistic>,
    /// Published results.
    pub published: Vec<Published>,
}

impl Outcome {
    /// Whether a claim that was judged does not hold.
    pub fn failed(&self) -> bool {
        self.claims.iter().any(|claim| claim.holds == Some(false))
    }
}

/// Metrics of each variant over its finished runs.
pub(crate) fn of_runs(experiment: &Experiment, runs: &[Run]) -> Vec<Variant> {
    let variants = by_variant(runs).into_iter().map(|ran| {
        let variant = experiment.variant(&ran.name);
        Variant {
            published: variant.map(|v| v.published.clone()).unwrap_or_default(),
            name: ran.name,
            model: ran.model,
            parameters: ran.parameters,
            seeds: ran.seeds,
            metrics: ran.metrics,
        }
    });
    variants.collect()
}

/// Mean of a metric over the seeds of a variant, or the figure of an analysis: `None` if the variant was not run, NaN if it has no
/// such figure (a loss that is not finite), so that no claim about it holds.
pub fn mean(
    variants: &[Variant],
    facts: &BTreeMap<String, f64>,
    name: &str,
    metric: &str,
) -> Option<f64> {
    let of = |name: &str| variants.iter().find(|v| v.name == name).map(|v| &v.metrics);
    figure(of, facts, name, metric)
}

/// The same for variants whose metrics `of` returns.
pub fn figure<'a>(
    of: impl Fn(&str) -> Option<&'a BTreeMap<String, Statistic>>,
    facts: &BTreeMap<String, f64>,
    name: &str,
    metric: &str,
) -> Option<f64> {
    if name == FACTS {
        return Some(facts.get(metric).copied().unwrap_or(f64::NAN));
    }
    Some(of(name)?.get(metric).map_or(f64::NAN, |s| s.mean))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_not_run_is_not_judged_and_what_is_missing_fails() {
        let metrics = BTreeMap::new();
        let of = |name: &str| (name == "cnn").then_some(&metrics);
        let facts = BTreeMap::from([("maps".to_string(), 4.0)]);
        assert_eq!(figure(of, &facts, "fc", "test_accuracy"), None);
        assert!(figure(of, &facts, "cnn", "test_accuracy").unwrap().is_nan());
        assert_eq!(figure(of, &facts, FACTS, "maps"), Some(4.0));
        assert!(figure(of, &facts, FACTS, "other").unwrap().is_nan());
    }
}
