//! The part of an MLflow server that `track` needs, with MLflow's limits.

use std::collections::BTreeMap;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::sync::{Arc, Mutex};

use serde_json::{Value, json};

/// Server on this machine; its runs are those of all experiments.
pub struct Server {
    address: String,
    state: Arc<Mutex<State>>,
}

#[derive(Default)]
struct State {
    token: Option<String>,
    experiments: Vec<String>,
    runs: Vec<Value>,
    paths: Vec<String>,
}

/// Status, and body.
type Answer = Result<Value, (u16, Value)>;

impl Server {
    pub fn start() -> Self {
        Self::of(State::default())
    }

    /// Server that answers requests with this token alone.
    pub fn with_token(token: &str) -> Self {
        Self::of(State {
            token: Some(format!("Bearer {token}")),
            ..State::default()
        })
    }

    fn of(state: State) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = format!("http://{}", listener.local_addr().unwrap());
        let state = Arc::new(Mutex::new(state));
        let shared = state.clone();
        std::thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                let _ = serve(stream, &shared);
            }
        });
        Self { address, state }
    }

    pub fn address(&self) -> &str {
        &self.address
    }

    /// Runs, each with its parameters and tags by key, and every value of a metric that was sent.
    pub fn runs(&self) -> Vec<Value> {
        self.state.lock().unwrap().runs.clone()
    }

    /// Requests so far: methods and paths.
    pub fn paths(&self) -> Vec<String> {
        self.state.lock().unwrap().paths.clone()
    }
}

fn serve(mut stream: TcpStream, state: &Mutex<State>) -> std::io::Result<()> {
    let mut reader = BufReader::new(stream.try_clone()?);
    let mut first = String::new();
    reader.read_line(&mut first)?;
    let (mut length, mut authorization) = (0, None);
    loop {
        let mut line = String::new();
        reader.read_line(&mut line)?;
        let Some((name, value)) = line.trim().split_once(": ") else {
            break;
        };
        match name.to_ascii_lowercase().as_str() {
            "content-length" => length = value.parse().unwrap(),
            "authorization" => authorization = Some(value.to_string()),
            _ => {}
        }
    }
    let mut body = vec![0; length];
    reader.read_exact(&mut body)?;
    let body = serde_json::from_slice(&body).unwrap_or(Value::Null);
    let mut words = first.split(' ');
    let (method, target) = (words.next().unwrap(), words.next().unwrap());
    let (path, query) = target.split_once('?').unwrap_or((target, ""));
    let path = path.strip_prefix("/api/2.0/mlflow/").unwrap_or(path);
    let query = query.split('&').filter_map(|pair| pair.split_once('='));
    let query = query.map(|(k, v)| (k.to_string(), v.replace("%2F", "/")));

    let mut state = state.lock().unwrap();
    let request = format!("{method} {path}");
    state.paths.push(request.clone());
    let answer = if state.token.is_some() && authorization != state.token {
        refused(401, "PERMISSION_DENIED", "who are you?")
    } else {
        state.answer(&request, &query.collect(), &body)
    };
    let (status, body) = match answer {
        Ok(body) => (200, body),
        Err(error) => error,
    };
    let body = body.to_string();
    write!(
        stream,
        "HTTP/1.1 {status} X\r\nContent-Length: {}\r\nConnection: close\r\n\r\n{body}",
        body.len()
    )
}

fn refused(status: u16, code: &str, message: &str) -> Answer {
    Err((status, json!({"error_code": code, "message": message})))
}

fn list(value: &Value) -> Vec<Value> {
    value.as_array().cloned().unwrap_or_default()
}

