//! The results files of a folder of pages, by name.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Result, bail, ensure};
use tallow_experiment::{Experiment, builtin, suggest};
use tallow_record::{METRICS, Metric, Results, Tier, Variant};

use super::files::files;
use super::language::Language;

/// All results, and the names of experiments that may have some.
pub struct Store {
    dir: PathBuf,
    results: BTreeMap<String, Results>,
    experiments: Vec<String>,
}

impl Store {
    /// Reads `dir/results/*.json`.
    pub fn open(dir: &Path) -> Result<Self> {
        let mut results = BTreeMap::new();
        for file in results_files(dir)? {
            let path = dir.join(&file);
            let found = Results::read(&path)?;
            let name = file
                .file_stem()
                .unwrap_or_default()
                .to_string_lossy()
                .into_owned();
            let of_tier = format!("{}.{}", found.experiment, found.tier);
            ensure!(
                name == found.experiment || name == of_tier,
                "{}: contains results of the {} tier of `{}`; rename it accordingly",
                path.display(),
                found.tier,
                found.experiment
            );
            results.insert(name, found);
        }
        Ok(Self {
            dir: dir.to_path_buf(),
            results,
            experiments: builtin::names().iter().map(|n| n.to_string()).collect(),
        })
    }

    /// The folder of the pages.
    pub fn dir(&self) -> &Path {
        &self.dir
    }

    /// The page of an experiment: its own, or that of the experiment whose name it extends.
    pub fn page(&self, name: &str, language: Language) -> Option<String> {
        let folder = language.pick("", "zh/");
        let experiment = without_tier(name);
        let shorter = experiment.rsplit_once('-').map(|(shorter, _)| shorter);
        [Some(experiment), shorter]
            .into_iter()
            .flatten()
            .flat_map(|name| {
                [
                    format!("{folder}experiments/{name}.md"),
                    format!("{folder}{name}.md"),
                ]
            })
            .find(|path| self.dir.join(path).is_file())
    }

    /// The first heading of a page.
    pub fn title(&self, page: &Path) -> Option<String> {
        let text = fs::read_to_string(self.dir.join(page)).ok()?;
        let title = text.lines().find_map(|line| line.strip_prefix("# "))?;
        Some(title.trim().to_string())
    }

    /// Position of an experiment's page in the book, to sort by; `usize::MAX` for a page that the book does not have.
    pub fn place(&self, name: &str) -> usize {
        let summary = fs::read_to_string(self.dir.join("SUMMARY.md")).unwrap_or_default();
        self.page(name, Language::English)
            .and_then(|page| summary.find(&format!("({page})")))
            .unwrap_or(usize::MAX)
    }

    /// Question of an experiment without results.
    pub fn question(&self, name: &str) -> Option<String> {
        let experiment = Experiment::load(self.experiment_of(name)?, Tier::Full, &[]).ok()?;
        Some(experiment.question)
    }

    /// The results of this name; `None` for those of an experiment that was not run yet.
    pub fn get(&self, name: &str) -> Result<Option<&Results>> {
        if let Some(results) = self.results.get(name) {
            return Ok(Some(results));
        }
        if self.experiment_of(name).is_some() {
            return Ok(None);
        }
        let known = self.results.keys().chain(&self.experiments);
        let mut known: Vec<&str> = known.map(String::as_str).collect();
        known.sort_unstable();
        known.dedup();
        bail!(suggest::unknown("experiment", name, &known));
    }

    /// The experiment that results of this name are of, if it is one of ours.
    fn experiment_of<'a>(&self, name: &'a str) -> Option<&'a str> {
        let experiment = without_tier(name);
        self.experiments
            .iter()
            .any(|known| known == experiment)
            .then_some(experiment)
    }

    /// Results and experiments without any, by name; of tiers other than the standard one only what there is.
    pub fn all(&self) -> BTreeMap<&str, Option<&Results>> {
        let experiments = self.experiments.iter().map(|name| (name.as_str(), None));
        let mut all: BTreeMap<&str, Option<&Results>> = experiments.collect();
        all.extend(
            self.results
                .iter()
                .map(|(name, results)| (name.as_str(), Some(results))),
        );
        all
    }

    /// Refuses a variant that the results, or the experiment that was not run yet, do not have.
    pub fn check_variants(&self, name: &str, variants: &[&str]) -> Result<()> {
        let known: Vec<String> = match (self.get(name)?, self.experiment_of(name)) {
            (Some(results), _) => results.variants.iter().map(|v| v.name.clone()).collect(),
            (None, Some(experiment)) => {
                let experiment = Experiment::load(experiment, Tier::Full, &[])?;
                experiment.variants.into_iter().map(|v| v.name).collect()
            }
            (None, None) => return Ok(()),
        };
        let known: Vec<&str> = known.iter().map(String::as_str).collect();
        for variant in variants {
            if !known.contains(variant) {
                bail!(suggest::unknown(
                    &format!("variant of {name}"),
                    variant,
                    &known
                ));
            }
        }
        Ok(())
    }
}

/// The results files of experiments, `results/*.json`, sorted, as paths below `dir`. Folders in `results` have files of other kinds.
pub fn results_files(dir: &Path) -> Result<Vec<PathBuf>> {
    let folder = Path::new("results");
    let mut found = files(dir, folder, "json")?;
    found.retain(|file| file.parent() == Some(folder));
    Ok(found)
}

/// The experiment in a name such as `residual.full`. No experiment's name has a point.
pub fn without_tier(name: &str) -> &str {
    let tiers = Tier::ALL.map(Tier::as_str);
    match name.rsplit_once('.') {
        Some((experiment, tier)) if tiers.contains(&tier) => experiment,
        _ => name,
    }
}

/// The metric of this name.
pub fn find_metric(name: &str) -> Result<&'static Metric> {
    let recorded = |metric: &&Metric| metric.per_epoch || metric.in_summary;
    let known: Vec<&str> = (METRICS.iter().filter(recorded))
        .map(|metric| metric.name)
        .collect();
    match Metric::find(name).filter(recorded) {
        Some(metric) => Ok(metric),
        None => bail!(suggest::unknown("metric", name, &known)),
    }
}

/// The variants of these names, in this order; all of them when no name is given.
pub fn choose<'a>(results: &'a Results, names: &[&str]) -> Vec<&'a Variant> {
    if names.is_empty() {
        return results.variants.iter().collect();
    }
    names
        .iter()
        .filter_map(|name| results.variant(name))
        .collect()
}

/// The mean of a metric of a variant, or a fact for the variant `facts`; `None` for a variant that is not there.
pub fn figure(results: &Results, variant: &str, metric: &str) -> Option<f64> {
    if variant == "facts" {
        return results.facts.get(metric).copied();
    }
    let metrics = &results.variant(variant)?.metrics;
    Some(
        metrics
            .get(metric)
            .map_or(f64::NAN, |statistic| statistic.mean),
    )
}
