//! Results of an experiment: one file, small enough to be committed.
//!
//! Run records are many and large and stay where they were made. A results file has the metrics of every seed and every
//! epoch, and for the first seed of each variant the data of its charts.

use std::collections::BTreeMap;
use std::path::Path;

use serde::{Deserialize, Serialize};

use crate::epoch::{EpochRow, with_every_key};
use crate::error::{Error, Result};
use crate::extras::{Extras, GradientRow, Inputs, Prediction};
use crate::files::{read_json, write_json};
use crate::info::{Dataset, Environment};
use crate::number::number;
use crate::run::Run;
use crate::statistic::Statistic;
use crate::summary::ClassScore;

/// Results of an experiment.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Results {
    /// Name of the experiment.
    pub experiment: String,
    /// Tier at which it was run, such as `standard`; see [`Tier`](crate::Tier).
    pub tier: String,
    /// Question that the experiment answers.
    pub question: String,
    /// Command that reproduces it.
    pub command: String,
    /// Data of the runs.
    pub dataset: Dataset,
    /// Machine and program, without the command line.
    pub environment: Environment,
    /// Wall time of all runs, in seconds.
    pub seconds: f64,
    /// Claims of the experiment, judged.
    #[serde(default)]
    pub claims: Vec<ClaimResult>,
    /// Statements of others, judged.
    #[serde(default)]
    pub statements: Vec<Statement>,
    /// Quantities computed without training, by name.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub facts: BTreeMap<String, f64>,
    /// Variants, in the order of the experiment.
    pub variants: Vec<Variant>,
}

/// Claim about metrics, judged over the seeds.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ClaimResult {
    /// Text of the claim, such as `cnn - fc > 0.01`.
    pub text: String,
    /// Whether it holds. `None` if the seeds do not decide it, or if one of its variants was not run to its end; see
    /// [`verdict`](Self::verdict).
    pub holds: Option<bool>,
    /// Claim with numbers in place of names, such as `0.0207 > 0.0100`.
    pub figures: String,
    /// Differences of the compared sums, one for each comparison; none if a variant was not run to its end.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub differences: Vec<Difference>,
}

impl ClaimResult {
    /// Verdict on the claim.
    pub fn verdict(&self) -> Verdict {
        match self.holds {
            Some(true) => Verdict::Holds,
            Some(false) => Verdict::DoesNotHold,
            None if self.differences.is_empty() => Verdict::NotJudged,
            None => Verdict::Undecided,
        }
    }

    /// Bounds of the differences, such as ` [0.0051, 0.0217]`; empty without bounds.
    pub fn intervals(&self) -> String {
        let bounds = self.differences.iter().filter_map(|d| d.interval);
        bounds
            .map(|[low, high]| format!(" [{}, {}]", number(low), number(high)))
            .collect()
    }
}

/// Difference of two sums of metrics, the left one minus the right one.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Difference {
    /// Mean over the seeds.
    pub mean: f64,
    /// Lower and upper one-sided 95 % confidence bounds of the mean; `None` without at least two seeds, and where nothing depends on
    /// the seed.
    pub interval: Option<[f64; 2]>,
    /// Smallest number of seeds of a variant in it; 0 if nothing in it depends on the seed.
    pub seeds: usize,
}

/// Statement made by others, with the claims that decide it.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Statement {
    /// Text in English.
    pub text: String,
    /// Text in Chinese.
    pub zh: String,
    /// Verdict over all checks.
    pub verdict: Verdict,
    /// Claims that decide it, at least one.
    pub checks: Vec<ClaimResult>,
}

/// Verdict on a statement.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Verdict {
    /// All checks hold.
    #[serde(rename = "holds")]
    Holds,
    /// Some checks hold.
    #[serde(rename = "holds partly")]
    HoldsPartly,
    /// The opposite of every check holds.
    #[serde(rename = "does not hold")]
    DoesNotHold,
    /// The seeds do not decide a check, and the others do not differ.
    #[serde(rename = "undecided")]
    Undecided,
    /// A check could not be judged, or there is none.
    #[serde(rename = "not judged")]
    NotJudged,
}

