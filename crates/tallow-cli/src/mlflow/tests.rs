//! Content of runs, without a server.

use std::fs;
use std::path::Path;

use serde_json::{Value, json};
use tallow_record::Run;

use super::api::Found;
use super::mapping::{Content, RUN_TAG, Status};
use super::{Error, missing_params, start};

/// 2026-01-02, 03:04:05.
const START: i64 = 1_767_323_045_000;

fn row(epoch: usize, loss: Value) -> Value {
    json!({
        "epoch": epoch, "train_loss": loss, "train_accuracy": 0.5, "test_loss": 0.25, "test_accuracy": 0.75, "lr": 0.1,
        "seconds": 1.5, "images_per_second": 10.0, "metrics": {"f1 (macro)": 0.5},
    })
}

/// Record with these epochs; it has finished if `finished`.
fn run(dir: &Path, rows: &[Value], finished: bool) -> Run {
    let dir = dir.join("20260102T030405Z-cnn-s7");
    fs::create_dir_all(&dir).unwrap();
    let info = json!({
        "experiment": "it's", "variant": "cnn", "seed": 7, "model": "cnn", "parameters": 6422,
        "dataset": {"name": "mnist", "provenance": "p", "digest": "d1", "classes": ["0", "1"]},
    });
    let environment = json!({
        "tallow": "0.1.0", "commit": "3681b5e-dirty", "rustc": "r", "platform": "linux x86_64", "cpu": "c", "threads": 2,
        "device": "cpu", "command": ["tallow", "run", "it's"],
    });
    let write = |name: &str, text: String| fs::write(dir.join(name), text).unwrap();
    write(
        "environment.json",
        json!({"run": info, "environment": environment}).to_string(),
    );
    write(
        "config.toml",
        "seed = 7\n[train]\nepochs = 2\nworkers = 1\n[train.optimizer]\nlr = 0.1\n".to_string(),
    );
    let lines: String = rows.iter().map(|row| format!("{row}\n")).collect();
    write("metrics.jsonl", lines);
    if finished {
        let summary = json!({
            "run": info, "epochs": rows.len(), "stopped": "patience", "seconds": 3.0, "metrics": {"test_accuracy": 0.75, "bad": null},
            "confusion": null, "per_class": null,
        });
        write("summary.json", summary.to_string());
    }
    Run::read(dir).unwrap()
}

fn content(rows: &[Value], finished: bool, under_way: bool) -> Content {
    let dir = tempfile::tempdir().unwrap();
    let run = run(dir.path(), rows, finished);
    assert_eq!(start(&run), START);
    Content::of(&run, START, under_way)
}

#[test]
fn a_finished_run_has_its_recipe_metrics_and_environment() {
    let found = content(&[row(0, json!(0.5)), row(1, json!(null))], true, false);
    assert_eq!(found.id, "it_s/20260102T030405Z-cnn-s7");
    assert_eq!(found.name, "20260102T030405Z-cnn-s7");
    assert_eq!(found.status, Status::Finished);
    assert_eq!((found.start, found.end), (START, Some(START + 3000)));

    let mut params: Vec<_> = (found.params.iter())
        .map(|p| (p.key.as_str(), p.value.as_str()))
        .collect();
    params.sort();
    let expected = [
        ("seed", "7"),
        ("train.epochs", "2"),
        ("train.optimizer.lr", "0.1"),
        ("train.workers", "1"),
    ];
    assert_eq!(params, expected);

    let point = |key: &str, step| {
        let mut found = found
            .metrics
            .iter()
            .filter(|p| p.key == key && p.step == step);
        let point = found.next().unwrap_or_else(|| panic!("no {key} at {step}"));
        assert!(found.next().is_none(), "{key} is there twice");
        (point.value, point.timestamp)
    };
    assert_eq!(point("train_loss", 0), (0.5, START + 1500));
    assert!(point("train_loss", 1).0.is_nan());
    assert_eq!(point("f1 _macro_", 1), (0.5, START + 3000));
    assert_eq!(point("final/test_accuracy", 1), (0.75, START + 3000));
    assert!(point("final/bad", 1).0.is_nan());
    // Eight of each epoch, two of the summary.
    assert_eq!(found.metrics.len(), 18);
    assert_eq!(found.notes, ["`f1 (macro)` is sent as `f1 _macro_`"]);

    let tag = |key: &str| {
        let tag = found.tags.iter().find(|tag| tag.key == key);
        tag.map(|tag| tag.value.as_str())
    };
    for (key, value) in [
        (RUN_TAG, "it_s/20260102T030405Z-cnn-s7"),
        ("tallow.seed", "7"),
        ("tallow.data.digest", "d1"),
        ("tallow.command", r"tallow run 'it'\''s'"),
        ("tallow.commit", "3681b5e-dirty"),
        ("mlflow.source.git.commit", "3681b5e"),
        ("tallow.precision", "f32"),
        ("tallow.stopped", "patience"),
    ] {
        assert_eq!(tag(key), Some(value), "{key}");
    }
}

#[test]
fn numbers_that_are_not_finite_are_text() {
    let found = content(&[row(0, json!(null))], false, false);
    let point = found.metrics.iter().find(|p| p.key == "train_loss");
    let expected =
        json!({"key": "train_loss", "value": "NaN", "timestamp": START + 1500, "step": 0});
    assert_eq!(serde_json::to_value(point.unwrap()).unwrap(), expected);
}

#[test]
fn the_status_says_how_a_run_ended() {
    let good = [row(0, json!(0.5))];
    let killed = content(&good, false, false);
    assert_eq!(killed.status, Status::Killed);
    assert_eq!(killed.end, Some(START + 1500));
    assert_eq!(content(&[], false, false).status, Status::Killed);
    let running = content(&good, false, true);
    assert_eq!((running.status, running.end), (Status::Running, None));
    let failed = content(&[row(0, json!(null))], false, false);
    assert_eq!(failed.status, Status::Failed);
}

#[test]
fn another_run_of_the_same_name_is_refused() {
    let mut ours = content(&[], false, false);
    let mut found = Found::default();
    for pair in &ours.params {
        found.params.insert(pair.key.clone(), pair.value.clone());
    }
    assert_eq!(missing_params(&mut ours, &found).unwrap(), []);
    // A run may be continued with another number of workers.
    found.params.insert("train.workers".into(), "4".into());
    found.params.remove("train.epochs");
    let missing = missing_params(&mut ours, &found).unwrap();
    assert_eq!(missing.len(), 1);
    assert_eq!(missing[0].key, "train.epochs");
    assert_eq!(
        ours.notes,
        ["`train.workers` stays 4 there, though the run was continued with 1"]
    );
    found
        .params
        .insert("train.optimizer.lr".into(), "0.2".into());
    let error = missing_params(&mut ours, &found).unwrap_err();
    assert!(matches!(error, Error::OtherRun { .. }));
    let message = error.to_string();
    for part in ["train.optimizer.lr", "0.2", "0.1", "--experiment"] {
        assert!(message.contains(part), "{part}: {message}");
    }
}
