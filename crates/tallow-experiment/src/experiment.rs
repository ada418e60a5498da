//! Experiments: TOML files parsed, checked and worked out into one recipe per variant.

use std::fs;
use std::path::{Path, PathBuf};

use tallow_datasets::{PictureOptions, Streaming};
pub use tallow_record::Tier;
use tallow_record::{ClaimResult, METRICS, Published};
use tallow_regress::{Claim, FACTS, Figure, Rule};
use toml::Table;

use crate::analysis::Analysis;
use crate::builtin;
use crate::error::{Context, Error, Result};
use crate::experiment_file::{File, FileVariant};
use crate::keys::{self, Assignment};
use crate::monitoring::Validation;
use crate::recipe::Recipe;
use crate::statement::{FileStatement, Statement};
use crate::sweep::Search;
use crate::tiers::FileTier;

/// Experiment at one tier: each variant's changes merged into the base recipe.
#[derive(Debug, Clone)]
pub struct Experiment {
    /// Name: that of the file without `.toml`.
    pub name: String,
    /// Question that the experiment answers.
    pub question: String,
    /// Tier.
    pub tier: Tier,
    /// Tiers of the experiment, each with its seconds on two cores if they are known.
    pub tiers: Vec<(Tier, Option<f64>)>,
    /// Default seeds.
    pub seeds: Vec<u64>,
    /// Variants in the order of the file; at least one.
    pub variants: Vec<Variant>,
    /// All variants of the file, also those that [`keep_only`](Self::keep_only) has left out.
    pub(crate) all: Vec<Variant>,
    /// Claims about the metrics of the variants.
    pub claims: Vec<Claim>,
    /// Statements of the write-up, with the claims that decide them.
    pub statements: Vec<Statement>,
    /// Analyses besides training; `facts` in the file.
    pub analyses: Vec<Analysis>,
    /// Search over settings, for [`Sweep`](crate::Sweep).
    pub(crate) search: Option<Search>,
    /// Origin of the file.
    pub source: Source,
    /// TOML as read.
    pub text: String,
}

/// Origin of an experiment.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Source {
    /// Experiment of this crate.
    BuiltIn,
    /// File at this path.
    File(PathBuf),
    /// TOML given as text.
    Text,
}

/// Variant of an experiment.
#[derive(Debug, Clone)]
pub struct Variant {
    /// Name, unique in the experiment.
    pub name: String,
    /// Complete recipe, with every default filled in.
    pub recipe: Recipe,
    /// Published results of the same setting.
    pub published: Vec<Published>,
    /// Recipe as it stands in the file, with the changes of variant and tier: without defaults and assignments.
    pub(crate) tables: Table,
}

fn refuse<T>(message: impl Into<String>) -> Result<T> {
    Err(Error::Recipe(message.into()))
}

/// Error about a name that is no experiment's. A folder is taken for one of pictures.
fn no_experiment(name: &str) -> Error {
    let path = Path::new(name);
    if path.is_dir() {
        return Error::Recipe(format!(
            "{name} is a folder, and an experiment is a TOML file; for a folder of pictures, `tallow train {name}` chooses a recipe and runs it"
        ));
    }
    if path.is_file() {
        return Error::Recipe(format!(
            "{name} is no experiment: expected a file whose name ends in .toml, or the name of a built-in experiment (`tallow list`)"
        ));
    }
    Error::unknown("experiment", name, builtin::names())
}

impl Experiment {
    /// Judges the claims and the statements by the rule of the tier. `figure(variant, metric)` has the values of a metric; `None` if the
    /// variant was not run.
    pub fn judge(
        &self,
        figure: impl Fn(&str, &str) -> Option<Figure>,
    ) -> (Vec<ClaimResult>, Vec<tallow_record::Statement>) {
        let rule = Rule::of(self.tier);
        let claims = self.claims.iter().map(|claim| claim.judge(rule, &figure));
        let statements = self.statements.iter();
        let statements = statements.map(|statement| statement.judge(rule, &figure));
        (claims.collect(), statements.collect())
    }

