//! A results file: what came of an experiment, small enough to be kept in the repository.
//!
//! Run records are many and large and stay where they were made. A results file holds what the pages say of them: the
//! figures of every seed, the course of every epoch, and of each variant's first seed what only pictures show.

use std::collections::BTreeMap;
use std::fs;
use std::io::ErrorKind;
use std::path::Path;

use serde::{Deserialize, Serialize};

use crate::layout::write_json;
use crate::run::{self, io};
use crate::{ClassScore, Epoch, Error, Result, Statistic};

/// What came of an experiment.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Results {
    /// The experiment's name.
    pub experiment: String,
    /// How much of it was run, such as `standard`.
    pub tier: String,
    /// What it asks.
    pub question: String,
    /// The command that does it again.
    pub command: String,
    /// What it was run on.
    pub dataset: Dataset,
    /// Where.
    pub environment: Environment,
    /// Wall time of it all.
    pub seconds: f64,
    /// What must hold, and whether it does.
    #[serde(default)]
    pub claims: Vec<Check>,
    /// What others said, and whether it is so.
    #[serde(default)]
    pub statements: Vec<Statement>,
    /// Figures that belong to no variant, by name.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub facts: BTreeMap<String, f64>,
    /// In the experiment's order.
    pub variants: Vec<Variant>,
}

/// The data of an experiment.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Dataset {
    /// Its name.
    pub name: String,
    /// Its format, and whether it is the original.
    pub provenance: String,
    /// SHA-256 of the training images and labels.
    pub digest: String,
    /// The same of the test split.
    pub test_digest: String,
    /// The classes' names, in the order of the labels.
    #[serde(default)]
    pub classes: Vec<String>,
}

/// Where an experiment was run.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Environment {
    /// Version of the program's training crate.
    pub tallow: String,
    /// Commit of its source, if known.
    pub commit: Option<String>,
    /// The compiler.
    pub rustc: String,
    /// Operating system and architecture.
    pub platform: String,
    /// The processor's name.
    pub cpu: String,
    /// Threads that computed.
    pub threads: usize,
    /// What they computed on.
    pub device: String,
}

impl From<run::Environment> for Environment {
    /// All but the command line.
    fn from(environment: run::Environment) -> Self {
        let run::Environment {
            tallow,
            commit,
            rustc,
            platform,
            cpu,
            threads,
            device,
            command: _,
        } = environment;
        Self {
            tallow,
            commit,
            rustc,
            platform,
            cpu,
            threads,
            device,
        }
    }
}

/// A comparison of figures, and how it came out.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Check {
    /// The comparison, such as `cnn - fc > 0.01`.
    pub text: String,
    /// Whether it holds; `None` when a variant it speaks of was not run.
    pub holds: Option<bool>,
    /// The two sides, with numbers in place of names.
    pub figures: String,
}

/// Something that others said, and the checks that decide whether it is so.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Statement {
    /// In English.
    pub text: String,
    /// In Chinese.
    pub zh: String,
    /// What the checks come to.
    pub verdict: Verdict,
    /// At least one.
    pub checks: Vec<Check>,
}

/// What a statement's checks come to.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Verdict {
    /// All checks hold.
    #[serde(rename = "holds")]
    Holds,
    /// Some do.
    #[serde(rename = "holds partly")]
    HoldsPartly,
    /// None does.
    #[serde(rename = "does not hold")]
    DoesNotHold,
    /// A check speaks of a variant that was not run, or there is none.
    #[serde(rename = "not judged")]
    NotJudged,
}

impl Verdict {
    /// What checks that came out like this come to.
    pub fn of(holds: impl IntoIterator<Item = Option<bool>>) -> Self {
        let Some(holds) = holds.into_iter().collect::<Option<Vec<bool>>>() else {
            return Self::NotJudged;
        };
        match holds.iter().filter(|&&holds| holds).count() {
            _ if holds.is_empty() => Self::NotJudged,
            0 => Self::DoesNotHold,
            held if held == holds.len() => Self::Holds,
            _ => Self::HoldsPartly,
        }
    }
}

/// The runs of one variant.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Variant {
    /// Its name.
    pub name: String,
    /// Its model's name.
    pub model: String,
    /// Number of trained values.
    pub parameters: usize,
    /// One a run, in the order of the runs.
    pub seeds: Vec<u64>,
    /// Figures over the runs, by name; accuracies are fractions. One that no run has is not there.
    pub metrics: BTreeMap<String, Statistic>,
    /// What others reported.
    #[serde(default)]
    pub published: Vec<Published>,
    /// The recipe: an object with `data`, `model` and `train`.
    pub recipe: serde_json::Value,
    /// In the order of `seeds`.
    pub runs: Vec<Run>,
}

/// A result that someone reported.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Published {
    /// As a fraction.
    pub test_accuracy: f64,
    /// Where it was reported.
    pub source: String,
}

/// One run of a variant. All but the epochs is there for the first seed alone.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Run {
    /// Its seed.
    pub seed: u64,
    /// The finished epochs.
    pub epochs: Vec<Epoch>,
    /// Counts of the test data: rows are labels, columns predictions.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub confusion: Option<Vec<Vec<u64>>>,
    /// Scores of the test data by class.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub per_class: Option<Vec<ClassScore>>,
    /// Norms of the gradients at the first step and at the end, in that order.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub gradients: Option<Vec<Gradients>>,
    /// What the network saw.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub inputs: Option<Inputs>,
    /// Of the first test images.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub predictions: Option<Vec<Prediction>>,
}

/// Euclidean norms of the gradients, at one step or averaged over a few; one that was not finite is `None`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Gradients {
    /// From 0.
    pub epoch: usize,
    /// The last of the steps, from 0 within the epoch.
    pub step: usize,
    /// Of all parameters together.
    pub total: Option<f64>,
    /// Of each parameter, in the network's order.
    pub norms: Vec<(String, Option<f64>)>,
}

/// The values that came into the network.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Inputs {
    /// Of each channel.
    pub mean: Vec<f64>,
    /// Of each channel.
    pub std: Vec<f64>,
    /// Of all channels together.
    pub histogram: Histogram,
}

/// How many values fell into each of some bins of one width.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Histogram {
    /// Where the first bin begins.
    pub from: f64,
    /// Where the last one ends.
    pub to: f64,
    /// Of each bin.
    pub counts: Vec<u64>,
}

/// What a network says of a test image.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Prediction {
    /// The image's place in the test data.
    pub index: usize,
    /// The class it is of.
    pub label: usize,
    /// Classes with their probabilities, the likeliest first.
    pub top: Vec<(usize, f64)>,
}

impl Results {
    /// Reads a file. Keys that are not known are refused, optional ones may be missing.
    pub fn read(path: impl AsRef<Path>) -> Result<Self> {
        let path = path.as_ref();
        let text = fs::read_to_string(path).map_err(|error| match error.kind() {
            ErrorKind::NotFound => Error::NoResults {
                path: path.to_path_buf(),
            },
            _ => io(path)(error),
        })?;
        serde_json::from_str(&text).map_err(|error| Error::Json {
            path: path.to_path_buf(),
            line: error.line(),
            message: error.to_string(),
        })
    }

    /// Writes a file, in place of one that is there; its folder is made if need be.
    pub fn write(&self, path: impl AsRef<Path>) -> Result<()> {
        write_json(path, self)
    }

    /// The variant of this name.
    pub fn variant(&self, name: &str) -> Option<&Variant> {
        self.variants.iter().find(|variant| variant.name == name)
    }
}
