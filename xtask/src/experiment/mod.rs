//! Experiments as data: finding, reading and checking `experiments/*.toml`.

mod keys;
mod recipe;
mod statement;
mod tier;

use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail, ensure};
use serde::Deserialize;
use toml::Table;

use crate::claims::{Claim, FACTS, METRICS};
use crate::facts::Fact;
use crate::suggest;

pub use recipe::{Data, Recipe};
use statement::FileStatement;
pub use statement::{Judged, Statement};
pub use tallow_report::results::Published;
pub use tier::Tier;
use tier::{FileTier, FileTiers};

/// An experiment as run: the changes of its variants worked into the base recipe.
#[derive(Debug, Clone)]
pub struct Experiment {
    /// The file's name without `.toml`.
    pub name: String,
    /// What it asks.
    pub question: String,
    /// How much of it this is.
    pub tier: Tier,
    /// The tiers that it has, each with its seconds on two cores where they are known.
    pub tiers: Vec<(Tier, Option<f64>)>,
    /// Seeds to run when none are given.
    pub seeds: Vec<u64>,
    /// In the file's order; at least one.
    pub variants: Vec<Variant>,
    /// What must hold.
    pub claims: Vec<Claim>,
    /// What the write-up says, and what decides whether it is so.
    pub statements: Vec<Statement>,
    /// What else is to be worked out.
    pub facts: Vec<Fact>,
}

/// One way of running the experiment.
#[derive(Debug, Clone)]
pub struct Variant {
    /// Unique in the experiment.
    pub name: String,
    /// Complete, with every default filled in.
    pub recipe: Recipe,
    /// What others reported for it.
    pub published: Vec<Published>,
}

/// The file, before variants are worked in.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct File {
    question: String,
    #[serde(default = "first_seed")]
    seeds: Vec<u64>,
    #[serde(default)]
    data: Table,
    #[serde(default)]
    model: Table,
    #[serde(default)]
    train: Table,
    variants: Vec<FileVariant>,
    #[serde(default)]
    claims: Vec<String>,
    #[serde(default)]
    statements: Vec<FileStatement>,
    #[serde(default)]
    facts: Vec<Fact>,
    #[serde(default)]
    tiers: FileTiers,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct FileVariant {
    name: String,
    #[serde(default)]
    data: Table,
    #[serde(default)]
    model: Table,
    #[serde(default)]
    train: Table,
    #[serde(default)]
    published: Vec<Published>,
}

fn first_seed() -> Vec<u64> {
    vec![0]
}

/// The folder of the experiments that come with Tallow.
fn folder() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("experiments")
}

/// Names of the experiments that come with Tallow, sorted.
pub fn names() -> Result<Vec<String>> {
    let folder = folder();
    let mut names = Vec::new();
    let entries =
        fs::read_dir(&folder).with_context(|| format!("cannot read {}", folder.display()))?;
    for entry in entries {
        let path = entry?.path();
        if path.extension().is_some_and(|e| e == "toml")
            && let Some(stem) = path.file_stem()
        {
            names.push(stem.to_string_lossy().into_owned());
        }
    }
    names.sort();
    Ok(names)
}

/// This much of the experiment of this name, or in this file, with `sets` (each `key=value`) applied to every variant.
pub fn load(name: &str, tier: Tier, sets: &[String]) -> Result<Experiment> {
    let known = names()?;
    let path = if known.iter().any(|k| k == name) {
        folder().join(format!("{name}.toml"))
    } else if name.ends_with(".toml") {
        PathBuf::from(name)
    } else {
        let known: Vec<&str> = known.iter().map(String::as_str).collect();
        bail!(suggest::unknown("experiment", name, &known));
    };
    let text =
        fs::read_to_string(&path).with_context(|| format!("cannot read {}", path.display()))?;
    let stem = path.file_stem().unwrap_or_default().to_string_lossy();
    parse(&stem, &text, tier, sets).with_context(|| path.display().to_string())
}

