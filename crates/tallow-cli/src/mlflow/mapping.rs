//! A run record as MLflow has it: parameters, metrics, tags, times and a status.

use std::collections::BTreeMap;

use serde::{Serialize, Serializer};
use tallow_experiment::report::shell_quoted;
use tallow_record::{EpochRow, Run};

use super::flatten::flattened;
use super::names::{Keys, LONGEST_PARAMETER, LONGEST_TAG, value};

/// Tag that holds the name of a run, by which it is found again.
pub const RUN_TAG: &str = "tallow.run";

/// Prefix of the metrics of a finished run.
const FINAL: &str = "final/";

/// Key and value of a parameter or a tag.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Pair {
    /// Key.
    pub key: String,
    /// Value.
    pub value: String,
}

/// Value of a metric at a step.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Point {
    /// Name of the metric.
    pub key: String,
    /// Value; NaN where it was not finite.
    #[serde(serialize_with = "number")]
    pub value: f64,
    /// Time, in milliseconds since 1970.
    pub timestamp: i64,
    /// Epoch, from 0.
    pub step: i64,
}

/// Status of a run.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "UPPERCASE")]
pub enum Status {
    /// A process trains it.
    Running,
    /// It has finished.
    Finished,
    /// It was interrupted or killed.
    Killed,
    /// It ended with a loss that is not finite.
    Failed,
}

/// Content of a run on the server.
#[derive(Clone, Debug, PartialEq)]
pub struct Content {
    /// Name of the run that is unique among all runs: experiment and folder.
    pub id: String,
    /// Name for people: the folder.
    pub name: String,
    /// Status.
    pub status: Status,
    /// Start, in milliseconds since 1970.
    pub start: i64,
    /// End, in milliseconds since 1970; `None` while it runs.
    pub end: Option<i64>,
    /// Parameters: the recipe.
    pub params: Vec<Pair>,
    /// Metrics of the epochs, then those of the summary.
    pub metrics: Vec<Point>,
    /// Tags.
    pub tags: Vec<Pair>,
    /// Changes for the sake of MLflow's limits.
    pub notes: Vec<String>,
}

impl Status {
    /// Name, as MLflow has it.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Running => "RUNNING",
            Self::Finished => "FINISHED",
            Self::Killed => "KILLED",
            Self::Failed => "FAILED",
        }
    }

    fn of(run: &Run, under_way: bool) -> Self {
        let finite = |row: &EpochRow| {
            let losses = [Some(row.train_loss), row.validation_loss, row.test_loss];
            losses.iter().flatten().all(|loss| loss.is_finite())
        };
        match (&run.summary, under_way) {
            (Some(_), _) => Self::Finished,
            (None, true) => Self::Running,
            (None, false) if !run.epochs.last().is_none_or(finite) => Self::Failed,
            (None, false) => Self::Killed,
        }
    }
}

impl Content {
    /// Content of this run, which began at `start` (milliseconds since 1970). `under_way` says that a process trains it.
    pub fn of(run: &Run, start: i64, under_way: bool) -> Self {
        let mut notes = Vec::new();
        let status = Status::of(run, under_way);
        let (metrics, end) = metrics(run, start, &mut notes);
        let folder = run.dir.file_name().unwrap_or_default().to_string_lossy();
        Self {
            id: id(&run.info.experiment, &folder),
            name: folder.into_owned(),
            status,
            start,
            end: (status != Status::Running).then_some(end),
            params: params(run, &mut notes),
            metrics,
            tags: tags(run, &mut notes),
            notes,
        }
    }
}

/// Name of a run, without the characters that end a string in MLflow's filters.
fn id(experiment: &str, folder: &str) -> String {
    format!("{experiment}/{folder}").replace(['\'', '"', '`', '\\'], "_")
}

fn params(run: &Run, notes: &mut Vec<String>) -> Vec<Pair> {
    let mut keys = Keys::default();
    let pairs = flattened(&run.config).into_iter();
    pairs
        .map(|(name, text)| {
            let key = keys.key(&name, notes);
            let value = value(&key, &text, LONGEST_PARAMETER, notes);
            Pair { key, value }
        })
        .collect()
}

