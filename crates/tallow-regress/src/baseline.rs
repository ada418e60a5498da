//! Baselines: recorded results of an experiment, `<experiment>.<tier>.json`.

use std::collections::BTreeMap;
use std::fs;
use std::io::ErrorKind;
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};
use serde_json::Value;
use tallow_record::{Environment, Statistic, Tier};

use crate::error::{Error, Result, io};
use crate::guard::GUARDS;
use crate::measured::Measured;
use crate::plan::Plan;
use crate::recipe::{comparable, differences};
use crate::trace::Trace;

/// Recorded results of an experiment, with which later runs are compared.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Baseline {
    /// Name of the experiment.
    pub experiment: String,
    /// Tier of the experiment.
    pub tier: Tier,
    /// Reasons for which it was made and renewed, the newest last.
    pub updates: Vec<Update>,
    /// Data of the runs.
    pub data: Data,
    /// Machine and software of the runs.
    pub environment: Environment,
    /// Instruction set of the operators, if known.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub instruction_set: Option<String>,
    /// Variants, in the order of the experiment.
    pub variants: Vec<Variant>,
}

/// Reason for which a baseline was made or renewed.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Update {
    /// Reason, as given by the author.
    pub reason: String,
    /// Commit of the source code, with `-dirty` if files had been changed.
    pub commit: Option<String>,
}

/// Data of a baseline.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Data {
    /// Name of the dataset.
    pub name: String,
    /// SHA-256 of the decoded training images and labels.
    pub digest: String,
    /// SHA-256 of the decoded test images and labels.
    pub test_digest: String,
}

/// Results from which a baseline is made.
#[derive(Clone, Debug)]
pub struct Record {
    /// Data of the runs.
    pub data: Data,
    /// Machine and software of the runs.
    pub environment: Environment,
    /// Instruction set of the operators, if known.
    pub instruction_set: Option<String>,
    /// Results by variant.
    pub measured: Vec<Measured>,
    /// Traces by variant, of those that have one.
    pub traces: BTreeMap<String, Trace>,
}

/// Recorded results of a variant.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Variant {
    /// Name of the variant.
    pub name: String,
    /// Name of its model.
    pub model: String,
    /// Complete recipe: all that determines the result, except the seed.
    pub recipe: Value,
    /// Seeds of the runs.
    pub seeds: Vec<u64>,
    /// Test accuracy for the metric `epochs_to_threshold`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub threshold: Option<f64>,
    /// Values over the seeds, by metric.
    pub metrics: BTreeMap<String, Statistic>,
    /// SHA-256 of the final weights of each seed, if they were kept.
    pub weights: Vec<Option<String>>,
    /// Trace, if there is one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub trace: Option<Trace>,
}

impl Variant {
    fn of(measured: &Measured, traces: &BTreeMap<String, Trace>) -> Self {
        let threshold = measured.threshold();
        Self {
            name: measured.name.clone(),
            model: measured.model.clone(),
            recipe: measured.recipe.clone(),
            seeds: measured.seeds.clone(),
            threshold,
            metrics: measured.statistics(threshold),
            weights: measured.weights.clone(),
            trace: traces.get(&measured.name).cloned(),
        }
    }

    /// Index of a seed.
    pub fn place_of(&self, seed: u64) -> Option<usize> {
        self.seeds.iter().position(|&s| s == seed)
    }

    /// SHA-256 of the final weights of a seed.
    pub fn weights_of(&self, seed: u64) -> Option<&str> {
        self.weights.get(self.place_of(seed)?)?.as_deref()
    }
}

impl Baseline {
    /// Makes a baseline that keeps the reasons of the one before it.
    pub fn new(plan: &Plan, record: Record, before: Option<&Self>, reason: &str) -> Self {
        let mut updates = before.map(|b| b.updates.clone()).unwrap_or_default();
        updates.push(Update {
            reason: reason.to_string(),
            commit: record.environment.commit.clone(),
        });
        Self {
            experiment: plan.experiment.clone(),
            tier: plan.tier,
            updates,
            data: record.data,
            environment: record.environment,
            instruction_set: record.instruction_set,
            variants: (record.measured.iter())
                .map(|measured| Variant::of(measured, &record.traces))
                .collect(),
        }
    }

    /// Replaces the traces, and keeps everything else: for a change that a trace shows and no metric.
    pub fn renew_traces(
        &mut self,
        mut traces: BTreeMap<String, Trace>,
        reason: &str,
        commit: Option<String>,
    ) {
        for variant in &mut self.variants {
            variant.trace = traces.remove(&variant.name);
        }
        self.updates.push(Update {
            reason: reason.to_string(),
            commit,
        });
    }

    /// Variant of this name.
    pub fn variant(&self, name: &str) -> Option<&Variant> {
        self.variants.iter().find(|variant| variant.name == name)
    }