impl State {
    fn answer(&mut self, request: &str, query: &BTreeMap<String, String>, body: &Value) -> Answer {
        match request {
            "GET experiments/get-by-name" => {
                let name = &query["experiment_name"];
                match self.experiments.iter().position(|known| known == name) {
                    Some(id) => Ok(
                        json!({"experiment": {"experiment_id": id.to_string(), "lifecycle_stage": "active"}}),
                    ),
                    None => refused(404, "RESOURCE_DOES_NOT_EXIST", "no such experiment"),
                }
            }
            "POST experiments/create" => {
                let name = body["name"].as_str().unwrap().to_string();
                self.experiments.push(name);
                Ok(json!({"experiment_id": (self.experiments.len() - 1).to_string()}))
            }
            "POST runs/search" => Ok(self.search(body)),
            "POST runs/create" => self.create(body),
            "POST runs/log-batch" => self.log(body),
            "GET metrics/get-history" => {
                let run = &self.runs[query["run_id"].parse::<usize>().unwrap()];
                let mut points = list(&run["metrics"]);
                points.retain(|point| point["key"] == query["metric_key"].as_str());
                Ok(json!({"metrics": points}))
            }
            "POST runs/update" => {
                let run = self.run(body);
                for key in ["status", "end_time"] {
                    run[key] = body[key].clone();
                }
                Ok(json!({}))
            }
            _ => refused(404, "ENDPOINT_NOT_FOUND", request),
        }
    }

    fn run(&mut self, body: &Value) -> &mut Value {
        let id: usize = body["run_id"].as_str().unwrap().parse().unwrap();
        &mut self.runs[id]
    }

    fn search(&self, body: &Value) -> Value {
        let experiment: usize = body["experiment_ids"][0].as_str().unwrap().parse().unwrap();
        let filter = body["filter"].as_str().unwrap();
        let name = filter.strip_prefix("tags.`tallow.run` = '").unwrap();
        let name = name.strip_suffix('\'').unwrap();
        let found = self.runs.iter().enumerate().filter(|(_, run)| {
            run["experiment"] == self.experiments[experiment].as_str()
                && run["tags"]["tallow.run"] == name
        });
        let pairs = |map: &Value| -> Vec<Value> {
            let pairs = map.as_object().unwrap().iter();
            pairs.map(|(k, v)| json!({"key": k, "value": v})).collect()
        };
        let runs = found.map(|(id, run)| {
            json!({
                "info": {"run_id": id.to_string(), "status": run["status"]},
                "data": {"params": pairs(&run["params"]), "metrics": run["metrics"]},
            })
        });
        json!({"runs": runs.collect::<Vec<_>>()})
    }

    fn create(&mut self, body: &Value) -> Answer {
        let experiment: usize = body["experiment_id"].as_str().unwrap().parse().unwrap();
        let tags = list(&body["tags"]);
        let tags = tags.iter().map(|tag| (tag["key"].as_str(), &tag["value"]));
        let tags: serde_json::Map<String, Value> = tags
            .map(|(key, value)| (key.unwrap().to_string(), value.clone()))
            .collect();
        self.runs.push(json!({
            "experiment": self.experiments[experiment], "run_name": body["run_name"], "start_time": body["start_time"],
            "status": "RUNNING", "tags": tags, "params": {}, "metrics": [],
        }));
        Ok(json!({"run": {"info": {"run_id": (self.runs.len() - 1).to_string()}}}))
    }

    fn log(&mut self, body: &Value) -> Answer {
        let (params, tags) = (list(&body["params"]), list(&body["tags"]));
        let metrics = list(&body["metrics"]);
        if params.len() > 100
            || tags.len() > 100
            || metrics.len() > 1000
            || body.to_string().len() > 1_000_000
        {
            return refused(400, "INVALID_PARAMETER_VALUE", "the batch is too large");
        }
        let run = self.run(body);
        for param in params {
            let (key, value) = (param["key"].as_str().unwrap(), &param["value"]);
            if key.len() > 250 || value.as_str().unwrap().len() > 6000 {
                return refused(400, "INVALID_PARAMETER_VALUE", "the parameter is too long");
            }
            if !run["params"][key].is_null() {
                return refused(400, "INVALID_PARAMETER_VALUE", "the parameter is there");
            }
            run["params"][key] = value.clone();
        }
        for tag in tags {
            run["tags"][tag["key"].as_str().unwrap()] = tag["value"].clone();
        }
        run["metrics"].as_array_mut().unwrap().extend(metrics);
        Ok(json!({}))
    }
}