    /// Loads the built-in experiment of this name, or the file if `name` ends in `.toml`, at one tier, with the assignments
    /// `sets` (each `key=value`) applied to every variant.
    pub fn load(name: &str, tier: Tier, sets: &[String]) -> Result<Self> {
        match builtin::text(name) {
            Some(text) => {
                let mut experiment =
                    Self::parse(name, text, tier, sets).context(|| format!("{name}.toml"))?;
                experiment.source = Source::BuiltIn;
                Ok(experiment)
            }
            None if name.ends_with(".toml") => Self::read(Path::new(name), tier, sets),
            None => Err(no_experiment(name)),
        }
    }

    /// Reads a file. The experiment's name is the file's without its extension.
    pub fn read(path: &Path, tier: Tier, sets: &[String]) -> Result<Self> {
        let text = fs::read_to_string(path).map_err(Error::io("read", path))?;
        let stem = path.file_stem().unwrap_or_default().to_string_lossy();
        let experiment = Self::parse(&stem, &text, tier, sets);
        let mut experiment = experiment.context(|| path.display().to_string())?;
        experiment.source = Source::File(path.to_path_buf());
        Ok(experiment)
    }

    /// Parses TOML.
    ///
    /// ```
    /// use tallow_experiment::{Experiment, Tier};
    ///
    /// let text = r#"
    ///     question = "Does a convolution help?"
    ///     claims = ["cnn > mlp"]
    ///
    ///     [data]
    ///     dataset = "fashion-mnist-sample"
    ///     transforms = [{ name = "to-tensor" }]
    ///
    ///     [train]
    ///     epochs = 1
    ///     batch_size = 64
    ///     optimizer = { name = "sgd", lr = 0.05 }
    ///
    ///     [[variants]]
    ///     name = "mlp"
    ///     model.name = "mlp"
    ///
    ///     [[variants]]
    ///     name = "cnn"
    ///     model.name = "cnn"
    /// "#;
    /// let sets = ["train.epochs=3".to_string()];
    /// let experiment = Experiment::parse("convolution", text, Tier::Full, &sets)?;
    /// assert_eq!(experiment.variants[1].recipe.train.epochs, 3);
    /// # Ok::<(), tallow_experiment::Error>(())
    /// ```
    pub fn parse(name: &str, text: &str, tier: Tier, sets: &[String]) -> Result<Self> {
        let file: File =
            toml::from_str(text).map_err(|error| Error::Recipe(keys::explain_file(&error)))?;
        check_seeds(&file.seeds)?;
        if file.variants.is_empty() {
            return refuse("there are no variants");
        }
        let changes = match file.tiers.get(tier) {
            Some(changes) => changes.clone(),
            None if tier == Tier::Full => FileTier::default(),
            None => return refuse(format!("there is no {tier} tier of this experiment")),
        };
        let sets = Assignment::parse_all(sets)?;
        let base = Table::from_iter([
            ("data".to_string(), file.data.into()),
            ("model".to_string(), file.model.into()),
            ("train".to_string(), file.train.into()),
        ]);
        let variants = variants(file.variants, &base, &changes, &sets)?;

        let search = file.sweep.map(|sweep| sweep.read()).transpose()?;

        let known = Known::new(&variants, &file.facts);
        let claims = changes.claims.unwrap_or(file.claims);
        let claims = claims.iter().map(|text| known.claim(text));
        let claims = claims.collect::<Result<Vec<_>>>()?;
        let statement = |s: FileStatement| s.read(|text| known.claim(text));
        let mut statements = (file.statements.into_iter())
            .map(statement)
            .collect::<Result<Vec<_>>>()?;
        // A smoke run is too short to decide them, and other tiers may be.
        if !changes.statements.unwrap_or(tier != Tier::Smoke) {
            statements.clear();
        }
        let mut experiment = Self {
            name: name.to_string(),
            question: file.question,
            tier,
            tiers: file.tiers.list(),
            seeds: changes.seeds.unwrap_or(file.seeds),
            statements,
            analyses: file.facts,
            search,
            claims,
            all: variants.clone(),
            variants,
            source: Source::Text,
            text: text.to_string(),
        };
        check_seeds(&experiment.seeds)?;
        experiment
            .keep_only(&changes.only)
            .context(|| format!("tiers.{tier}.only"))?;
        Ok(experiment)
    }

