//! The table `[sweep]` of an experiment's file.

use schemars::JsonSchema;
use serde::Deserialize;
use tallow_train::Monitor;
use toml::Value;

use super::parameter::{Parameter, Range, is_within};
use super::search::{Method, Search};
use crate::error::{Error, Result};
use crate::monitoring::{Mode, check_mode};
use crate::unfinished::WITHOUT_EFFECT;

/// Most trials of a sweep. More are a mistake in a list or a range.
const MOST_TRIALS: u64 = 10_000;

/// Keys that cannot be a parameter, and the reason.
const FIXED: [(&str, &str); 8] = [
    ("data.dataset", "all trials have the same data"),
    ("data.pictures", "all trials have the same data"),
    (
        "data.streaming",
        "all trials read their pictures in one way",
    ),
    (
        "data.shuffle_window",
        "all trials read their pictures in one way",
    ),
    ("data.test", "all trials are compared on the same images"),
    (
        "data.test_samples",
        "all trials are compared on the same images",
    ),
    (
        "data.validation",
        "all trials are compared on the same images",
    ),
    (
        "train.monitor",
        "one metric compares all trials: `sweep.metric`",
    ),
];

/// Search over settings of one variant, for `tallow sweep`.
#[derive(Debug, Clone, Deserialize, JsonSchema)]
#[schemars(rename = "Sweep")]
#[serde(deny_unknown_fields)]
pub(crate) struct FileSweep {
    /// Choice of the trials.
    method: Method,
    /// Parameters: keys of the recipe, each with its values. At least one.
    parameters: Vec<FileParameter>,
    /// Variant whose recipe is changed. Default: the only one of the file.
    variant: Option<String>,
    /// Number of trials that are drawn at random, at least 1: for `random`, and for `halving`, which takes all combinations without it.
    #[schemars(example = 20)]
    trials: Option<usize>,
    /// Seed by which trials are drawn. It is not the seed of their training.
    #[schemars(extend("default" = 0))]
    seed: Option<u64>,
    /// Metric by which trials are compared. Default: the metric by which the recipe compares epochs, `train.monitor`.
    metric: Option<Monitor>,
    /// Direction of improvement. It follows from the metric; a file that says it says the same.
    mode: Option<Mode>,
    /// One trial in so many goes on to the next rung of `halving`, with so many times the epochs; at least 2.
    #[schemars(extend("default" = 3))]
    eta: Option<usize>,
    /// Epochs of the first rung of `halving`, at least 1, and fewer than `train.epochs`.
    #[schemars(extend("default" = 1))]
    min_epochs: Option<usize>,
}

/// Parameter of a sweep. It has `values`, `integers`, `uniform` or `log_uniform`.
#[derive(Debug, Clone, Deserialize, JsonSchema)]
#[schemars(rename = "Parameter")]
#[serde(deny_unknown_fields)]
struct FileParameter {
    /// Key of the recipe.
    #[schemars(example = &"train.optimizer.lr")]
    key: String,
    /// Values of any type.
    #[schemars(with = "Option<Vec<serde_json::Value>>")]
    #[schemars(extend("examples" = [[0.01, 0.1]]))]
    values: Option<Vec<Value>>,
    /// First and last of consecutive whole numbers.
    #[schemars(extend("examples" = [[2, 6]]))]
    integers: Option<[i64; 2]>,
    /// Bounds of a uniform distribution; not for `grid`.
    #[schemars(extend("examples" = [[0.0, 0.5]]))]
    uniform: Option<[f64; 2]>,
    /// Bounds of a distribution with uniform logarithms, both above 0; not for `grid`.
    #[schemars(extend("examples" = [[0.001, 0.1]]))]
    log_uniform: Option<[f64; 2]>,
}

fn refuse<T>(message: impl Into<String>) -> Result<T> {
    Err(Error::Recipe(message.into()))
}