fn parse(name: &str, text: &str, tier: Tier, sets: &[String]) -> Result<Experiment> {
    let file: File = toml::from_str(text).map_err(|e| anyhow::anyhow!(keys::explain_file(&e)))?;
    ensure!(!file.seeds.is_empty(), "`seeds` is empty");
    ensure!(!file.variants.is_empty(), "there are no variants");
    let changes = match file.tiers.get(tier) {
        Some(changes) => changes.clone(),
        None if tier == Tier::Full => FileTier::default(),
        None => bail!("there is no {tier} tier of this experiment"),
    };
    let sets = sets
        .iter()
        .map(|s| keys::Assignment::parse(s))
        .collect::<Result<Vec<_>>>()?;

    let mut base = Table::new();
    for (key, table) in [
        ("data", file.data),
        ("model", file.model),
        ("train", file.train),
    ] {
        base.insert(key.to_string(), table.into());
    }
    let mut variants: Vec<Variant> = Vec::new();
    for variant in file.variants {
        check_variant_name(&variant.name)?;
        ensure!(
            variants.iter().all(|v| v.name != variant.name),
            "two variants are named `{}`",
            variant.name
        );
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
            keys::recipe(merged, &sets).with_context(|| format!("variant `{}`", variant.name))?;
        variants.push(Variant {
            name: variant.name,
            recipe,
            published: variant.published,
        });
    }
    let dataset = &variants[0].recipe.data.dataset;
    for variant in &variants {
        ensure!(
            variant.recipe.data.dataset == *dataset,
            "variant `{}` uses dataset `{}` and the first one `{dataset}`: an experiment has one dataset",
            variant.name,
            variant.recipe.data.dataset
        );
    }

    let known = Known::new(&variants, &file.facts);
    let claims = changes.claims.unwrap_or(file.claims);
    let claims = claims.iter().map(|text| known.claim(text));
    let claims = claims.collect::<Result<Vec<_>>>()?;
    let statement = |s: FileStatement| s.read(|text| known.claim(text));
    let mut statements = (file.statements.into_iter())
        .map(statement)
        .collect::<Result<Vec<_>>>()?;
    if tier == Tier::Smoke {
        // Not to be judged by so little.
        statements.clear();
    }
    let mut experiment = Experiment {
        name: name.to_string(),
        question: file.question,
        tier,
        tiers: file.tiers.list(),
        seeds: changes.seeds.unwrap_or(file.seeds),
        statements,
        facts: file.facts,
        claims,
        variants,
    };
    ensure!(!experiment.seeds.is_empty(), "`seeds` is empty");
    experiment
        .keep_only(&changes.only)
        .with_context(|| format!("tiers.{tier}.only"))?;
    Ok(experiment)
}

/// What claims may speak of.
struct Known<'a> {
    variants: Vec<&'a str>,
    facts: Vec<&'static str>,
}

impl<'a> Known<'a> {
    fn new(variants: &'a [Variant], facts: &[Fact]) -> Self {
        Self {
            variants: variants.iter().map(|v| v.name.as_str()).collect(),
            facts: facts
                .iter()
                .flat_map(|fact| fact.names())
                .copied()
                .collect(),
        }
    }

    fn claim(&self, text: &str) -> Result<Claim> {
        let claim = Claim::parse(text)?;
        for (variant, metric) in claim.metrics() {
            let (kind, word, known) = if variant == FACTS {
                ("fact", metric, &self.facts[..])
            } else if !self.variants.contains(&variant) {
                ("variant", variant, &self.variants[..])
            } else {
                ("metric", metric, &METRICS[..])
            };
            if !known.contains(&word) {
                bail!("claim `{text}`: {}", suggest::unknown(kind, word, known));
            }
        }
        Ok(claim)
    }
}

/// The recipe in `table`, changed by `sets` (each `key=value`).
pub fn recipe(table: Table, sets: &[String]) -> Result<Recipe> {
    let sets = sets.iter().map(|s| keys::Assignment::parse(s));
    keys::recipe(table, &sets.collect::<Result<Vec<_>>>()?)
}

/// Variant names go into claims and folder names.
fn check_variant_name(name: &str) -> Result<()> {
    ensure!(
        name.starts_with(|c: char| c.is_ascii_alphabetic())
            && name
                .chars()
                .all(|c| c.is_ascii_alphanumeric() || c == '-' || c == '_'),
        "variant name `{name}`: letters, digits, - and _ only, a letter first"
    );
    Ok(())
}

impl Experiment {
    /// The variant of this name.
    pub fn variant(&self, name: &str) -> Option<&Variant> {
        self.variants.iter().find(|variant| variant.name == name)
    }