    /// Built-in experiments of a tier, in the order of their names; of `only` (names or paths of files) if that is not empty.
    pub fn of_tier(tier: Tier, only: &[String], sets: &[String]) -> Result<Vec<Self>> {
        for name in only {
            if !name.ends_with(".toml") && builtin::text(name).is_none() {
                return Err(Error::unknown("experiment", name, builtin::names()));
            }
        }
        let mut experiments = Vec::new();
        let names = builtin::names().iter().copied();
        let files = (only.iter()).filter(|name| builtin::text(name).is_none());
        for name in names.chain(files.map(String::as_str)) {
            let named = only.iter().any(|only| only == name);
            if !only.is_empty() && !named {
                continue;
            }
            let full = Self::load(name, Tier::Full, sets)?;
            if full.tiers.iter().any(|(has, _)| *has == tier) {
                experiments.push(Self::load(name, tier, sets)?);
            } else if named {
                return refuse(format!("{name} has no {tier} tier"));
            }
        }
        if experiments.is_empty() {
            return refuse(format!("no experiment has a {tier} tier"));
        }
        Ok(experiments)
    }

    /// Name of the dataset, which all variants share.
    pub fn dataset(&self) -> &str {
        (self.variants.first()).map_or("", |variant| &variant.recipe.data.dataset)
    }

    /// Decoding and streaming of its pictures.
    pub(crate) fn pictures(&self) -> (PictureOptions, Streaming) {
        let first = self.variants.first();
        first.map_or_else(Default::default, |variant| {
            let data = &variant.recipe.data;
            (data.pictures, data.streaming())
        })
    }

    /// Part of the training images that is its test data, if it has no test split.
    pub(crate) fn test(&self) -> Option<&Validation> {
        self.variants.first()?.recipe.data.test.as_ref()
    }

    /// Variant of this name.
    pub fn variant(&self, name: &str) -> Option<&Variant> {
        self.variants.iter().find(|variant| variant.name == name)
    }

    /// Variants and seeds of all runs, in their order.
    pub(crate) fn runs(&self) -> impl Iterator<Item = (&Variant, u64)> {
        let variants = self.variants.iter();
        variants.flat_map(|variant| self.seeds.iter().map(move |&seed| (variant, seed)))
    }

    /// Keeps the variants of these names; all of them if `names` is empty. Fails for an unknown name.
    pub fn keep_only(&mut self, names: &[String]) -> Result<()> {
        let known: Vec<&str> = self.variants.iter().map(|v| v.name.as_str()).collect();
        for name in names {
            if !known.contains(&name.as_str()) {
                return Err(Error::unknown("variant", name, &known));
            }
        }
        if !names.is_empty() {
            self.variants.retain(|v| names.contains(&v.name));
        }
        Ok(())
    }
}

