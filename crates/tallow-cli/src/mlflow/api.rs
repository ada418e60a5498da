//! The parts of MLflow's REST API that sending a run needs.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::{Value, json};

use super::client::Client;
use super::error::{Error, Result};
use super::mapping::{Content, Pair, Point, RUN_TAG, Status};
use super::requests::{METRICS, PAIRS, groups};

/// Run on the server.
#[derive(Debug, Default)]
pub struct Found {
    /// Identifier that the server gave it.
    pub run_id: String,
    /// Status, as MLflow has it.
    pub status: String,
    /// Parameters.
    pub params: BTreeMap<String, String>,
    /// Names of the metrics that have a value.
    pub metrics: BTreeSet<String>,
}

/// Identifier of the experiment of this name, which is created where it is missing.
pub fn experiment(client: &Client, name: &str) -> Result<String> {
    const GET: &str = "experiments/get-by-name";
    const CREATE: &str = "experiments/create";
    let get = || client.get(GET, &[("experiment_name", name)]);
    let found = match get() {
        Err(Error::Refused { code, .. }) if code == "RESOURCE_DOES_NOT_EXIST" => {
            match client.post(CREATE, &json!({"name": name})) {
                Ok(answer) => return text(client, CREATE, &answer["experiment_id"]),
                // Another process was faster.
                Err(Error::Refused { code, .. }) if code == "RESOURCE_ALREADY_EXISTS" => get()?,
                Err(error) => return Err(error),
            }
        }
        found => found?,
    };
    let experiment = &found["experiment"];
    if experiment["lifecycle_stage"] == "deleted" {
        return Err(Error::Deleted {
            name: name.to_string(),
            base: client.base().to_string(),
        });
    }
    text(client, GET, &experiment["experiment_id"])
}

/// The run of this name in an experiment; `None` where there is none, or it was deleted.
pub fn find(client: &Client, experiment: &str, id: &str) -> Result<Option<Found>> {
    const SEARCH: &str = "runs/search";
    let query = json!({
        "experiment_ids": [experiment],
        "filter": format!("tags.`{RUN_TAG}` = '{id}'"),
        "run_view_type": "ACTIVE_ONLY",
        "max_results": 1,
    });
    let answer = client.post(SEARCH, &query)?;
    let Some(run) = answer["runs"].as_array().and_then(|runs| runs.first()) else {
        return Ok(None);
    };
    let (info, data) = (&run["info"], &run["data"]);
    let pairs = items(&data["params"]).map(|p| (string(&p["key"]), string(&p["value"])));
    Ok(Some(Found {
        run_id: text(client, SEARCH, &info["run_id"])?,
        status: string(&info["status"]),
        params: pairs.collect(),
        metrics: items(&data["metrics"]).map(|m| string(&m["key"])).collect(),
    }))
}

/// Creates a run with its tags, by which it is found from now on. Returns its identifier.
pub fn create(client: &Client, experiment: &str, content: &Content) -> Result<String> {
    const CREATE: &str = "runs/create";
    let run = json!({
        "experiment_id": experiment,
        "run_name": content.name,
        "start_time": content.start,
        "tags": content.tags,
    });
    let answer = client.post(CREATE, &run)?;
    text(client, CREATE, &answer["run"]["info"]["run_id"])
}

/// Adds parameters, tags and metrics to a run, in as many requests as MLflow's limits need.
pub fn log(
    client: &Client,
    run_id: &str,
    params: &[Pair],
    tags: &[Pair],
    metrics: &[Point],
) -> Result<()> {
    let post = |body: Value| client.post("runs/log-batch", &body).map(drop);
    for params in groups(params, PAIRS) {
        post(json!({"run_id": run_id, "params": params}))?;
    }
    for tags in groups(tags, PAIRS) {
        post(json!({"run_id": run_id, "tags": tags}))?;
    }
    for metrics in groups(metrics, METRICS) {
        post(json!({"run_id": run_id, "metrics": metrics}))?;
    }
    Ok(())
}

/// Steps at which a metric of a run has a value on the server.
pub fn steps(client: &Client, run_id: &str, metric: &str) -> Result<BTreeSet<i64>> {
    let mut steps = BTreeSet::new();
    let mut page = String::new();
    loop {
        let mut query = vec![
            ("run_id", run_id),
            ("metric_key", metric),
            ("max_results", "25000"),
        ];
        if !page.is_empty() {
            query.push(("page_token", &page));
        }
        let answer = client.get("metrics/get-history", &query)?;
        // A step of 0 may be left out.
        steps.extend(items(&answer["metrics"]).map(|point| whole(&point["step"])));
        page = string(&answer["next_page_token"]);
        if page.is_empty() {
            return Ok(steps);
        }
    }
}

/// Sets the status and the end of a run.
pub fn update(client: &Client, run_id: &str, status: Status, end: Option<i64>) -> Result<()> {
    let mut body = json!({"run_id": run_id, "status": status});
    if let Some(end) = end {
        body["end_time"] = end.into();
    }
    client.post("runs/update", &body).map(drop)
}

fn items(value: &Value) -> impl Iterator<Item = &Value> {
    value.as_array().into_iter().flatten()
}

fn string(value: &Value) -> String {
    value.as_str().unwrap_or_default().to_string()
}

/// A whole number; some servers write those of 64 bits as text.
fn whole(value: &Value) -> i64 {
    let text = || value.as_str().and_then(|text| text.parse().ok());
    value.as_i64().or_else(text).unwrap_or(0)
}

/// Text that an answer must have.
fn text(client: &Client, path: &str, value: &Value) -> Result<String> {
    match value.as_str() {
        Some(text) => Ok(text.to_string()),
        None => Err(Error::Answer {
            request: format!("{}/api/2.0/mlflow/{path}", client.base()),
            why: "an identifier is missing".to_string(),
        }),
    }
}