impl Verdict {
    /// Verdict over checks.
    pub fn of(checks: &[ClaimResult]) -> Self {
        let verdicts: Vec<Self> = checks.iter().map(ClaimResult::verdict).collect();
        let all = |verdict| verdicts.iter().all(|&v| v == verdict);
        if verdicts.is_empty() || verdicts.contains(&Self::NotJudged) {
            Self::NotJudged
        } else if all(Self::Holds) {
            Self::Holds
        } else if all(Self::DoesNotHold) {
            Self::DoesNotHold
        } else if verdicts.contains(&Self::Holds) && verdicts.contains(&Self::DoesNotHold) {
            Self::HoldsPartly
        } else {
            Self::Undecided
        }
    }
}

/// Runs of one variant.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Variant {
    /// Name of the variant.
    pub name: String,
    /// Name of the model.
    pub model: String,
    /// Number of trainable parameters.
    pub parameters: usize,
    /// Seeds, one per run.
    pub seeds: Vec<u64>,
    /// Statistics over the runs by the name of the metric; accuracies are fractions. A metric that no run has is left
    /// out.
    pub metrics: BTreeMap<String, Statistic>,
    /// Published results for this variant.
    #[serde(default)]
    pub published: Vec<Published>,
    /// Recipe: an object with `data`, `model` and `train`; null if it is not known.
    #[serde(default, skip_serializing_if = "serde_json::Value::is_null")]
    pub recipe: serde_json::Value,
    /// Runs, in the order of `seeds`.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub runs: Vec<RunResults>,
}

/// Result that others published.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(deny_unknown_fields)]
pub struct Published {
    /// Test accuracy, as a fraction.
    pub test_accuracy: f64,
    /// Source of the number.
    pub source: String,
}

/// Results of one run. All but seed and epochs is there for the first seed alone.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct RunResults {
    /// Random seed.
    pub seed: u64,
    /// Finished epochs.
    #[serde(serialize_with = "with_every_key")]
    pub epochs: Vec<EpochRow>,
    /// Confusion matrix of the test data: rows are labels, columns are predictions.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub confusion: Option<Vec<Vec<u64>>>,
    /// Scores of the test data by class.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub per_class: Option<Vec<ClassScore>>,
    /// Gradient norms at the first step and at the end of training, in this order, without
    /// [`steps`](GradientRow::steps).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub gradients: Option<Vec<GradientRow>>,
    /// Statistics of the network's inputs.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub inputs: Option<Inputs>,
    /// Predictions for some test images, evenly over the classes; in records of earlier versions for the first ones.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub predictions: Option<Vec<Prediction>>,
}

impl RunResults {
    /// Results of a run: its seed and its epochs.
    pub fn of(run: &Run) -> Self {
        Self {
            seed: run.info.seed,
            epochs: run.epochs.clone(),
            ..Self::default()
        }
    }

    /// Results of a run with the data of its charts, as a results file keeps it for the first seed of a variant.
    ///
    /// # Errors
    /// When a file of the record does not have the expected content. A file that is missing is left out.
    pub fn with_details(run: &Run) -> Result<Self> {
        let extras = Extras::read(run)?;
        let summary = run.summary.as_ref();
        let mut per_class = summary.and_then(|summary| summary.per_class.clone());
        for score in per_class.iter_mut().flatten() {
            score.predicted = None;
        }
        let gradients = extras.gradients.map(|rows| {
            let last = rows.len().saturating_sub(1);
            let ends = rows.into_iter().enumerate();
            let ends = ends.filter(|(i, _)| [0, last].contains(i));
            ends.map(|(_, row)| GradientRow { steps: None, ..row })
                .collect()
        });
        Ok(Self {
            confusion: summary.and_then(|summary| summary.confusion.clone()),
            per_class,
            gradients,
            inputs: extras.inputs,
            predictions: extras.predictions,
            ..Self::of(run)
        })
    }
}

impl Results {
    /// Reads a results file. Unknown keys are refused; optional ones may be missing.
    pub fn read(path: impl AsRef<Path>) -> Result<Self> {
        read_json(path.as_ref()).map_err(|error| match error {
            Error::Missing { path } => Error::NoResults { path },
            error => error,
        })
    }

    /// Writes a results file atomically. A file that exists is replaced. Missing folders are created.
    pub fn write(&self, path: impl AsRef<Path>) -> Result<()> {
        write_json(path, self)
    }

    /// Variant of this name.
    pub fn variant(&self, name: &str) -> Option<&Variant> {
        self.variants.iter().find(|variant| variant.name == name)
    }
}