    /// Checks that every metric is there for every variant; the speed may be missing.
    ///
    /// # Errors
    ///
    /// [`Error::Incomplete`], with the first metric that is missing: it would not be compared.
    pub fn check_complete(&self) -> Result<()> {
        for variant in &self.variants {
            let missing = GUARDS
                .iter()
                .filter(|guard| !guard.of_machine)
                .find(|guard| !variant.metrics.contains_key(&*guard.metric));
            if let Some(guard) = missing {
                return Err(Error::Incomplete {
                    experiment: self.experiment.clone(),
                    variant: variant.name.clone(),
                    metric: guard.metric.to_string(),
                });
            }
        }
        Ok(())
    }

    /// Reads a file; `None` if it does not exist.
    ///
    /// # Errors
    ///
    /// [`Error::Io`] or [`Error::Line`], and [`Error::File`] if a variant's numbers of seeds and of values differ.
    pub fn read(path: &Path) -> Result<Option<Self>> {
        let text = match fs::read_to_string(path) {
            Err(error) if error.kind() == ErrorKind::NotFound => return Ok(None),
            text => text.map_err(io(path))?,
        };
        let baseline: Self =
            serde_json::from_str(&text).map_err(|error| Error::json(path, &error))?;
        for variant in &baseline.variants {
            let seeds = variant.seeds.len();
            let fits = |s: &Statistic| s.values.len() == seeds;
            if variant.weights.len() != seeds || !variant.metrics.values().all(fits) {
                return Err(Error::File {
                    path: path.to_path_buf(),
                    message: format!(
                        "variant `{}` has {seeds} seeds; expected {seeds} values of each metric and {seeds} weights",
                        variant.name
                    ),
                });
            }
        }
        Ok(Some(baseline))
    }

    /// Writes the file, atomically.
    ///
    /// # Errors
    ///
    /// [`Error::Record`] if the file cannot be written.
    pub fn write(&self, path: &Path) -> Result<()> {
        Ok(tallow_record::write_json(path, self)?)
    }

    /// Machines on which the same seed gives the same bits.
    pub fn machine_class(&self) -> String {
        machine_class(&self.environment, self.instruction_set.as_deref())
    }

    /// Reasons for which runs of this data and these recipes cannot be compared with the baseline; `None` if they can.
    ///
    /// `normalize` fills the defaults into a recipe, so that a key at its default equals a missing key.
    pub fn refuses(
        &self,
        data: &Data,
        plan: &Plan,
        normalize: impl Fn(&Value) -> Value,
    ) -> Option<String> {
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
        let complete = |recipe: &Value| comparable(normalize(recipe));
        for planned in &plan.variants {
            let name = &planned.name;
            match self.variant(name) {
                None => reasons.push(format!("the variant `{name}` is not in the baseline")),
                Some(variant) => {
                    let keys = differences(&complete(&variant.recipe), &complete(&planned.recipe));
                    let differs = |key| format!("the recipe of `{name}` differs in {key}");
                    reasons.extend(keys.into_iter().map(differs));
                }
            }
        }
        for variant in &self.variants {
            if plan.variant(&variant.name).is_none() {
                reasons.push(format!(
                    "the variant `{}` of the baseline is not in the experiment",
                    variant.name
                ));
            }
        }
        (!reasons.is_empty()).then(|| reasons.join("; "))
    }
}

/// Class of the machines on which the same seed gives the same bits: operating system, processor, instruction set, threads and device.
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

/// Whether `place` names a baseline file, and not a folder of them: its extension is `json`.
pub fn is_file(place: &Path) -> bool {
    place.extension().is_some_and(|e| e == "json")
}

/// Finds the baselines of an experiment with their files: `<experiment>.<tier>.json`, and for other versions of its data
/// `<experiment>.<tier>.<first digits of the digest>.json`. `place` is a folder, or the file of one baseline.
///
/// # Errors
///
/// [`Error::Io`], [`Error::Line`] and [`Error::File`], also if a file is of another experiment or tier.
pub fn find(place: &Path, experiment: &str, tier: Tier) -> Result<Vec<(PathBuf, Baseline)>> {
    let mut paths = vec![place.to_path_buf()];
    if !is_file(place) {
        let stem = format!("{experiment}.{tier}.");
        let entries = match fs::read_dir(place) {
            Err(error) if error.kind() == ErrorKind::NotFound => return Ok(Vec::new()),
            entries => entries.map_err(io(place))?,
        };
        paths.clear();
        for entry in entries {
            let name = entry.map_err(io(place))?.file_name();
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
        if (&*baseline.experiment, baseline.tier) != (experiment, tier) {
            return Err(Error::File {
                message: format!(
                    "expected a baseline of {experiment}, {tier} tier; found one of {}, {} tier",
                    baseline.experiment, baseline.tier
                ),
                path,
            });
        }
        found.push((path, baseline));
    }
    Ok(found)
}

/// File for a new baseline, and the baseline of the same data that it replaces.
///
/// # Errors
///
/// Those of [`find`], and [`Error::File`] if the file would replace a baseline of other test data.
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
    if path.exists() {
        return Err(Error::File {
            path,
            message: "it has other test data; name another file with --baseline".to_string(),
        });
    }
    Ok((path, None))
}
