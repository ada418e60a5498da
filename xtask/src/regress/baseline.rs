//! The record that later runs are compared with: `baselines/<experiment>.<tier>.json`.

use std::collections::BTreeMap;
use std::fs;
use std::io::ErrorKind;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail, ensure};
use serde::{Deserialize, Serialize};
use serde_json::Value;
use tallow_report::Statistic;
use tallow_report::results::Environment;

use super::measured::Measured;
use crate::experiment::{Experiment, Tier};
use crate::outcome::Dataset;

/// What an experiment came to when it was last looked at and found right.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Baseline {
    /// The experiment's name.
    pub experiment: String,
    /// How much of it was run.
    pub tier: Tier,
    /// Why it was made, and remade: the newest last.
    pub updates: Vec<Update>,
    /// What it was run on.
    pub data: Data,
    /// Where.
    pub environment: Environment,
    /// The instruction set that computed, where it is known.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub instruction_set: Option<String>,
    /// In the experiment's order.
    pub variants: Vec<Variant>,
}

/// A reason to make a baseline.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Update {
    /// In the words of who did it.
    pub reason: String,
    /// The source that it was made with, `-dirty` where files had been changed.
    pub commit: Option<String>,
}

/// The data of a baseline.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Data {
    /// Its name.
    pub name: String,
    /// SHA-256 of the training images and labels.
    pub digest: String,
    /// The same of the test split.
    pub test_digest: String,
}

/// What a new baseline is made of.
pub struct Record {
    /// What was run.
    pub data: Data,
    /// Where.
    pub environment: Environment,
    /// The instruction set that computed, where it is known.
    pub instruction_set: Option<String>,
    /// What came of it.
    pub measured: Vec<Measured>,
}

/// What a variant came to.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Variant {
    /// Its name.
    pub name: String,
    /// Its model's.
    pub model: String,
    /// All that decides what is computed, but the seed.
    pub recipe: Value,
    /// One a run.
    pub seeds: Vec<u64>,
    /// The test accuracy that the runs are to reach, and in few epochs.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub threshold: Option<f64>,
    /// Over the seeds, by name.
    pub metrics: BTreeMap<String, Statistic>,
    /// SHA-256 of the weights that the run of each seed ended with, where they were kept.
    pub weights: Vec<Option<String>>,
}

impl Variant {
    fn of(measured: &Measured) -> Self {
        let threshold = measured.threshold();
        Self {
            name: measured.name.clone(),
            model: measured.model.clone(),
            recipe: measured.recipe.clone(),
            seeds: measured.seeds.clone(),
            threshold,
            metrics: measured.statistics(threshold),
            weights: measured.weights.clone(),
        }
    }

    /// Where a seed's values stand among the others.
    pub fn place_of(&self, seed: u64) -> Option<usize> {
        self.seeds.iter().position(|&s| s == seed)
    }

    /// The weights that a seed's run ended with.
    pub fn weights_of(&self, seed: u64) -> Option<&str> {
        self.weights.get(self.place_of(seed)?)?.as_deref()
    }
}

impl Baseline {
    /// A new one, which goes on with the reasons of the one before it.
    pub fn new(
        experiment: &Experiment,
        record: Record,
        before: Option<&Self>,
        reason: &str,
    ) -> Self {
        let mut updates = before.map(|b| b.updates.clone()).unwrap_or_default();
        updates.push(Update {
            reason: reason.to_string(),
            commit: record.environment.commit.clone(),
        });
        Self {
            experiment: experiment.name.clone(),
            tier: experiment.tier,
            updates,
            data: record.data,
            environment: record.environment,
            instruction_set: record.instruction_set,
            variants: record.measured.iter().map(Variant::of).collect(),
        }
    }

    /// The variant of this name.
    pub fn variant(&self, name: &str) -> Option<&Variant> {
        self.variants.iter().find(|variant| variant.name == name)
    }

    /// Reads one; `None` where there is no such file.
    pub fn read(path: &Path) -> Result<Option<Self>> {
        let text = match fs::read_to_string(path) {
            Err(error) if error.kind() == ErrorKind::NotFound => return Ok(None),
            text => text.with_context(|| format!("cannot read {}", path.display()))?,
        };
        let baseline: Self =
            serde_json::from_str(&text).with_context(|| path.display().to_string())?;
        for variant in &baseline.variants {
            let seeds = variant.seeds.len();
            let fits = |s: &Statistic| s.values.len() == seeds;
            if variant.weights.len() != seeds || !variant.metrics.values().all(fits) {
                bail!(
                    "{}: variant `{}` has {seeds} seeds and another number of values",
                    path.display(),
                    variant.name
                );
            }
        }
        Ok(Some(baseline))
    }

    /// The machines on which the same seed is to give the same bits.
    pub fn machine_class(&self) -> String {
        machine_class(&self.environment, self.instruction_set.as_deref())
    }

