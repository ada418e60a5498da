//! Sweep of an experiment: its trials, each with a complete recipe.

use tallow_record::Tier;
use tallow_train::Monitor;
use toml::{Table, Value};

use super::draw;
use super::parameter::{Parameter, is_within};
use super::rungs::{Rung, rungs};
use super::search::{Method, Search};
use crate::error::{Context, Error, Result};
use crate::experiment::{Experiment, Variant};
use crate::keys::{self, Assignment};
use crate::monitoring::{check_mode, check_monitor};

/// Trial of a sweep.
#[derive(Debug, Clone, PartialEq)]
pub struct Trial {
    /// Number, from 1.
    pub number: usize,
    /// Values of the parameters by their keys, in the order of the file.
    pub settings: Vec<(String, Value)>,
}

impl Trial {
    /// Name of the trial as a variant, and in its run records.
    pub fn name(&self) -> String {
        format!("trial-{}", self.number)
    }

    /// Settings as TOML on one line.
    pub fn text(&self) -> String {
        let settings = self.settings.iter();
        let settings = settings.map(|(key, value)| format!("{key} = {value}"));
        settings.collect::<Vec<_>>().join(", ")
    }
}

/// Sweep: trials of one variant's recipe with other settings.
///
/// ```
/// use tallow_experiment::{Experiment, Sweep, Tier};
///
/// let text = r#"
///     question = "Which learning rate is best?"
///
///     [data]
///     dataset = "fashion-mnist-sample"
///     transforms = [{ name = "to-tensor" }]
///
///     [train]
///     epochs = 3
///     batch_size = 64
///     optimizer = { name = "sgd", lr = 0.05 }
///
///     [[variants]]
///     name = "mlp"
///     model.name = "mlp"
///
///     [sweep]
///     method = "grid"
///     parameters = [{ key = "train.optimizer.lr", values = [0.01, 0.1] }]
/// "#;
/// let sweep = Sweep::of(Experiment::parse("rates", text, Tier::Full, &[])?, &[])?;
/// assert_eq!(sweep.trials[1].text(), "train.optimizer.lr = 0.1");
/// assert_eq!(sweep.experiment.variants[1].recipe.train.optimizer.lr(), 0.1);
/// # Ok::<(), tallow_experiment::Error>(())
/// ```
#[derive(Debug, Clone)]
pub struct Sweep {
    /// Experiment whose variants are the trials, in their order. It has no claims.
    pub experiment: Experiment,
    /// Trials.
    pub trials: Vec<Trial>,
    /// Rungs: one for all trials, several for successive halving.
    pub rungs: Vec<Rung>,
    search: Search,
}

fn refuse<T>(message: impl Into<String>) -> Result<T> {
    Err(Error::Recipe(message.into()))
}

impl Sweep {
    /// Loads the sweep of an experiment, as [`Experiment::load`] does.
    pub fn load(name: &str, tier: Tier, sets: &[String]) -> Result<Self> {
        let experiment = Experiment::load(name, tier, sets)?;
        Self::of(experiment, sets).context(|| name.to_string())
    }

    /// Sweep of an experiment that was read with the assignments `sets`.
    ///
    /// # Errors
    /// [`Error::Recipe`] or [`Error::Set`] when the experiment has no `[sweep]`, when a trial has a key that does not exist or a value that
    /// no run can have, or when an assignment and a parameter set the same key.
    pub fn of(experiment: Experiment, sets: &[String]) -> Result<Self> {
        let Some(search) = experiment.search.clone() else {
            return refuse(
                "it has no table [sweep]: expected a method and parameters, such as method = \"grid\" and \
                 parameters = [{ key = \"train.optimizer.lr\", values = [0.01, 0.1] }]",
            );
        };
        let sets = Assignment::parse_all(sets)?;
        for set in &sets {
            let key = set.key();
            let both = |p: &&str| is_within(p, &key) || is_within(&key, p);
            if let Some(parameter) = search.parameters.iter().map(|p| p.key.as_str()).find(both) {
                return Err(Error::Set(format!(
                    "--set {key}: the sweep sets its parameter `{parameter}` itself; leave one of the two out"
                )));
            }
        }
        let base = base(&experiment, &search)?;
        let names: Vec<&str> = search.parameters.iter().map(|p| p.key.as_str()).collect();
        let (mut trials, mut variants) = (Vec::new(), Vec::new());
        for (number, values) in (1..).zip(draw::settings(&search)?) {
            let names = names.iter().map(|name| name.to_string());
            let trial = Trial {
                number,
                settings: names.zip(values).collect(),
            };
            let recipe = keys::recipe(base.tables.clone(), &assignments(&trial, &sets))
                .context(|| format!("trial {number} ({})", trial.text()))?;
            variants.push(Variant {
                name: trial.name(),
                recipe,
                published: Vec::new(),
                tables: Table::new(),
            });
            trials.push(trial);
        }
        let sweep = Self {
            rungs: rungs_of(&search, &variants)?,
            experiment: Experiment {
                all: variants.clone(),
                variants,
                claims: Vec::new(),
                statements: Vec::new(),
                analyses: Vec::new(),
                ..experiment
            },
            trials,
            search,
        };
        sweep.check()?;
        Ok(sweep)
    }