/// Merges the changes of each variant, of the tier and of the assignments into the base recipe, in that order.
fn variants(
    variants: Vec<FileVariant>,
    base: &Table,
    changes: &FileTier,
    sets: &[Assignment],
) -> Result<Vec<Variant>> {
    let mut done: Vec<Variant> = Vec::new();
    for variant in variants {
        check_variant_name(&variant.name)?;
        if done.iter().any(|before| before.name == variant.name) {
            return refuse(format!("two variants are named `{}`", variant.name));
        }
        let mut merged = base.clone();
        let tables = [
            ("data", variant.data),
            ("model", variant.model),
            ("train", variant.train),
            ("data", changes.data.clone()),
            ("model", changes.model.clone()),
            ("train", changes.train.clone()),
        ];
        for (key, table) in tables {
            keys::merge(&mut merged, key, table.into());
        }
        let recipe =
            keys::recipe(merged.clone(), sets).context(|| format!("variant `{}`", variant.name))?;
        done.push(Variant {
            name: variant.name,
            recipe,
            published: variant.published,
            tables: merged,
        });
    }
    let first = done.first().map(|variant| &variant.recipe.data.dataset);
    let other = (done.iter()).find(|variant| Some(&variant.recipe.data.dataset) != first);
    if let (Some(first), Some(other)) = (first, other) {
        return refuse(format!(
            "variant `{}` uses dataset `{}` and the first one `{first}`: an experiment has one dataset",
            other.name, other.recipe.data.dataset
        ));
    }
    let first = done.first().map(|variant| &variant.recipe.data.test);
    if let Some(other) = done.iter().find(|v| Some(&v.recipe.data.test) != first) {
        return refuse(format!(
            "variant `{}` has another data.test than the first one: an experiment has one test set",
            other.name
        ));
    }
    let first = done.first().map(|variant| variant.recipe.data.pictures);
    if let Some(other) = done.iter().find(|v| Some(v.recipe.data.pictures) != first) {
        return refuse(format!(
            "variant `{}` has other data.pictures than the first one: an experiment decodes its pictures in one way",
            other.name
        ));
    }
    let first = done.first().map(|variant| variant.recipe.data.streaming());
    if let Some(other) = done
        .iter()
        .find(|v| Some(v.recipe.data.streaming()) != first)
    {
        return refuse(format!(
            "variant `{}` has another data.streaming or data.shuffle_window than the first one: an experiment reads its pictures in one way",
            other.name
        ));
    }
    Ok(done)
}

/// Names that claims may contain.
struct Known<'a> {
    variants: Vec<&'a str>,
    figures: Vec<&'static str>,
    metrics: Vec<&'static str>,
}

impl<'a> Known<'a> {
    fn new(variants: &'a [Variant], analyses: &[Analysis]) -> Self {
        let figures = analyses.iter().flat_map(|analysis| analysis.names());
        Self {
            variants: variants.iter().map(|v| v.name.as_str()).collect(),
            figures: figures.copied().collect(),
            metrics: (METRICS.iter())
                .filter(|metric| metric.is_claimable())
                .map(|metric| metric.name)
                .collect(),
        }
    }

    fn claim(&self, text: &str) -> Result<Claim> {
        let claim = Claim::parse(text)?;
        for (variant, metric) in claim.metrics() {
            let (kind, word, known) = if variant == FACTS {
                ("fact", metric, &self.figures)
            } else if !self.variants.contains(&variant) {
                ("variant", variant, &self.variants)
            } else {
                ("metric", metric, &self.metrics)
            };
            if !known.contains(&word) {
                let error = Error::unknown(kind, word, known);
                return refuse(format!("claim `{text}`: {error}"));
            }
        }
        Ok(claim)
    }
}

/// A seed that comes twice gives the same run twice, which no statistic should count as two.
fn check_seeds(seeds: &[u64]) -> Result<()> {
    if seeds.is_empty() {
        return refuse("`seeds` is empty");
    }
    let mut numbered = seeds.iter().enumerate();
    match numbered.find(|(n, seed)| seeds[..*n].contains(seed)) {
        Some((_, seed)) => refuse(format!("`seeds` has {seed} twice")),
        None => Ok(()),
    }
}

/// Names of variants are parts of claims and of folder names.
fn check_variant_name(name: &str) -> Result<()> {
    let allowed = |c: char| c.is_ascii_alphanumeric() || c == '-' || c == '_';
    if name.starts_with(|c: char| c.is_ascii_alphabetic()) && name.chars().all(allowed) {
        return Ok(());
    }
    refuse(format!(
        "variant name `{name}`: letters, digits, - and _ only, a letter first"
    ))
}

#[cfg(test)]
mod tests;
