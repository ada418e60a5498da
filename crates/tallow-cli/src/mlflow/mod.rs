//! Runs on an [MLflow](https://mlflow.org) tracking server, by its documented REST API (version 2.0).
//!
//! `mapping` makes the content of a run from its record and knows no server; `api` and `client` make the requests.

mod api;
mod client;
mod error;
mod flatten;
mod mapping;
mod names;
mod requests;

#[cfg(test)]
mod tests;

use std::collections::{BTreeMap, BTreeSet};
use std::time::UNIX_EPOCH;

use serde::Serialize;
use tallow_experiment::unfinished::{WITHOUT_EFFECT, is_under_way};
use tallow_record::{Run, start_seconds};

pub use client::{Client, Credentials, variable};
pub use error::{Error, Result};
pub use mapping::Status;
use mapping::{Content, Pair, Point};

/// Server, and the experiments on it that are known by now.
pub struct Tracker {
    client: Client,
    experiments: BTreeMap<String, String>,
}

/// Outcome of sending a run.
#[derive(Debug, Serialize)]
pub struct Sent {
    /// Action that was taken.
    pub action: Action,
    /// Identifier of the run on the server.
    pub run_id: String,
    /// Page of the run.
    pub url: String,
    /// Status of the run.
    pub status: Status,
    /// Number of parameters that were sent.
    pub params: usize,
    /// Number of values of metrics that were sent.
    pub metrics: usize,
    /// Changes for the sake of MLflow's limits, and differences of the server.
    pub notes: Vec<String>,
}

/// Action taken with a run.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Action {
    /// It is new on the server.
    Created,
    /// Missing parts were added on the server.
    Updated,
    /// The server had all of it.
    Unchanged,
}

impl Tracker {
    /// Tracker of this server.
    pub fn new(client: Client) -> Self {
        Self {
            client,
            experiments: BTreeMap::new(),
        }
    }

    /// Sends a run to the experiment of this name. A run that is there already is completed, never duplicated.
    pub fn send(&mut self, run: &Run, experiment: &str) -> Result<Sent> {
        let experiment = match self.experiments.get(experiment) {
            Some(id) => id.clone(),
            None => {
                let id = api::experiment(&self.client, experiment)?;
                self.experiments.insert(experiment.to_string(), id.clone());
                id
            }
        };
        let mut content = Content::of(run, start(run), is_under_way(&run.dir));
        let client = &self.client;
        let (action, run_id, params, metrics) = match api::find(client, &experiment, &content.id)? {
            None => {
                let run_id = api::create(client, &experiment, &content)?;
                let (params, metrics) = (content.params.clone(), content.metrics.clone());
                api::log(client, &run_id, &params, &[], &metrics)?;
                api::update(client, &run_id, content.status, content.end)?;
                (Action::Created, run_id, params, metrics)
            }
            Some(found) => {
                let params = missing_params(&mut content, &found)?;
                let metrics = missing_metrics(client, &content, &found)?;
                let same = found.status == content.status.as_str();
                let action = match params.is_empty() && metrics.is_empty() && same {
                    true => Action::Unchanged,
                    false => Action::Updated,
                };
                if action == Action::Updated {
                    api::log(client, &found.run_id, &params, &content.tags, &metrics)?;
                    api::update(client, &found.run_id, content.status, content.end)?;
                }
                (action, found.run_id, params, metrics)
            }
        };
        Ok(Sent {
            action,
            url: format!("{}/#/experiments/{experiment}/runs/{run_id}", client.base()),
            run_id,
            status: content.status,
            params: params.len(),
            metrics: metrics.len(),
            notes: content.notes,
        })
    }
}

/// Start of a run in milliseconds since 1970: the time in the name of its folder, else that of its oldest file.
fn start(run: &Run) -> i64 {
    let written = || {
        let about = std::fs::metadata(run.dir.join("environment.json")).ok()?;
        let time = about.modified().ok()?.duration_since(UNIX_EPOCH).ok()?;
        Some(time.as_secs())
    };
    let seconds = start_seconds(&run.dir).or_else(written).unwrap_or(0);
    i64::try_from(seconds).map_or(0, |seconds| seconds.saturating_mul(1000))
}

/// Whether a run that is continued may have another value of this parameter.
fn may_change(key: &str) -> bool {
    let of_train = key.strip_prefix("train.");
    let name = of_train.and_then(|rest| rest.split('.').next());
    name.is_some_and(|name| WITHOUT_EFFECT.contains(&name))
}

/// Parameters that the server lacks.
///
/// # Errors
/// [`Error::OtherRun`] where it has another value, which cannot be changed there.
fn missing_params(content: &mut Content, found: &api::Found) -> Result<Vec<Pair>> {
    let mut missing = Vec::new();
    for pair in &content.params {
        match found.params.get(&pair.key) {
            None => missing.push(pair.clone()),
            Some(theirs) if *theirs == pair.value => {}
            Some(theirs) if may_change(&pair.key) => content.notes.push(format!(
                "`{}` stays {theirs} there, though the run was continued with {}",
                pair.key, pair.value
            )),
            Some(theirs) => {
                return Err(Error::OtherRun {
                    id: content.id.clone(),
                    key: pair.key.clone(),
                    theirs: theirs.clone(),
                    ours: pair.value.clone(),
                });
            }
        }
    }
    Ok(missing)
}

/// Values of metrics that the server lacks: MLflow keeps every value it is sent, so none may be sent twice.
fn missing_metrics(client: &Client, content: &Content, found: &api::Found) -> Result<Vec<Point>> {
    // A run gets this status when all else has arrived.
    let complete = found.status == Status::Finished.as_str();
    let mut steps: BTreeMap<&str, BTreeSet<i64>> = BTreeMap::new();
    let mut missing = Vec::new();
    for point in &content.metrics {
        let known = found.metrics.contains(&point.key);
        if known && complete {
            continue;
        }
        if known && !steps.contains_key(point.key.as_str()) {
            let there = api::steps(client, &found.run_id, &point.key)?;
            steps.insert(&point.key, there);
        }
        let there = steps.get(point.key.as_str());
        if !there.is_some_and(|steps| steps.contains(&point.step)) {
            missing.push(point.clone());
        }
    }
    Ok(missing)
}