    /// Keeps the variants of these names; all of them when no name is given.
    pub fn keep_only(&mut self, names: &[String]) -> Result<()> {
        let known: Vec<&str> = self.variants.iter().map(|v| v.name.as_str()).collect();
        for name in names {
            if !known.contains(&name.as_str()) {
                bail!(suggest::unknown("variant", name, &known));
            }
        }
        if !names.is_empty() {
            self.variants.retain(|v| names.contains(&v.name));
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SMALL: &str = r#"
        question = "Which is better?"
        claims = ["cnn > fc"]

        [data]
        dataset = "mnist"
        transforms = [{ name = "to-tensor" }, { name = "normalize", mean = [0.1307], std = [0.3081] }]

        [train]
        epochs = 1
        batch_size = 64
        optimizer = { name = "sgd", lr = 0.01, momentum = 0.5 }

        [[variants]]
        name = "fc"
        model.name = "mlp"
        published = [{ test_accuracy = 0.8735, source = "course" }]

        [[variants]]
        name = "cnn"
        model.name = "cnn"
        train.epochs = 2
    "#;

    fn load_small(sets: &[&str]) -> Result<Experiment> {
        let sets: Vec<String> = sets.iter().map(|s| s.to_string()).collect();
        parse("small", SMALL, Tier::Full, &sets)
    }

    fn error(text: &str, sets: &[&str]) -> String {
        let sets: Vec<String> = sets.iter().map(|s| s.to_string()).collect();
        format!("{:#}", parse("small", text, Tier::Full, &sets).unwrap_err())
    }

    const TIERS: &str = r#"
        [[statements]]
        text = "The convolutional one is better."
        zh = "卷积网络更好。"
        checks = ["cnn > fc"]

        [tiers.smoke]
        seconds = 2
        seeds = [5]
        only = ["cnn"]
        claims = ["cnn > 0.1"]
        train.epochs = 7
        data.train_samples = 100

        [tiers.full]
        seconds = 600
    "#;

    #[test]
    fn a_tier_changes_every_variant() {
        let text = format!("{SMALL}{TIERS}");
        let smoke = parse("small", &text, Tier::Smoke, &[]).unwrap();
        assert_eq!((smoke.tier, smoke.seeds), (Tier::Smoke, vec![5]));
        assert_eq!(smoke.variants.len(), 1);
        let recipe = &smoke.variants[0].recipe;
        assert_eq!(
            (recipe.train.epochs, recipe.data.train_samples),
            (7, Some(100))
        );
        assert_eq!(smoke.claims[0].text, "cnn > 0.1");
        let full = parse("small", &text, Tier::Full, &[]).unwrap();
        assert_eq!(full.variants[1].recipe.train.epochs, 2);
        assert_eq!(full.claims[0].text, "cnn > fc");
        let tiers = [(Tier::Smoke, Some(2.0)), (Tier::Full, Some(600.0))];
        assert_eq!(full.tiers, tiers);
        // What the command line says comes last.
        let sets = ["train.epochs=3".to_string()];
        let smoke = parse("small", &text, Tier::Smoke, &sets).unwrap();
        assert_eq!(smoke.variants[0].recipe.train.epochs, 3);
    }

    #[test]
    fn a_tier_that_is_not_there_is_refused() {
        let text = format!("{SMALL}{TIERS}");
        let error = parse("small", &text, Tier::Standard, &[]).unwrap_err();
        assert!(error.to_string().contains("no standard tier"), "{error:#}");
        let wrong = text.replace("only = [\"cnn\"]", "only = [\"cnm\"]");
        let error = parse("small", &wrong, Tier::Smoke, &[]).unwrap_err();
        assert!(
            format!("{error:#}").contains("did you mean `cnn`?"),
            "{error:#}"
        );
    }

    #[test]
    fn statements_are_checked_as_claims_are() {
        let text = format!("{SMALL}{TIERS}");
        assert_eq!(
            parse("small", &text, Tier::Full, &[])
                .unwrap()
                .statements
                .len(),
            1
        );
        let message = error(&text.replace("checks = [\"cnn > fc\"]", "checks = []"), &[]);
        assert!(message.contains("checks"), "{message}");
        let message = error(
            &text.replace(
                "[\"cnn > fc\"]\n\n        [tiers",
                "[\"cnn > gc\"]\n\n        [tiers",
            ),
            &[],
        );
        assert!(message.contains("unknown variant `gc`"), "{message}");
    }

    #[test]
    fn variants_change_the_base() {
        let experiment = load_small(&[]).unwrap();
        let [fc, cnn] = &experiment.variants[..] else {
            panic!("two variants")
        };
        assert_eq!((fc.name.as_str(), cnn.name.as_str()), ("fc", "cnn"));
        assert_eq!((fc.recipe.train.epochs, cnn.recipe.train.epochs), (1, 2));
        assert_eq!(fc.recipe.train.batch_size, 64);
        assert_eq!(cnn.recipe.model.name, "cnn");
        assert_eq!(fc.published[0].test_accuracy, 0.8735);
        assert_eq!(experiment.seeds, [0]);
    }

    #[test]
    fn set_changes_every_variant() {
        let experiment = load_small(&[
            "train.epochs=5",
            "data.dataset=kmnist",
            "train.shuffle=false",
        ])
        .unwrap();
        for variant in &experiment.variants {
            assert_eq!(variant.recipe.train.epochs, 5);
            assert_eq!(variant.recipe.data.dataset, "kmnist");
            assert!(!variant.recipe.train.shuffle);
        }
    }

    #[test]
    fn naming_another_optimizer_drops_the_settings_of_the_first() {
        let sets = ["train.optimizer.name=adam", "train.optimizer.lr=0.002"];
        let experiment = load_small(&sets).unwrap();
        let again = load_small(&[r#"train.optimizer={name="adam",lr=0.002}"#]).unwrap();
        assert_eq!(experiment.variants[0].recipe, again.variants[0].recipe);
    }

    #[test]
    fn set_suggests_the_nearest_key() {
        for (set, near) in [
            ("train.epoch=1", "train.epochs"),
            ("trian.epochs=1", "train.epochs"),
            ("epochs=1", "train.epochs"),
            ("train.optimizer.momentun=0.9", "train.optimizer.momentum"),
        ] {
            let message = error(SMALL, &[set]);
            let key = set.split('=').next().unwrap();
            assert!(
                message.contains(&format!("unknown key `{key}`")),
                "{message}"
            );
            assert!(
                message.contains(&format!("did you mean `{near}`?")),
                "{message}"
            );
        }
    }

    #[test]
    fn set_refuses_what_does_not_fit() {
        assert!(error(SMALL, &["train.epochs"]).contains("key=value"));
        let message = error(SMALL, &["train.epochs=many"]);
        assert!(
            message.contains("train.epochs") && message.contains("many"),
            "{message}"
        );
        assert!(error(SMALL, &["train.epochs.x=1"]).contains("train.epochs"));
        assert!(error(SMALL, &["train.epochs=0"]).contains("epochs"));
    }

    #[test]
    fn refuses_unknown_keys() {
        let message = error(&SMALL.replace("[data]", "sed = 1\n[data]"), &[]);
        assert!(
            message.contains("sed") && message.contains("did you mean `seeds`?"),
            "{message}"
        );
        let message = error(&SMALL.replace("train.epochs = 2", "train.epoch = 2"), &[]);
        assert!(message.contains("variant `cnn`"), "{message}");
        assert!(message.contains("did you mean `epochs`?"), "{message}");
        let message = error(&SMALL.replace("\"sgd\"", "\"sgdd\""), &[]);
        assert!(message.contains("did you mean `sgd`?"), "{message}");
    }

    #[test]
    fn refuses_claims_about_what_is_not_there() {
        let message = error(&SMALL.replace("cnn > fc", "cnnn > fc"), &[]);
        assert!(message.contains("did you mean `cnn`?"), "{message}");
        let message = error(&SMALL.replace("cnn > fc", "cnn.test_acuracy > 0.5"), &[]);
        assert!(
            message.contains("did you mean `test_accuracy`?"),
            "{message}"
        );
    }

    #[test]
    fn keeps_only_what_is_asked_for() {
        let mut experiment = load_small(&[]).unwrap();
        assert!(experiment.keep_only(&["cnnn".to_string()]).is_err());
        experiment.keep_only(&["cnn".to_string()]).unwrap();
        assert_eq!(experiment.variants.len(), 1);
        assert_eq!(experiment.variants[0].name, "cnn");
    }

    #[test]
    fn every_experiment_reads() {
        let names = names().unwrap();
        assert!(names.contains(&"quickstart".to_string()));
        for name in names {
            for (tier, _) in load(&name, Tier::Full, &[]).unwrap().tiers {
                load(&name, tier, &[]).unwrap();
            }
        }
    }
}