    /// Choice of the trials.
    pub fn method(&self) -> Method {
        self.search.method
    }

    /// Variant whose recipe the trials change, where the file names it.
    pub fn variant(&self) -> Option<&str> {
        self.search.variant.as_deref()
    }

    /// Parameters.
    pub(super) fn parameters(&self) -> &[Parameter] {
        &self.search.parameters
    }

    /// Metric by which the trials are compared, of runs with or without validation data.
    pub(super) fn metric(&self, validated: bool) -> Result<Monitor> {
        let metric = self.metric_of(validated);
        check_monitor("sweep.metric", metric, Some(validated))?;
        Ok(metric)
    }

    fn metric_of(&self, validated: bool) -> Monitor {
        let first = self.experiment.variants.first();
        let default = match (first, validated) {
            (Some(first), _) => first.recipe.monitor(validated),
            (None, true) => Monitor::ValidationAccuracy,
            (None, false) => Monitor::TestAccuracy,
        };
        self.search.metric.unwrap_or(default)
    }

    /// Whether the runs have validation data; `None` where the folder of the data tells.
    pub(super) fn has_validation(&self) -> Option<bool> {
        let first = self.experiment.variants.first()?;
        first.recipe.has_validation()
    }

    /// Checks the metric, and that each rung ends with an evaluation.
    fn check(&self) -> Result<()> {
        let validated = self.has_validation();
        let metric = self.metric_of(validated == Some(true));
        if self.search.metric.is_some() {
            check_monitor("sweep.metric", metric, validated)?;
        }
        check_mode("sweep.mode", self.search.mode, metric)?;
        let rungs = self.rungs.split_last().map_or(&[][..], |(_, rungs)| rungs);
        for variant in &self.experiment.variants {
            let every = variant.recipe.train.evaluate_every.max(1);
            let missed = rungs.iter().find(|rung| !rung.epochs.is_multiple_of(every));
            if let Some(rung) = missed.filter(|_| metric != Monitor::TrainLoss) {
                return refuse(format!(
                    "a rung of the sweep ends after {} epochs, which train.evaluate_every = {every} does not evaluate: set \
                     sweep.min_epochs to a multiple of it",
                    rung.epochs
                ));
            }
        }
        Ok(())
    }
}

/// Variant whose recipe the trials change.
fn base<'a>(experiment: &'a Experiment, search: &Search) -> Result<&'a Variant> {
    let names: Vec<&str> = experiment
        .variants
        .iter()
        .map(|v| v.name.as_str())
        .collect();
    match (&search.variant, &experiment.variants[..]) {
        (Some(name), _) => experiment
            .variant(name)
            .ok_or_else(|| Error::unknown("variant", name, &names))
            .context(|| "sweep.variant".to_string()),
        (None, [one]) => Ok(one),
        (None, several) => refuse(format!(
            "the file has {} variants, and [sweep] changes one of them: expected the key `variant`, one of {}",
            several.len(),
            names.join(", ")
        )),
    }
}

/// Assignments of a trial's settings and of the command line. The names of both come first, because a table with another name replaces the
/// whole table: one that came later would undo a setting in it.
fn assignments(trial: &Trial, sets: &[Assignment]) -> Vec<Assignment> {
    let settings = trial.settings.iter();
    let settings = settings.map(|(key, value)| Assignment::of(key, value.clone()));
    let mut all: Vec<Assignment> = settings.chain(sets.iter().cloned()).collect();
    all.sort_by_key(|assignment| !assignment.key().ends_with(".name"));
    all
}

fn rungs_of(search: &Search, variants: &[Variant]) -> Result<Vec<Rung>> {
    let epochs = variants.iter().map(|variant| variant.recipe.train.epochs);
    let epochs = epochs.max().unwrap_or(0);
    if search.method != Method::Halving {
        let trials = variants.len();
        return Ok(vec![Rung { trials, epochs }]);
    }
    if search.min_epochs >= epochs {
        return refuse(format!(
            "sweep.min_epochs is {} and train.epochs {epochs}: expected fewer epochs in the first rung",
            search.min_epochs
        ));
    }
    Ok(rungs(variants.len(), search.eta, search.min_epochs, epochs))
}

