//! `track`: run records on an MLflow server, which is one of the test's own here.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::PathBuf;
use std::process::Command;

use crate::common::{Sandbox, skipped, stderr, stdout};
use crate::mlflow_server::Server;
use serde_json::{Value, json};

/// Epochs of a run, of which the metrics need several requests.
const EPOCHS: usize = 150;

fn write(sandbox: &Sandbox, folder: &str, epochs: usize, finished: bool) -> PathBuf {
    let dir = sandbox.out().join("clothes").join(folder);
    fs::create_dir_all(&dir).unwrap();
    let run = json!({
        "experiment": "clothes", "variant": "cnn", "seed": 7, "model": "cnn", "parameters": 6422,
        "dataset": {"name": "mnist", "provenance": "p", "digest": "d1", "classes": ["0", "1"]},
    });
    let environment = json!({
        "tallow": "0.1.0", "commit": "3681b5e", "rustc": "r", "platform": "linux x86_64", "cpu": "c", "threads": 2, "device": "cpu",
        "command": ["tallow", "run", "clothes.toml"],
    });
    let file = |name: &str, text: String| fs::write(dir.join(name), text).unwrap();
    let about = json!({"run": run, "environment": environment});
    file("environment.json", about.to_string());
    let rules: String = (0..70)
        .map(|n| format!("[[train.rules]]\nname = \"layer{n}\"\nlr = 0.5\n"))
        .collect();
    let long = "x".repeat(7000);
    file(
        "config.toml",
        format!("question = \"{long}\"\n[train]\nepochs = {EPOCHS}\n{rules}"),
    );
    let lines: String = (0..epochs)
        .map(|epoch| {
            let row = json!({
                "epoch": epoch, "train_loss": 1.0 / (epoch + 1) as f64, "train_accuracy": 0.5, "test_loss": 0.25,
                "test_accuracy": 0.75, "test_top5": 1.0, "lr": 0.1, "seconds": 2.0, "images_per_second": 10.0,
            });
            format!("{row}\n")
        })
        .collect();
    file("metrics.jsonl", lines);
    if finished {
        let summary = json!({
            "run": run, "epochs": epochs, "stopped": null, "seconds": 300.0, "metrics": {"test_accuracy": 0.75, "steps": 938.0},
            "confusion": null, "per_class": null,
        });
        file("summary.json", summary.to_string());
    }
    dir
}

fn track(sandbox: &Sandbox, server: &Server, args: &[&str]) -> (Option<i32>, String, String) {
    let output = sandbox
        .tallow()
        .env("NO_PROXY", "127.0.0.1")
        .env("MLFLOW_TRACKING_URI", server.address())
        .args(["track"])
        .args(args)
        .output()
        .unwrap();
    (output.status.code(), stdout(&output), stderr(&output))
}

/// Values by name and step; fails where one is there twice.
fn values(run: &Value) -> BTreeMap<(String, i64), f64> {
    let mut values = BTreeMap::new();
    for point in run["metrics"].as_array().unwrap() {
        let name = point["key"].as_str().unwrap().to_string();
        let step = point["step"].as_i64().unwrap();
        let value = point["value"].as_f64().unwrap();
        assert!(
            values.insert((name, step), value).is_none(),
            "{point} is there twice"
        );
    }
    values
}

#[test]
fn every_parameter_and_metric_arrives_once() {
    let sandbox = Sandbox::new();
    let dir = write(&sandbox, "20260102T030405Z-cnn-s7", EPOCHS, true);
    let server = Server::start();
    let (code, text, message) = track(&sandbox, &server, &["clothes", "--json"]);
    assert_eq!(code, Some(0), "{message}");
    assert!(
        message.contains("`question` has 7000 characters"),
        "{message}"
    );
    let rows: Value = serde_json::from_str(&text).unwrap();
    assert_eq!(rows[0]["action"], "created");
    assert!(dir.ends_with(rows[0]["dir"].as_str().unwrap().trim_start_matches("runs/")));

    let runs = server.runs();
    assert_eq!(runs.len(), 1);
    let run = &runs[0];
    assert_eq!(run["experiment"], "clothes");
    assert_eq!(run["status"], "FINISHED");
    assert_eq!(run["run_name"], "20260102T030405Z-cnn-s7");
    assert_eq!(run["start_time"], 1_767_323_045_000i64);
    assert_eq!(run["end_time"], 1_767_323_345_000i64);
    // The question, the epochs, two of each rule.
    let params = run["params"].as_object().unwrap();
    assert_eq!(params.len(), 142);
    assert_eq!(params["train.rules.69.name"], "layer69");
    assert_eq!(params["question"].as_str().unwrap().len(), 6000);
    assert_eq!(run["tags"]["tallow.seed"], "7");
    let found = values(run);
    assert_eq!(found.len(), 8 * EPOCHS + 2);
    assert_eq!(found[&("train_loss".to_string(), 3)], 0.25);
    assert_eq!(found[&("final/steps".to_string(), 149)], 938.0);

    // The server checks the limits; here, that they were used.
    let paths = server.paths();
    let batches = paths.iter().filter(|path| path.contains("log-batch"));
    assert_eq!(batches.count(), 4, "{paths:?}");

    // The second time there is nothing to send.
    let (code, text, _) = track(&sandbox, &server, &["clothes", "--json"]);
    let rows: Value = serde_json::from_str(&text).unwrap();
    assert_eq!((code, &rows[0]["action"]), (Some(0), &json!("unchanged")));
    assert_eq!(server.runs(), runs);
    let more: BTreeSet<String> = server.paths().split_off(paths.len()).into_iter().collect();
    let expected = ["GET experiments/get-by-name", "POST runs/search"];
    assert_eq!(more, expected.map(String::from).into());

    // As text, and in another experiment, where it is new.
    let args = ["runs/clothes/20260102T030405Z-cnn-s7", "--experiment", "b"];
    let (code, text, _) = track(&sandbox, &server, &args);
    assert_eq!(code, Some(0));
    assert!(
        text.contains("sent (FINISHED), 142 parameters, 1,202 metric values"),
        "{text}"
    );
    assert!(text.contains("/#/experiments/"), "{text}");
    assert_eq!(server.runs().len(), 2);
}

