//! Baselines of results of other programs.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::io::ErrorKind;
use std::path::Path;

use serde::{Deserialize, Serialize};
use tallow_record::Statistic;

use super::direction::{Direction, Directions};
use super::results::ExternalResults;
use crate::baseline::Update;
use crate::error::{Error, Result, io};

/// Recorded results of another program, with which later results are compared.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ExternalBaseline {
    /// Reasons for which it was made and renewed, the newest last.
    pub updates: Vec<Update>,
    /// Direction of improvement of each metric.
    pub better: BTreeMap<String, Direction>,
    /// Variants.
    pub variants: Vec<ExternalBaselineVariant>,
}

/// Recorded results of a variant.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ExternalBaselineVariant {
    /// Name of the variant.
    pub name: String,
    /// Seeds of the runs; at least two.
    pub seeds: Vec<u64>,
    /// Values over the seeds, by metric.
    pub metrics: BTreeMap<String, Statistic>,
}

/// Metrics to compare, and their directions.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Selection {
    /// Directions that differ from the metric's usual one.
    pub directions: Directions,
    /// Metrics to compare; all if empty.
    pub metrics: Vec<String>,
    /// Whether metrics that depend on the speed of the machine are left out.
    pub no_speed: bool,
}

impl Selection {
    /// Checks that every name is that of a metric.
    ///
    /// # Errors
    ///
    /// [`Error::UnknownMetric`], with the names that are known; [`Error::TwoDirections`] for a metric with both directions.
    pub(super) fn check(&self, known: &BTreeSet<&str>) -> Result<()> {
        let Directions { lower, higher } = &self.directions;
        let mut names = self.metrics.iter().chain(lower).chain(higher);
        if let Some(name) = names.find(|name| !known.contains(name.as_str())) {
            let known: Vec<&str> = known.iter().copied().collect();
            return Err(Error::UnknownMetric {
                name: name.clone(),
                known: known.join(", "),
            });
        }
        match lower.iter().find(|name| higher.contains(name)) {
            Some(name) => Err(Error::TwoDirections(name.clone())),
            None => Ok(()),
        }
    }

    /// Whether a metric is compared, as far as its name decides.
    pub(super) fn has(&self, metric: &str) -> bool {
        self.metrics.is_empty() || self.metrics.iter().any(|name| name == metric)
    }
}

impl ExternalBaseline {
    /// Makes a baseline that keeps the reasons of the one before it.
    ///
    /// # Errors
    ///
    /// [`Error::Results`] if a variant has a single seed, which says nothing about the spread, a value is missing or not finite, or no
    /// metric has a direction of improvement. Those of unknown names in `selection`.
    pub fn new(
        results: &ExternalResults,
        selection: &Selection,
        before: Option<&Self>,
        reason: &str,
        commit: Option<String>,
    ) -> Result<Self> {
        let names: BTreeSet<&str> = (results.variants.iter())
            .flat_map(|variant| variant.metrics.keys().map(String::as_str))
            .collect();
        selection.check(&names)?;
        let better: BTreeMap<String, Direction> = (names.into_iter())
            .filter(|name| selection.has(name))
            .filter_map(|name| Some((name.to_string(), selection.directions.of(name)?)))
            .collect();
        if better.is_empty() {
            return Err(Error::Results(
                "no metric has a direction of improvement; give one with --lower or --higher"
                    .to_string(),
            ));
        }
        let mut updates = before.map(|b| b.updates.clone()).unwrap_or_default();
        updates.push(Update {
            reason: reason.to_string(),
            commit,
        });
        let variants = results.variants.iter().map(|variant| {
            if variant.seeds.len() < 2 {
                return Err(Error::Results(format!(
                    "`{}` has one seed; a baseline needs at least two, and better twenty, to know the spread",
                    variant.name
                )));
            }
            let mut metrics = BTreeMap::new();
            for (name, values) in &variant.metrics {
                if !better.contains_key(name) {
                    continue;
                }
                let missing = values.iter().position(Option::is_none);
                if let Some(at) = missing {
                    return Err(Error::Results(format!(
                        "`{name}` of `{}` is missing or not finite for seed {}; expected a number for every seed \
                         (choose the metrics with --metric)",
                        variant.name, variant.seeds[at]
                    )));
                }
                let values: Vec<f64> = values.iter().copied().flatten().collect();
                if let Some(statistic) = Statistic::of(&values) {
                    metrics.insert(name.clone(), statistic);
                }
            }
            Ok(ExternalBaselineVariant {
                name: variant.name.clone(),
                seeds: variant.seeds.clone(),
                metrics,
            })
        });
        Ok(Self {
            updates,
            variants: variants.collect::<Result<_>>()?,
            better,
        })
    }

    /// Reads a file; `None` if it does not exist.
    ///
    /// # Errors
    ///
    /// [`Error::Io`] or [`Error::Line`], and [`Error::File`] if a variant's numbers of seeds and of values differ, or a metric has no
    /// direction.
    pub fn read(path: &Path) -> Result<Option<Self>> {
        let text = match fs::read_to_string(path) {
            Err(error) if error.kind() == ErrorKind::NotFound => return Ok(None),
            text => text.map_err(io(path))?,
        };
        let baseline: Self =
            serde_json::from_str(&text).map_err(|error| Error::json(path, &error))?;
        let fail = |message: String| Error::File {
            path: path.to_path_buf(),
            message,
        };
        for variant in &baseline.variants {
            for (name, statistic) in &variant.metrics {
                let (seeds, values) = (variant.seeds.len(), statistic.values.len());
                if seeds != values {
                    let variant = &variant.name;
                    return Err(fail(format!(
                        "`{name}` of `{variant}`: expected {seeds} values, one per seed; found {values}"
                    )));
                }
                if !baseline.better.contains_key(name) {
                    return Err(fail(format!(
                        "expected a direction of `{name}` in `better`, found none"
                    )));
                }
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
}