impl FileSweep {
    /// Search of the table.
    ///
    /// # Errors
    /// [`Error::Recipe`] for everything that is wrong with any recipe. Keys that the recipe does not have are found later, by
    /// [`Sweep`](super::Sweep).
    pub(crate) fn read(&self) -> Result<Search> {
        if self.parameters.is_empty() {
            return refuse(
                "sweep.parameters is empty: expected at least one, such as { key = \"train.optimizer.lr\", values = [0.01, 0.1] }",
            );
        }
        let parameters = self.parameters.iter().map(FileParameter::read);
        let parameters: Vec<Parameter> = parameters.collect::<Result<_>>()?;
        for (number, parameter) in parameters.iter().enumerate() {
            for before in &parameters[..number] {
                check_overlap(&before.key, &parameter.key)?;
            }
        }
        self.check_keys()?;
        if self.method == Method::Halving && parameters.iter().any(|p| p.key == "train.epochs") {
            return refuse(
                "sweep.parameters: `train.epochs` cannot be a parameter of method `halving`, which decides on the epochs of each trial",
            );
        }
        if let Some(metric) = self.metric {
            check_mode("sweep.mode", self.mode, metric)?;
        }
        let drawn = self.trials.is_some();
        Ok(Search {
            method: self.method,
            trials: trials(self.method, &parameters, self.trials)?,
            seed: drawn.then_some(self.seed.unwrap_or(0)),
            parameters,
            variant: self.variant.clone(),
            metric: self.metric,
            mode: self.mode,
            eta: self.eta.unwrap_or(3),
            min_epochs: self.min_epochs.unwrap_or(1),
        })
    }

    /// Checks that the method has the keys that are given.
    fn check_keys(&self) -> Result<()> {
        let method = self.method.name();
        let given = [
            ("trials", self.trials.is_some(), self.method != Method::Grid),
            ("seed", self.seed.is_some(), self.trials.is_some()),
            ("eta", self.eta.is_some(), self.method == Method::Halving),
            (
                "min_epochs",
                self.min_epochs.is_some(),
                self.method == Method::Halving,
            ),
        ];
        if let Some((key, ..)) = given.iter().find(|(_, given, has)| *given && !has) {
            return refuse(match *key {
                "trials" => format!(
                    "sweep.trials has no meaning with method `{method}`, which tries all combinations; `random` draws so many of them"
                ),
                "seed" => format!(
                    "sweep.seed has no meaning with method `{method}` and without `trials`: nothing is drawn at random"
                ),
                key => {
                    format!("sweep.{key} has no meaning with method `{method}`: it is of `halving`")
                }
            });
        }
        match (self.method, self.trials, self.eta, self.min_epochs) {
            (Method::Random, None, ..) => refuse(
                "sweep.trials is missing: method `random` draws so many trials, such as trials = 20",
            ),
            (_, Some(0), ..) => refuse("sweep.trials is 0: expected at least 1"),
            (_, _, Some(eta @ 0..=1), _) => {
                refuse(format!("sweep.eta is {eta}: expected at least 2"))
            }
            (.., Some(0)) => refuse("sweep.min_epochs is 0: expected at least 1"),
            _ => Ok(()),
        }
    }
}

/// Number of trials; `drawn` of them are drawn at random.
fn trials(method: Method, parameters: &[Parameter], drawn: Option<usize>) -> Result<usize> {
    let counts: Option<Vec<u64>> = parameters.iter().map(|p| p.range.count()).collect();
    let product = |counts: &[u64]| counts.iter().fold(1, |all: u64, n| all.saturating_mul(*n));
    let number = match (drawn, &counts) {
        (Some(drawn), Some(counts)) if drawn as u64 > product(counts) => {
            return refuse(format!(
                "sweep.trials is {drawn}, but there are only {} combinations of the values: method `grid` tries all of them",
                product(counts)
            ));
        }
        (Some(drawn), _) => drawn as u64,
        (None, Some(counts)) => product(counts),
        (None, None) => {
            let endless = parameters.iter().find(|p| p.range.count().is_none());
            return refuse(format!(
                "sweep.parameters: `{}` has endlessly many values, and method `{}` tries all combinations: list `values`, or draw some with \
                 method = \"random\" and `trials`",
                endless.map_or("", |p| p.key.as_str()),
                method.name()
            ));
        }
    };
    if number > MOST_TRIALS {
        let factors = counts.filter(|counts| drawn.is_none() && counts.len() > 1);
        let factors = factors.map_or_else(String::new, |counts| {
            let counts: Vec<String> = counts.iter().map(u64::to_string).collect();
            format!(" ({})", counts.join(" x "))
        });
        return refuse(format!(
            "the sweep has {number} trials{factors}, expected at most {MOST_TRIALS}: leave values out, or draw some at random"
        ));
    }
    Ok(number as usize)
}

