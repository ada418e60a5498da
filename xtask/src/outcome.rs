//! What `run` found, in the shape that `--json` prints.

use std::path::PathBuf;

use serde::Serialize;

use crate::claims::Verdict;
use crate::experiment::Published;

/// A whole run of an experiment.
#[derive(Debug, Serialize)]
pub struct Outcome {
    /// The experiment's name.
    pub experiment: String,
    /// What it was run on.
    pub dataset: Dataset,
    /// In the experiment's order.
    pub variants: Vec<Variant>,
    /// In the experiment's order.
    pub claims: Vec<Verdict>,
    /// Folders of the run records, in the order of the runs.
    pub runs: Vec<PathBuf>,
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
    /// By name, in the order of [`crate::metrics::NAMES`].
    pub metrics: Metrics,
    /// What others reported.
    pub published: Vec<Published>,
}

impl Variant {
    /// Mean of a metric over the seeds.
    pub fn mean(&self, metric: &str) -> Option<f64> {
        self.metrics.get(metric).map(|s| s.mean)
    }
}

/// Statistics by metric name.
pub type Metrics = std::collections::BTreeMap<&'static str, Statistic>;

/// A metric over the seeds.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Statistic {
    /// Arithmetic mean.
    pub mean: f64,
    /// Sample standard deviation; `None` with one seed, which has no spread.
    pub std: Option<f64>,
    /// One for each seed, in order.
    pub values: Vec<f64>,
}

impl Statistic {
    /// Of at least one value.
    pub fn of(values: Vec<f64>) -> Self {
        let n = values.len() as f64;
        let mean = values.iter().sum::<f64>() / n;
        let squares: f64 = values.iter().map(|v| (v - mean).powi(2)).sum();
        let std = (values.len() > 1).then(|| (squares / (n - 1.0)).sqrt());
        Self { mean, std, values }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn statistics() {
        let s = Statistic::of(vec![1.0, 2.0, 4.5]);
        assert_eq!(s.mean, 2.5);
        assert!((s.std.unwrap() - 3.25f64.sqrt()).abs() < 1e-12);
        assert_eq!(Statistic::of(vec![0.5]).std, None);
    }
}