#[test]
fn an_interrupted_run_is_completed_later() {
    let sandbox = Sandbox::new();
    let server = Server::start();
    let folder = "20260102T030405Z-cnn-s7";
    write(&sandbox, folder, 2, false);
    let (code, text, message) = track(&sandbox, &server, &[]);
    assert_eq!(code, Some(0), "{message}");
    assert!(text.contains("sent (KILLED)"), "{text}");
    let (_, text, _) = track(&sandbox, &server, &[]);
    assert!(text.contains("already there (KILLED)"), "{text}");

    write(&sandbox, folder, 4, true);
    let (code, text, message) = track(&sandbox, &server, &[]);
    assert_eq!(code, Some(0), "{message}");
    // Two epochs, and the summary.
    assert!(
        text.contains("completed (FINISHED), 0 parameters, 18 metric values"),
        "{text}"
    );
    let runs = server.runs();
    assert_eq!(runs.len(), 1);
    assert_eq!(runs[0]["status"], "FINISHED");
    assert_eq!(values(&runs[0]).len(), 34);

    // A record that cannot be read keeps no other back; nor does one that the server has otherwise.
    let other = write(&sandbox, "20260102T030406Z-cnn-s7", 1, true);
    fs::write(other.join("metrics.jsonl"), "no\n").unwrap();
    write(&sandbox, "20260102T030407Z-cnn-s7", 1, true);
    let config = sandbox
        .out()
        .join("clothes")
        .join(folder)
        .join("config.toml");
    fs::write(config, "[train]\nepochs = 9\n").unwrap();
    let (code, text, message) = track(&sandbox, &server, &[]);
    assert_eq!(code, Some(2));
    assert!(text.contains("030407Z-cnn-s7: sent (FINISHED)"), "{text}");
    for part in [
        "not sent: ",
        "metrics.jsonl",
        "another `train.epochs`: there it is `150`, here `9`",
    ] {
        assert!(message.contains(part), "{part}: {message}");
    }
    assert_eq!(server.runs().len(), 2);
}

#[test]
fn credentials_are_sent_and_errors_say_what_to_do() {
    let sandbox = Sandbox::new();
    write(&sandbox, "20260102T030405Z-cnn-s7", 1, true);
    let run = |address: &str, token: &str| {
        let output = sandbox
            .tallow()
            .env("NO_PROXY", "127.0.0.1")
            .env("MLFLOW_TRACKING_TOKEN", token)
            .args(["track", "--mlflow", address])
            .output()
            .unwrap();
        let expected = if token == "good" { 0 } else { 2 };
        assert_eq!(output.status.code(), Some(expected), "{}", stderr(&output));
        stderr(&output)
    };
    let server = Server::with_token("good");
    let message = run(server.address(), "bad");
    for part in [
        "GET http://127.0.0.1",
        "experiments/get-by-name: HTTP 401",
        "PERMISSION_DENIED: who are you?",
        "set MLFLOW_TRACKING_USERNAME",
    ] {
        assert!(message.contains(part), "{part}: {message}");
    }
    assert!(server.runs().is_empty());
    run(server.address(), "good");
    assert_eq!(server.runs().len(), 1);

    let message = run("http://127.0.0.1:9", "bad");
    for part in [
        "no answer from the MLflow server at http://127.0.0.1:9",
        "`mlflow server --port 5000`",
    ] {
        assert!(message.contains(part), "{part}: {message}");
    }
    let message = run("mlruns", "bad");
    assert!(message.contains("http://HOST:PORT"), "{message}");

    let output = sandbox.tallow().args(["track"]).output().unwrap();
    assert_eq!(output.status.code(), Some(2));
    let message = stderr(&output);
    assert!(message.contains("MLFLOW_TRACKING_URI"), "{message}");
}

/// A Python that has MLflow.
fn python() -> Option<PathBuf> {
    let python = std::env::var_os("TALLOW_PYTHON").map(PathBuf::from)?;
    let check = Command::new(&python).args(["-c", "import mlflow"]).output();
    check
        .is_ok_and(|output| output.status.success())
        .then_some(python)
}

#[test]
fn mlflow_has_every_parameter_and_metric() {
    let Some(python) = python() else {
        skipped("no MLflow; TALLOW_PYTHON can name a Python that has it");
        return;
    };
    let sandbox = Sandbox::new();
    let script = concat!(
        env!("CARGO_MANIFEST_DIR"),
        "/../../xtask/pytorch/check_mlflow.py"
    );
    let output = Command::new(&python)
        .arg(script)
        .arg(assert_cmd::cargo::cargo_bin!("tallow"))
        .arg(write(&sandbox, "20260102T030405Z-cnn-s7", EPOCHS, true))
        .arg(write(&sandbox, "20260102T030406Z-cnn-s7", 2, false))
        .output()
        .unwrap();
    let text = stdout(&output);
    assert!(output.status.success(), "{text}{}", stderr(&output));
    for part in [
        "FINISHED, 142 parameters, 1202 values of 10 metrics",
        "KILLED, 142 parameters, 16 values of 8 metrics",
    ] {
        assert!(text.contains(part), "{part} is missing in {text}");
    }
}
