//! Results of another program, by variant and seed.

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;

use super::run::ExternalRun;
use super::{csv, folder};
use crate::error::{Error, Result, io};

/// Results of another program: the final metrics of some runs, by variant and seed.
#[derive(Clone, Debug, PartialEq)]
pub struct ExternalResults {
    /// Variants, in the order in which they were found.
    pub variants: Vec<ExternalVariant>,
}

/// Results of a variant.
#[derive(Clone, Debug, PartialEq)]
pub struct ExternalVariant {
    /// Name of the variant; `default` if the results name none.
    pub name: String,
    /// Seeds of the runs, in ascending order.
    pub seeds: Vec<u64>,
    /// Value of each metric for each seed; `None` if it is missing or not finite. A metric without any number is left out.
    pub metrics: BTreeMap<String, Vec<Option<f64>>>,
}

impl ExternalResults {
    /// Reads files and folders. See the crate's documentation for the formats.
    ///
    /// # Errors
    ///
    /// [`Error::Io`], [`Error::Line`] with the line, what was expected and what was found, and [`Error::File`] if there are no runs,
    /// a seed is unknown, or two runs of a variant have the same seed.
    pub fn read<P: AsRef<Path>>(paths: &[P]) -> Result<Self> {
        let mut runs = Vec::new();
        for path in paths.iter().map(AsRef::as_ref) {
            if path.is_dir() {
                runs.extend(folder::read(path)?);
                continue;
            }
            let text = fs::read_to_string(path).map_err(io(path))?;
            match path.extension().and_then(|e| e.to_str()) {
                Some("csv") => runs.extend(csv::read(path, &text)?),
                Some("json" | "jsonl" | "ndjson") => runs.push(folder::read_file(path, &text)?),
                _ => {
                    return Err(Error::File {
                        path: path.to_path_buf(),
                        message: "expected a folder of runs, or a file .csv, .jsonl or .json"
                            .to_string(),
                    });
                }
            }
            if runs.is_empty() {
                return Err(Error::File {
                    path: path.to_path_buf(),
                    message: "expected results, found none".to_string(),
                });
            }
        }
        Self::of_runs(runs)
    }

    /// Variant of this name.
    pub fn variant(&self, name: &str) -> Option<&ExternalVariant> {
        self.variants.iter().find(|variant| variant.name == name)
    }

    fn of_runs(mut runs: Vec<ExternalRun>) -> Result<Self> {
        let mut names: Vec<String> = Vec::new();
        for run in &runs {
            if !names.contains(&run.variant) {
                names.push(run.variant.clone());
            }
        }
        runs.sort_by_key(|run| run.seed);
        let variant = |name: String| {
            let runs: Vec<&ExternalRun> = runs.iter().filter(|run| run.variant == name).collect();
            if let Some(pair) = runs.windows(2).find(|pair| pair[0].seed == pair[1].seed) {
                return Err(Error::File {
                    path: pair[1].source.clone().into(),
                    message: format!(
                        "seed {} of the variant `{name}` is also in {}; expected one run per seed",
                        pair[1].seed, pair[0].source
                    ),
                });
            }
            let mut metrics: BTreeMap<String, Vec<Option<f64>>> = BTreeMap::new();
            for name in runs.iter().flat_map(|run| run.metrics.keys()) {
                if !metrics.contains_key(name) {
                    let value = |run: &&ExternalRun| run.metrics.get(name).copied().flatten();
                    metrics.insert(name.clone(), runs.iter().map(value).collect());
                }
            }
            metrics.retain(|_, values| values.iter().any(Option::is_some));
            Ok(ExternalVariant {
                seeds: runs.iter().map(|run| run.seed).collect(),
                name,
                metrics,
            })
        };
        Ok(Self {
            variants: names.into_iter().map(variant).collect::<Result<_>>()?,
        })
    }
}
