//! What `run` found, in the shape that `--json` prints.

use std::collections::BTreeMap;
use std::path::PathBuf;

use serde::Serialize;
use tallow_report::Statistic;

use crate::claims::{FACTS, Verdict};
use crate::experiment::{Judged, Published, Tier};

/// A whole run of an experiment.
#[derive(Debug, Serialize)]
pub struct Outcome {
    /// The experiment's name.
    pub experiment: String,
    /// How much of it was run.
    pub tier: Tier,
    /// What it was run on.
    pub dataset: Dataset,
    /// In the experiment's order.
    pub variants: Vec<Variant>,
    /// In the experiment's order.
    pub claims: Vec<Verdict>,
    /// What the write-up says, judged.
    pub statements: Vec<Judged>,
    /// What was worked out and not trained.
    pub facts: BTreeMap<String, f64>,
    /// Folders of the run records, in the order of the runs.
    pub runs: Vec<PathBuf>,
    /// Why each run was left unfinished whose loss is not finite, where others went on.
    #[serde(skip)]
    pub diverged: Vec<String>,
    /// Wall time of it all.
    pub seconds: f64,
}

/// The data of a run.
#[derive(Debug, Serialize)]
pub struct Dataset {
    /// Name in the catalogue.
    pub name: String,
    /// Format, and whether these are the published bytes.
    pub provenance: String,
    /// SHA-256 of the decoded training images and labels.
    pub digest: String,
    /// The same of the test split.
    pub test_digest: String,
}

/// The results of one variant.
#[derive(Debug, Serialize)]
pub struct Variant {
    /// Its name.
    pub name: String,
    /// Its model's name.
    pub model: String,
    /// Parameters that are trained.
    pub parameters: usize,
    /// One a run.
    pub seeds: Vec<u64>,
    /// Over the seeds, by name; accuracies are fractions.
    pub metrics: BTreeMap<String, Statistic>,
    /// What others reported.
    pub published: Vec<Published>,
}

impl Outcome {
    /// Whether a claim that was judged does not hold.
    pub fn failed(&self) -> bool {
        self.claims.iter().any(|claim| claim.holds == Some(false))
    }
}

/// The mean of a metric over the seeds of a variant, or a fact: `None` where the variant was not run, NaN where it has no
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

/// The same, of variants whose metrics `of` gives.
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
