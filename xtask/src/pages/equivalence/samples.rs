//! Accuracies of both sides, from their files.

use std::collections::BTreeMap;
use std::path::PathBuf;

use anyhow::{Context, Result, ensure};
use serde::Deserialize;
use serde_json::Value;
use tallow_experiment::{Recipe, results};
use tallow_record::{Results, Tier};

use crate::pages::files::read;
use crate::pages::store::Store;

/// Results of `xtask/pytorch/accuracies.py` for a recipe.
#[derive(Debug, Deserialize)]
pub struct PyTorch {
    /// Name of the recipe.
    recipe: String,
    /// Version of PyTorch.
    pub torch: String,
    /// Processor.
    pub cpu: String,
    /// Threads.
    pub threads: usize,
    data: Data,
    variants: Vec<PyTorchVariant>,
}

/// Digests of both splits, of their pixels and labels.
#[derive(Debug, Deserialize)]
struct Data {
    digest: String,
    test_digest: String,
}

#[derive(Debug, Deserialize)]
struct PyTorchVariant {
    name: String,
    /// Settings `data`, `model` and `train`.
    settings: Value,
    /// Accuracies by seed.
    test_accuracy: BTreeMap<u64, f64>,
}

/// Both sides of a recipe.
pub struct Both {
    /// Results of Tallow.
    pub ours: Results,
    /// Results of PyTorch.
    pub theirs: PyTorch,
    /// Variants.
    pub pairs: Vec<Pair>,
}

/// Test accuracies of a variant.
pub struct Pair {
    /// Name of the variant.
    pub variant: String,
    /// Accuracies in Tallow.
    pub ours: Vec<f64>,
    /// Accuracies in PyTorch.
    pub theirs: Vec<f64>,
}

/// Reads both sides; `None` if PyTorch's or ours were not run.
///
/// Ours are those of `results/equivalence`, of as many seeds as planned, or else those of the recipe's own page.
///
/// # Errors
/// When a file cannot be read, or the two sides have other data or other settings.
pub fn read_both(store: &Store, recipe: &str) -> Result<Option<Both>> {
    let folder = store.dir().join("results");
    let path = folder.join("pytorch").join(format!("{recipe}.json"));
    if !path.is_file() {
        return Ok(None);
    }
    let at = || path.display().to_string();
    let theirs: PyTorch = serde_json::from_str(&read(&path)?).with_context(at)?;
    ensure!(
        theirs.recipe == recipe,
        "{}: contains results of `{}`; rename it accordingly",
        path.display(),
        theirs.recipe
    );
    let Some(ours) = read_ours(store, recipe)? else {
        return Ok(None);
    };
    let data = &theirs.data;
    // Results of earlier versions have no digest of the test data.
    let test = ours.dataset.test_digest.as_ref();
    ensure!(
        ours.dataset.digest == data.digest && test.is_none_or(|test| *test == data.test_digest),
        "{}: the data are not those of our results: digests {} and {}, expected {} and {}",
        path.display(),
        data.digest,
        data.test_digest,
        ours.dataset.digest,
        test.map_or("any", String::as_str)
    );
    let mut pairs = Vec::new();
    for variant in &ours.variants {
        let other = theirs.variants.iter().find(|v| v.name == variant.name);
        let other = other.with_context(|| {
            format!("{}: there is no variant `{}`", path.display(), variant.name)
        })?;
        let ours_of = settings(&variant.recipe).with_context(|| variant.name.clone())?;
        ensure!(
            ours_of == settings(&other.settings).with_context(at)?,
            "{}: the settings of `{}` are not those of our results",
            path.display(),
            variant.name
        );
        let accuracy = variant.metrics.get("test_accuracy");
        pairs.push(Pair {
            variant: variant.name.clone(),
            ours: accuracy.map(|a| a.values.clone()).unwrap_or_default(),
            theirs: other.test_accuracy.values().copied().collect(),
        });
    }
    Ok(Some(Both {
        ours,
        theirs,
        pairs,
    }))
}

/// The full tier and the standard tier of these recipes differ in their seeds alone.
fn read_ours(store: &Store, recipe: &str) -> Result<Option<Results>> {
    let folder = store.dir().join("results/equivalence");
    let paths = [Tier::Full, Tier::Standard].map(|tier| results::path(&folder, recipe, tier));
    let found: Vec<&PathBuf> = paths.iter().filter(|path| path.is_file()).collect();
    ensure!(
        found.len() < 2,
        "{} and {}: expected one of them",
        paths[0].display(),
        paths[1].display()
    );
    match found.first() {
        Some(path) => {
            let results = Results::read(path)?;
            ensure!(
                results.experiment == recipe,
                "{}: contains results of `{}`; rename it accordingly",
                path.display(),
                results.experiment
            );
            Ok(Some(results))
        }
        None => Ok(store.get(recipe)?.cloned()),
    }
}

/// Settings with every default, so that those which one side leaves out are no difference.
fn settings(value: &Value) -> Result<Recipe> {
    Recipe::from_json(value).context("the settings cannot be read")
}