#[cfg(test)]
mod tests {
    use super::*;

    const BASE: &str = r#"
        question = "Which is best?"

        [data]
        dataset = "mnist"
        transforms = [{ name = "to-tensor" }]

        [train]
        epochs = 9
        batch_size = 64
        optimizer = { name = "sgd", lr = 0.01, momentum = 0.5 }

        [[variants]]
        name = "fc"
        model.name = "mlp"
    "#;

    fn load(sweep: &str, sets: &[&str]) -> Result<Sweep> {
        let sets: Vec<String> = sets.iter().map(|s| s.to_string()).collect();
        let text = format!("{BASE}\n{sweep}");
        Sweep::of(Experiment::parse("small", &text, Tier::Full, &sets)?, &sets)
    }

    fn table(rest: &str, parameters: &str) -> String {
        format!("[sweep]\n{rest}\nparameters = [{parameters}]\n")
    }

    const LR: &str = "{ key = \"train.optimizer.lr\", values = [0.1, 0.01] }";

    #[test]
    fn trials_change_the_recipe_of_a_variant() {
        let size = "{ key = \"train.batch_size\", integers = [31, 33] }";
        let text = table("method = \"grid\"", &format!("{LR}, {size}"));
        let sweep = load(&text, &["train.drop_last=true"]).unwrap();
        assert_eq!(sweep.trials.len(), 6);
        assert_eq!(
            sweep.trials[4].text(),
            "train.optimizer.lr = 0.01, train.batch_size = 32"
        );
        let variant = &sweep.experiment.variants[4];
        assert_eq!(variant.name, "trial-5");
        let train = &variant.recipe.train;
        assert_eq!(
            (train.optimizer.lr(), train.batch_size, train.drop_last),
            (0.01, 32, true)
        );
        assert_eq!(
            sweep.rungs,
            [Rung {
                trials: 6,
                epochs: 9
            }]
        );
    }

    #[test]
    fn a_name_is_set_before_the_keys_of_its_table() {
        let names = "{ key = \"train.optimizer.name\", values = [\"sgd\", \"adam\"] }";
        let text = table("method = \"grid\"", &format!("{LR}, {names}"));
        let sweep = load(&text, &[]).unwrap();
        let recipe = |n: usize| &sweep.experiment.variants[n].recipe.train.optimizer;
        assert_eq!(
            (recipe(0).lr(), recipe(1).lr(), recipe(3).lr()),
            (0.1, 0.1, 0.01)
        );
        assert_ne!(recipe(0), recipe(1));
        // A name on the command line does not undo the settings of the trials either.
        let text = table("method = \"grid\"", LR);
        let named = load(&text, &["train.optimizer.name=adam"]).unwrap();
        let optimizers = named.experiment.variants.iter();
        let optimizers: Vec<_> = optimizers.map(|v| &v.recipe.train.optimizer).collect();
        assert_eq!(optimizers, [recipe(1), recipe(3)]);
        // Whole tables are values too.
        let tables = "{ key = \"train.optimizer\", values = [{ name = \"adam\" }, { name = \"sgd\", lr = 1.0 }] }";
        let sweep = load(&table("method = \"grid\"", tables), &[]).unwrap();
        assert_eq!(
            sweep.experiment.variants[1].recipe.train.optimizer.lr(),
            1.0
        );
    }

    #[test]
    fn halving_has_rungs() {
        let range = "{ key = \"train.optimizer.lr\", log_uniform = [0.001, 1.0] }";
        let text = table("method = \"halving\"\ntrials = 9", range);
        let rungs: Vec<(usize, usize)> = (load(&text, &[]).unwrap().rungs.iter())
            .map(|rung| (rung.trials, rung.epochs))
            .collect();
        assert_eq!(rungs, [(9, 1), (3, 3), (1, 9)]);
        // Without `trials` it takes all combinations.
        let sweep = load(&table("method = \"halving\"\neta = 2", LR), &[]).unwrap();
        assert_eq!(sweep.rungs.len(), 2);
    }