/// Values of all metrics, and the time of the last epoch.
fn metrics(run: &Run, start: i64, notes: &mut Vec<String>) -> (Vec<Point>, i64) {
    let mut points = Vec::new();
    let mut keys = Keys::default();
    // Each name is checked once, so that a note about it appears once.
    let mut known = BTreeMap::<String, String>::new();
    let mut put = |name: &str, value: f64, timestamp: i64, step: usize| {
        let key = known.entry(name.to_string());
        let key = key.or_insert_with(|| keys.key(name, notes)).clone();
        points.push(Point {
            key,
            value: if value.is_finite() { value } else { f64::NAN },
            timestamp,
            step: i64::try_from(step).unwrap_or(i64::MAX),
        });
    };
    let mut seconds = 0.0;
    let after = |seconds: f64| start.saturating_add((seconds * 1000.0).round() as i64);
    for row in &run.epochs {
        seconds += row.seconds.max(0.0);
        for (metric, value) in row.metrics() {
            put(metric.name, value, after(seconds), row.epoch);
        }
        for (name, value) in &row.metrics {
            put(name, value.unwrap_or(f64::NAN), after(seconds), row.epoch);
        }
    }
    let end = after(seconds);
    if let Some(summary) = &run.summary {
        let last = run.epochs.last().map_or(0, |row| row.epoch);
        for (name, value) in &summary.metrics {
            let name = format!("{FINAL}{name}");
            put(&name, value.unwrap_or(f64::NAN), end, last);
        }
    }
    (points, end)
}

fn tags(run: &Run, notes: &mut Vec<String>) -> Vec<Pair> {
    let folder = run.dir.file_name().unwrap_or_default().to_string_lossy();
    let (info, machine) = (&run.info, &run.environment);
    let command = (machine.command.iter())
        .map(|word| shell_quoted(word))
        .collect::<Vec<_>>()
        .join(" ");
    // MLflow shows a link for a commit, which knows no changed files.
    let clean = machine.commit.as_deref().map(|commit| {
        let hash = commit.strip_suffix("-dirty").unwrap_or(commit);
        hash.to_string()
    });
    let stopped = run.summary.as_ref().and_then(|s| s.stopped.clone());
    let precision = run.config.get("train").and_then(|t| t.get("precision"));
    let precision = precision.and_then(|p| p.as_str()).unwrap_or("f32");
    let known = [
        (RUN_TAG, id(&info.experiment, &folder)),
        ("mlflow.source.name", "tallow".to_string()),
        ("mlflow.source.type", "LOCAL".to_string()),
        ("tallow.command", command),
        ("tallow.cpu", machine.cpu.clone()),
        ("tallow.data", info.dataset.name.clone()),
        ("tallow.data.digest", info.dataset.digest.clone()),
        ("tallow.data.provenance", info.dataset.provenance.clone()),
        ("tallow.device", machine.device.clone()),
        ("tallow.experiment", info.experiment.clone()),
        ("tallow.model", info.model.clone()),
        ("tallow.parameters", info.parameters.to_string()),
        ("tallow.platform", machine.platform.clone()),
        ("tallow.precision", precision.to_string()),
        ("tallow.rustc", machine.rustc.clone()),
        ("tallow.seed", info.seed.to_string()),
        ("tallow.threads", machine.threads.to_string()),
        ("tallow.variant", info.variant.clone()),
        ("tallow.version", machine.tallow.clone()),
    ];
    let optional = [
        ("mlflow.source.git.commit", clean),
        ("tallow.commit", machine.commit.clone()),
        ("tallow.stopped", stopped),
    ];
    let optional = optional.into_iter().filter_map(|(k, v)| Some((k, v?)));
    let all = known.into_iter().chain(optional);
    all.filter(|(_, text)| !text.is_empty())
        .map(|(key, text)| Pair {
            key: key.to_string(),
            value: value(key, &text, LONGEST_TAG, notes),
        })
        .collect()
}

/// A number as JSON; one that is not finite as the text that protocol buffers have for it.
fn number<S: Serializer>(value: &f64, serializer: S) -> Result<S::Ok, S::Error> {
    match value.is_finite() {
        true => serializer.serialize_f64(*value),
        false => serializer.serialize_str("NaN"),
    }
}
