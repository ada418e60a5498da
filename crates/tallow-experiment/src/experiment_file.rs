//! Experiment as it stands in a file.

use schemars::JsonSchema;
use serde::Deserialize;
use tallow_record::Published;
use toml::Table;

use crate::analysis::Analysis;
use crate::statement::FileStatement;
use crate::sweep::FileSweep;
use crate::tiers::FileTiers;

/// Experiment in a file, before the variants are merged: a question, a recipe and the variants that change parts of it.
#[derive(Deserialize, JsonSchema)]
#[schemars(rename = "Experiment")]
#[serde(deny_unknown_fields)]
pub(crate) struct File {
    /// Question that the experiment answers.
    pub question: String,
    /// Random seeds; each variant is trained once with each. `[0]` by default.
    #[serde(default = "first_seed")]
    pub seeds: Vec<u64>,
    /// Training and test data of all variants.
    #[serde(default)]
    #[schemars(with = "crate::recipe::Data")]
    pub data: Table,
    /// Model of all variants.
    #[serde(default)]
    #[schemars(with = "crate::recipe::Model")]
    pub model: Table,
    /// Training of all variants.
    #[serde(default)]
    #[schemars(with = "crate::recipe::Train")]
    pub train: Table,
    /// Variants: changes of the recipe, each with a name. At least one.
    pub variants: Vec<FileVariant>,
    /// Claims that must hold: `cnn.test_accuracy >= 0.9`, `cnn > mlp`.
    #[serde(default)]
    pub claims: Vec<String>,
    /// Statements of a write-up, with the claims that decide them.
    #[serde(default)]
    pub statements: Vec<FileStatement>,
    /// Analyses besides training.
    #[serde(default)]
    pub facts: Vec<Analysis>,
    /// Search over settings of one variant, for `tallow sweep`; `run` does not use it.
    pub sweep: Option<FileSweep>,
    /// Changes of the smoke, standard and full tiers.
    #[serde(default)]
    pub tiers: FileTiers,
}

/// Variant of an experiment.
#[derive(Deserialize, JsonSchema)]
#[schemars(rename = "Variant")]
#[serde(deny_unknown_fields)]
pub(crate) struct FileVariant {
    /// Name: letters, digits, `-` and `_`, a letter first.
    pub name: String,
    /// Changes of `[data]`.
    #[serde(default)]
    #[schemars(with = "crate::recipe::Data")]
    pub data: Table,
    /// Changes of `[model]`.
    #[serde(default)]
    #[schemars(with = "crate::recipe::Model")]
    pub model: Table,
    /// Changes of `[train]`.
    #[serde(default)]
    #[schemars(with = "crate::recipe::Train")]
    pub train: Table,
    /// Published results of the same setting.
    #[serde(default)]
    pub published: Vec<Published>,
}

fn first_seed() -> Vec<u64> {
    vec![0]
}