    #[test]
    fn what_is_wrong_is_said() {
        let grid = |parameters: &str| table("method = \"grid\"", parameters);
        let lr = |range: &str| grid(&format!("{{ key = \"train.optimizer.lr\", {range} }}"));
        let random = |range: &str| {
            table(
                "method = \"random\"\ntrials = 3",
                &format!("{{ key = \"train.optimizer.lr\", {range} }}"),
            )
        };
        let many = "{ key = \"train.batch_size\", integers = [1, 2000] }, { key = \"train.epochs\", integers = [1, 30] }";
        for (text, expected) in [
            (String::new(), "it has no table [sweep]"),
            (grid(""), "sweep.parameters is empty"),
            (
                grid("{ key = \"train.optimizer.lrr\", values = [1] }"),
                "did you mean `train.optimizer.lr`?",
            ),
            (
                grid("{ key = \"train.optimizer.lr\", value = [1] }"),
                "unknown key `value`",
            ),
            (
                grid("{ key = \"lr\", values = [1] }"),
                "`lr` is not a key of data, model or train",
            ),
            (
                grid("{ key = \"data.validation\", values = [0.1] }"),
                "compared on the same images",
            ),
            (
                grid("{ key = \"data.shuffle_window\", values = [8, 64] }"),
                "read their pictures in one way",
            ),
            (
                grid(&format!("{LR}, {LR}")),
                "has the key `train.optimizer.lr` twice",
            ),
            (
                grid(&format!(
                    "{LR}, {{ key = \"train.optimizer\", values = [{{ name = \"adam\" }}] }}"
                )),
                "which contains it",
            ),
            (lr("values = []"), "`values` is empty"),
            (lr("values = [0.1, 0.2, 0.1]"), "`values` has 0.1 twice"),
            (random("values = [nan, nan]"), "`values` has nan twice"),
            (lr("values = [0.1], integers = [1, 2]"), "found several"),
            (
                grid("{ key = \"train.optimizer.lr\" }"),
                "there are no values",
            ),
            (lr("values = [-0.1]"), "trial 1 (train.optimizer.lr = -0.1)"),
            (lr("integers = [3, 3]"), "a greater one"),
            (lr("uniform = [0.1, 0.2]"), "endlessly many values"),
            (random("uniform = [0.2, 0.1]"), "the least first"),
            (random("uniform = [0.0, inf]"), "finite"),
            (random("log_uniform = [0.0, 0.1]"), "above 0"),
            (random("log_uniform = [0.2, 0.1]"), "the least first"),
            (random("values = [0.1, 0.2]"), "only 2 combinations"),
            (grid(many), "60000 trials (2000 x 30)"),
            (table("method = \"random\"", LR), "sweep.trials is missing"),
            (
                table("method = \"random\"\ntrials = 0", LR),
                "expected at least 1",
            ),
            (
                table("method = \"grid\"\ntrials = 2", LR),
                "sweep.trials has no meaning",
            ),
            (
                table("method = \"grid\"\nseed = 2", LR),
                "sweep.seed has no meaning",
            ),
            (
                table("method = \"grid\"\neta = 2", LR),
                "sweep.eta has no meaning",
            ),
            (table("method = \"halving\"\neta = 1", LR), "sweep.eta is 1"),
            (
                table("method = \"halving\"\nmin_epochs = 9", LR),
                "sweep.min_epochs is 9",
            ),
            (
                table("method = \"halving\"\nmin_epochs = 0", LR),
                "sweep.min_epochs is 0",
            ),
            (
                table(
                    "method = \"halving\"",
                    "{ key = \"train.epochs\", values = [3, 4] }",
                ),
                "decides on the epochs",
            ),
            (table("method = \"gird\"", LR), "did you mean `grid`?"),
            (
                table("method = \"grid\"\nvariant = \"fcc\"", LR),
                "did you mean `fc`?",
            ),
            (
                table("method = \"grid\"\nmetric = \"validation_loss\"", LR),
                "there is no validation data",
            ),
            (
                table("method = \"grid\"\nmode = \"min\"", LR),
                "sweep.mode contradicts",
            ),
            (
                table("method = \"grid\"\nmetod = \"x\"", LR),
                "unknown key `metod`",
            ),
        ] {
            let message = load(&text, &[]).unwrap_err().message();
            assert!(message.contains(expected), "{text}\n{message}");
        }
        let message = load(&grid(LR), &["train.optimizer.lr=1"])
            .unwrap_err()
            .message();
        assert!(message.contains("leave one of the two out"), "{message}");
        let sets = ["train.evaluate_every=2"];
        let halving = table("method = \"halving\"\neta = 2", LR);
        let message = load(&halving, &sets).unwrap_err().message();
        assert!(
            message.contains("set sweep.min_epochs to a multiple"),
            "{message}"
        );
    }

    #[test]
    fn one_of_several_variants_is_named() {
        let second = "[[variants]]\nname = \"cnn\"\nmodel.name = \"cnn\"\n";
        let text = |variant: &str| {
            format!(
                "{second}{}",
                table(&format!("method = \"grid\"{variant}"), LR)
            )
        };
        let message = load(&text(""), &[]).unwrap_err().message();
        assert!(
            message.contains("the key `variant`, one of fc, cnn"),
            "{message}"
        );
        let sweep = load(&text("\nvariant = \"cnn\""), &[]).unwrap();
        assert_eq!(sweep.experiment.variants[0].recipe.model.name, "cnn");
    }
}