/// Refuses the same key twice, and a key inside a table that is another parameter.
fn check_overlap(before: &str, key: &str) -> Result<()> {
    if before == key {
        return refuse(format!(
            "sweep.parameters has the key `{key}` twice: expected one list of values"
        ));
    }
    for (outer, inner) in [(before, key), (key, before)] {
        if is_within(inner, outer) {
            return refuse(format!(
                "sweep.parameters has `{inner}` and `{outer}`, which contains it: expected one of them"
            ));
        }
    }
    Ok(())
}

impl FileParameter {
    fn read(&self) -> Result<Parameter> {
        self.check_key()?;
        let wrong = |text: String| refuse(format!("sweep.parameters: `{}`: {text}", self.key));
        let range = match (&self.values, self.integers, self.uniform, self.log_uniform) {
            (Some(values), None, None, None) => Range::Values(values.clone()),
            (None, Some([first, last]), None, None) => Range::Integers(first, last),
            (None, None, Some([low, high]), None) => Range::Uniform(low, high),
            (None, None, None, Some([low, high])) => Range::LogUniform(low, high),
            (None, None, None, None) => {
                return wrong("there are no values: expected `values`, `integers`, `uniform` or `log_uniform`".to_string());
            }
            _ => {
                return wrong("expected one of `values`, `integers`, `uniform` and `log_uniform`, found several".to_string());
            }
        };
        match &range {
            Range::Values(values) => {
                if values.is_empty() {
                    return wrong("`values` is empty: expected at least one value".to_string());
                }
                // As text, in which NaN is equal to itself.
                let texts: Vec<String> = values.iter().map(Value::to_string).collect();
                let mut numbered = texts.iter().enumerate();
                let twice = numbered.find(|(n, text)| texts[..*n].contains(text));
                if let Some((_, text)) = twice {
                    return wrong(format!("`values` has {text} twice"));
                }
            }
            Range::Integers(first, last) => {
                if first >= last {
                    return wrong(format!(
                        "integers = [{first}, {last}]: expected the least number first, and a greater one"
                    ));
                }
                if first.abs_diff(*last) >= u64::from(u32::MAX) {
                    return wrong(format!(
                        "integers = [{first}, {last}]: expected at most {} numbers",
                        u32::MAX
                    ));
                }
            }
            Range::Uniform(low, high) => {
                if !(low.is_finite() && high.is_finite() && low < high && (high - low).is_finite())
                {
                    return wrong(format!(
                        "uniform = [{low}, {high}]: expected two finite numbers, the least first"
                    ));
                }
            }
            Range::LogUniform(low, high) => {
                if !(*low > 0.0 && low < high && high.is_finite()) {
                    return wrong(format!(
                        "log_uniform = [{low}, {high}]: expected two finite numbers above 0, the least first, since their logarithms are used"
                    ));
                }
            }
        }
        Ok(Parameter {
            key: self.key.clone(),
            range,
        })
    }

    fn check_key(&self) -> Result<()> {
        let parts: Vec<&str> = self.key.split('.').collect();
        let of_recipe = matches!(parts.first(), Some(&("data" | "model" | "train")));
        if parts.len() < 2 || !of_recipe || parts.contains(&"") {
            return refuse(format!(
                "sweep.parameters: `{}` is not a key of data, model or train: expected one such as train.optimizer.lr",
                self.key
            ));
        }
        let fixed = FIXED.iter().find(|(key, _)| is_within(&self.key, key));
        let is_idle = |key: &str| is_within(&self.key, &format!("train.{key}"));
        let reason = match fixed {
            Some((_, reason)) => Some(*reason),
            None if WITHOUT_EFFECT.iter().any(|key| is_idle(key)) => {
                Some("results do not depend on it")
            }
            None => None,
        };
        match reason {
            Some(reason) => refuse(format!(
                "sweep.parameters: `{}` cannot be a parameter: {reason}",
                self.key
            )),
            None => Ok(()),
        }
    }
}
