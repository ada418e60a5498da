//! Experiments as data: finding, reading and checking `experiments/*.toml`.

mod keys;
mod recipe;

use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail, ensure};
use serde::{Deserialize, Serialize};
use toml::Table;

use crate::claims::{Claim, METRICS};
use crate::suggest;

pub use recipe::Recipe;

/// An experiment as run: the changes of its variants worked into the base recipe.
#[derive(Debug)]
pub struct Experiment {
    /// The file's name without `.toml`.
    pub name: String,
    /// What it asks.
    pub question: String,
    /// Seeds to run when none are given.
    pub seeds: Vec<u64>,
    /// In the file's order; at least one.
    pub variants: Vec<Variant>,
    /// What must hold.
    pub claims: Vec<Claim>,
}

/// One way of running the experiment.
#[derive(Debug)]
pub struct Variant {
    /// Unique in the experiment.
    pub name: String,
    /// Complete, with every default filled in.
    pub recipe: Recipe,
    /// What others reported for it.
    pub published: Vec<Published>,
}

/// A result that someone reported.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Published {
    /// As a fraction.
    pub test_accuracy: f64,
    /// Where it was reported.
    pub source: String,
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

/// The experiment of this name, or in this file, with `sets` (each `key=value`) applied to every variant.
pub fn load(name: &str, sets: &[String]) -> Result<Experiment> {
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
    parse(&stem, &text, sets).with_context(|| path.display().to_string())
}

fn parse(name: &str, text: &str, sets: &[String]) -> Result<Experiment> {
    let file: File = toml::from_str(text).map_err(|e| anyhow::anyhow!(keys::explain_file(&e)))?;
    ensure!(!file.seeds.is_empty(), "`seeds` is empty");
    ensure!(!file.variants.is_empty(), "there are no variants");
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
        let changes = [
            ("data", variant.data),
            ("model", variant.model),
            ("train", variant.train),
        ];
        for (key, table) in changes {
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

    let claims = file
        .claims
        .iter()
        .map(|text| Claim::parse(text))
        .collect::<Result<Vec<_>>>()?;
    let names: Vec<&str> = variants.iter().map(|v| v.name.as_str()).collect();
    for claim in &claims {
        for (variant, metric) in claim.metrics() {
            if !names.contains(&variant) {
                bail!(
                    "claim `{}`: {}",
                    claim.text,
                    suggest::unknown("variant", variant, &names)
                );
            }
            if !METRICS.contains(&metric) {
                bail!(
                    "claim `{}`: {}",
                    claim.text,
                    suggest::unknown("metric", metric, &METRICS)
                );
            }
        }
    }
    Ok(Experiment {
        name: name.to_string(),
        question: file.question,
        seeds: file.seeds,
        variants,
        claims,
    })
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
        parse("small", SMALL, &sets)
    }

    fn error(text: &str, sets: &[&str]) -> String {
        let sets: Vec<String> = sets.iter().map(|s| s.to_string()).collect();
        format!("{:#}", parse("small", text, &sets).unwrap_err())
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
            load(&name, &[]).unwrap();
        }
    }
}
