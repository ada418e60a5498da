//! Outcome of an experiment, in the shape that `--json` prints.

use std::collections::BTreeMap;
use std::path::PathBuf;

use serde::Serialize;
use tallow_record::{ClaimResult, Dataset, Published, Run, Statement, Statistic, Tier, by_variant};
use tallow_regress::{FACTS, Figure};

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

/// Values of a metric of a variant, or the figure of an analysis: `None` if the variant was not run, NaN if it has no such figure (a
/// loss that is not finite), so that no claim about it holds. `of` returns the seeds and metrics of a variant.
pub fn figure<'a>(
    of: impl Fn(&str) -> Option<(&'a [u64], &'a BTreeMap<String, Statistic>)>,
    facts: &BTreeMap<String, f64>,
    name: &str,
    metric: &str,
) -> Option<Figure> {
    if name == FACTS {
        let value = facts.get(metric).copied().unwrap_or(f64::NAN);
        return Some(Figure::Constant(value));
    }
    let (seeds, metrics) = of(name)?;
    Some(match metrics.get(metric) {
        Some(statistic) => Figure::of(metric, seeds, statistic),
        None => Figure::Constant(f64::NAN),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_not_run_is_not_judged_and_what_is_missing_fails() {
        let metrics = BTreeMap::new();
        let of = |name: &str| (name == "cnn").then_some((&[0][..], &metrics));
        let facts = BTreeMap::from([("maps".to_string(), 4.0)]);
        assert_eq!(figure(of, &facts, "fc", "test_accuracy"), None);
        assert!(
            figure(of, &facts, "cnn", "test_accuracy")
                .unwrap()
                .mean()
                .is_nan()
        );
        assert_eq!(
            figure(of, &facts, FACTS, "maps"),
            Some(Figure::Constant(4.0))
        );
        assert!(figure(of, &facts, FACTS, "other").unwrap().mean().is_nan());
    }
}
