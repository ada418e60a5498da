//! Recipe of weights whose training is not known.

use std::path::Path;

use tallow_transforms::TransformConfig;
use toml::{Table, Value};

use crate::error::{Error, Result};
use crate::keys::{self, Assignment};
use crate::preparation::{self, Preparation};
use crate::recipe::Recipe;

/// Transforms as [`preparation::choose`] decides, unless `sets` give them.
pub(crate) fn preparation(
    given: Option<(&[f32], &[f32])>,
    sets: &[String],
    weights: &Path,
    digest: &str,
    dataset: &str,
) -> Result<Preparation> {
    let set = sets.iter().any(|set| {
        ["data.transforms", "data.test_transforms"]
            .iter()
            .any(|key| set.trim_start().starts_with(key))
    });
    if set && given.is_some() {
        return Err(Error::Set(
            "--mean and --std, and --set data.transforms: give one of them".to_string(),
        ));
    }
    if set {
        // The assignment replaces it.
        return Ok(Preparation {
            transforms: vec![TransformConfig::to_tensor()],
            source: "given by --set data.transforms".into(),
        });
    }
    preparation::choose(given, weights, digest, dataset)
}

/// Recipe that trains nothing: data and model, changed by `sets`.
pub(crate) fn recipe(
    dataset: &str,
    model: &str,
    batch: usize,
    preparation: Preparation,
    sets: &[String],
) -> Result<Recipe> {
    let table = |entries: Vec<(&str, Value)>| {
        let entries = entries
            .into_iter()
            .map(|(key, value)| (key.to_string(), value));
        Value::Table(Table::from_iter(entries))
    };
    let batch = i64::try_from(batch).unwrap_or(i64::MAX);
    let optimizer = table(vec![("name", "sgd".into()), ("lr", Value::Float(0.0))]);
    let data = table(vec![
        ("dataset", dataset.into()),
        ("transforms", Value::try_from(&preparation.transforms)?),
    ]);
    let train = table(vec![
        ("epochs", Value::Integer(1)),
        ("batch_size", Value::Integer(batch)),
        ("optimizer", optimizer),
    ]);
    let base = Table::from_iter([
        ("data".to_string(), data),
        ("model".to_string(), table(vec![("name", model.into())])),
        ("train".to_string(), train),
    ]);
    keys::recipe(base, &Assignment::parse_all(sets)?)
}