    /// Why it cannot be compared with runs of this data and these recipes, if it cannot.
    pub fn refuses(&self, data: &Data, recipes: &[(String, Value)]) -> Option<String> {
        let mut reasons = Vec::new();
        for (what, before, now) in [
            ("dataset", &self.data.name, &data.name),
            ("training data's digest", &self.data.digest, &data.digest),
            (
                "test data's digest",
                &self.data.test_digest,
                &data.test_digest,
            ),
        ] {
            if before != now {
                reasons.push(format!("the {what} is {now}, not {before}"));
            }
        }
        for (name, recipe) in recipes {
            match self.variants.iter().find(|v| v.name == *name) {
                None => reasons.push(format!("the variant `{name}` is not in the baseline")),
                Some(variant) => differences(&variant.recipe, recipe, "", &mut |key| {
                    reasons.push(format!("the recipe of `{name}` differs in {key}"));
                }),
            }
        }
        let named = |v: &&Variant| recipes.iter().any(|(name, _)| *name == v.name);
        for variant in self.variants.iter().filter(|v| !named(v)) {
            let name = &variant.name;
            reasons.push(format!(
                "the variant `{name}` of the baseline is not in the experiment"
            ));
        }
        (!reasons.is_empty()).then(|| reasons.join("; "))
    }
}

impl Data {
    /// That of an outcome.
    pub fn of(data: &Dataset) -> Self {
        Self {
            name: data.name.clone(),
            digest: data.digest.clone(),
            test_digest: data.test_digest.clone(),
        }
    }
}

/// The machines on which the same seed is to give the same bits.
pub fn machine_class(environment: &Environment, instruction_set: Option<&str>) -> String {
    format!(
        "{}, {}, {}, {} threads, {}",
        environment.platform,
        environment.cpu,
        instruction_set.unwrap_or("unknown instruction set"),
        environment.threads,
        environment.device
    )
}

/// Whether `place` is the file of one experiment, and not a folder of them.
pub fn is_file(place: &Path) -> bool {
    place.extension().is_some_and(|e| e == "json")
}

/// The baselines of an experiment with their files: `<experiment>.<tier>.json`, and for further versions of its data
/// `<experiment>.<tier>.<start of the digest>.json`.
pub fn find(place: &Path, experiment: &str, tier: Tier) -> Result<Vec<(PathBuf, Baseline)>> {
    let mut paths = vec![place.to_path_buf()];
    if !is_file(place) {
        let stem = format!("{experiment}.{tier}.");
        let entries = match fs::read_dir(place) {
            Err(error) if error.kind() == ErrorKind::NotFound => return Ok(Vec::new()),
            entries => entries.with_context(|| format!("cannot read {}", place.display()))?,
        };
        paths.clear();
        for entry in entries {
            let name = entry?.file_name();
            let name = name.to_string_lossy();
            if name.starts_with(&stem) && name.ends_with(".json") {
                paths.push(place.join(&*name));
            }
        }
        paths.sort();
    }
    let mut found = Vec::new();
    for path in paths {
        let Some(baseline) = Baseline::read(&path)? else {
            continue;
        };
        ensure!(
            (&*baseline.experiment, baseline.tier) == (experiment, tier),
            "{} is the {} tier of {}",
            path.display(),
            baseline.tier,
            baseline.experiment
        );
        found.push((path, baseline));
    }
    Ok(found)
}

/// Where a new baseline goes, and the one that it takes the place of: that of the same data.
pub fn place_for(
    place: &Path,
    experiment: &str,
    tier: Tier,
    data: &Data,
) -> Result<(PathBuf, Option<Baseline>)> {
    let found = find(place, experiment, tier)?;
    if is_file(place) {
        return Ok((
            place.to_path_buf(),
            found.into_iter().next().map(|(_, b)| b),
        ));
    }
    let first = found.is_empty();
    if let Some((path, baseline)) = found.into_iter().find(|(_, b)| b.data == *data) {
        return Ok((path, Some(baseline)));
    }
    let name = match data.digest.get(..8) {
        Some(digest) if !first => format!("{experiment}.{tier}.{digest}.json"),
        _ => format!("{experiment}.{tier}.json"),
    };
    let path = place.join(name);
    ensure!(
        !path.exists(),
        "{} is of another version of the test data: name another file with --baseline",
        path.display()
    );
    Ok((path, None))
}

/// The folder of the baselines that come with Tallow.
pub fn folder() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("baselines")
}

/// Tells `found` every key whose value differs, with both values.
fn differences(before: &Value, now: &Value, key: &str, found: &mut impl FnMut(String)) {
    let join = |name: &str| match key {
        "" => name.to_string(),
        _ => format!("{key}.{name}"),
    };
    match (before, now) {
        (Value::Object(before), Value::Object(now)) => {
            for (name, value) in before {
                let other = now.get(name).unwrap_or(&Value::Null);
                differences(value, other, &join(name), found);
            }
            for (name, value) in now.iter().filter(|(name, _)| !before.contains_key(*name)) {
                differences(&Value::Null, value, &join(name), found);
            }
        }
        (before, now) if before != now => found(format!("{key}: {now}, not {before}")),
        _ => {}
    }
}
