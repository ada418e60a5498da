//! `runs` and `clean-runs`.

use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};

use crate::common::{Sandbox, stderr, stdout};
use serde_json::{Value, json};

/// A run record as the trainer leaves it; without a summary it has not finished.
fn record(sandbox: &Sandbox, name: &str, seed: u64, accuracy: Option<f64>) -> PathBuf {
    let (experiment, folder) = name.split_once('/').unwrap();
    let variant = folder.split_once('-').unwrap().1;
    let dir = sandbox.out().join(name);
    fs::create_dir_all(dir.join("checkpoint")).unwrap();
    let run = json!({
        "experiment": experiment, "variant": variant, "seed": seed, "model": "cnn", "parameters": 6422,
        "dataset": {"name": "mnist", "provenance": "p", "digest": "d", "classes": ["0", "1"]},
    });
    let environment = json!({
        "tallow": "0.1.0", "commit": "3681b5e0123456789-dirty", "rustc": "r", "platform": "linux x86_64", "cpu": "c",
        "threads": 2, "device": "cpu", "command": ["tallow"],
    });
    let write = |name: &str, value: &Value| fs::write(dir.join(name), value.to_string()).unwrap();
    write(
        "environment.json",
        &json!({"run": run, "environment": environment}),
    );
    fs::write(dir.join("config.toml"), "[data]\ndataset = \"mnist\"\n").unwrap();
    let epoch = json!({
        "epoch": 0, "train_loss": 0.5, "train_accuracy": 0.8, "test_loss": 0.25, "test_accuracy": accuracy.unwrap_or(0.5),
        "test_top5": null, "lr": 0.1, "seconds": 2.5, "images_per_second": 10.0,
    });
    fs::write(dir.join("metrics.jsonl"), format!("{epoch}\n")).unwrap();
    fs::write(dir.join("checkpoint/state"), vec![0; 5000]).unwrap();
    if let Some(accuracy) = accuracy {
        let metrics = json!({"test_accuracy": accuracy, "test_loss": 0.25, "steps": 938.0});
        write(
            "summary.json",
            &json!({
                "run": run, "epochs": 1, "stopped": null, "seconds": 2.5, "metrics": metrics, "confusion": null, "per_class": null,
            }),
        );
    }
    dir
}

/// Six records, of which one has not finished, and what is none.
fn sandbox() -> Sandbox {
    let sandbox = Sandbox::new();
    for (name, seed, accuracy) in [
        ("first/20260101T000000Z-cnn", 0, Some(0.91)),
        ("first/20260102T000000Z-cnn", 0, Some(0.95)),
        ("first/20260103T000000Z-cnn", 1, Some(0.93)),
        ("second/20260104T000000Z-fc", 0, Some(0.85)),
        ("second/20260105T000000Z-fc", 0, None),
        ("second/20260106T000000Z-fc", 0, Some(0.87)),
    ] {
        record(&sandbox, name, seed, accuracy);
    }
    let other = sandbox.out().join("second/pictures");
    fs::create_dir(&other).unwrap();
    fs::write(other.join("config.toml"), "").unwrap();
    fs::write(sandbox.out().join("notes.txt"), "mine").unwrap();
    sandbox
}

fn tallow(sandbox: &Sandbox, args: &[&str]) -> (Option<i32>, String, String) {
    let output = sandbox.tallow().args(args).output().unwrap();
    (output.status.code(), stdout(&output), stderr(&output))
}

fn listed(sandbox: &Sandbox, args: &[&str]) -> Vec<String> {
    let (code, text, message) = tallow(sandbox, &[&["runs", "--json"], args].concat());
    assert_eq!((code, message.as_str()), (Some(0), ""));
    let rows: Vec<Value> = serde_json::from_str(&text).unwrap();
    let day = |row: &Value| row["time"].as_str().unwrap()[8..10].to_string();
    rows.iter().map(day).collect()
}

#[test]
fn runs_are_listed_sorted_and_filtered() {
    let sandbox = sandbox();
    let list = |args: &[&str]| listed(&sandbox, args);
    assert_eq!(list(&[]), ["01", "02", "03", "04", "05", "06"]);
    assert_eq!(list(&["--reverse"])[0], "06");
    assert_eq!(list(&["first"]), ["01", "02", "03"]);
    assert_eq!(
        list(&["--sort", "test_accuracy"]),
        ["02", "03", "01", "06", "04", "05"]
    );
    assert_eq!(
        list(&["--sort", "test_accuracy", "--reverse"])[..2],
        ["05", "04"]
    );
    // What has no such figure comes last either way.
    assert_eq!(list(&["--sort", "steps"]).last().unwrap(), "05");
    assert_eq!(
        list(&["--sort", "steps", "--reverse"]).last().unwrap(),
        "05"
    );
    assert_eq!(list(&["--sort", "seed"])[0], "03");
    assert_eq!(list(&["--filter", "FC"]), ["04", "05", "06"]);
    assert!(list(&["--filter", "nothing"]).is_empty());

    let (code, text, message) = tallow(&sandbox, &["runs", "--sort", "steps"]);
    assert_eq!(code, Some(0), "{message}");
    for part in [
        "2026-01-02 00:00:00",
        "95.00 %",
        "0.2500",
        "1, unfinished",
        "3681b5e-dirty",
        "steps",
        "938",
        "6 runs, 1 unfinished",
    ] {
        assert!(text.contains(part), "no {part} in\n{text}");
    }
    for (args, words) in [
        (
            &["runs", "--sort", "tset_accuracy"][..],
            &["unknown metric", "did you mean `test_accuracy`"][..],
        ),
        (
            &["runs", "frist"],
            &["unknown experiment", "did you mean `first`"],
        ),
        (
            &["runs", "--out", "elsewhere"],
            &["elsewhere", "tallow run quickstart"],
        ),
        (
            &["clean-runs", "--unfinished", "--out", "elsewhere"],
            &["elsewhere"],
        ),
        (
            &["clean-runs", "--unfinished", "--experiment", "frist"],
            &["did you mean `first`"],
        ),
        (&["clean-runs", "--yes"], &["--keep-last"]),
        (&["clean-runs", "--keep-last", "x"], &["--keep-last"]),
    ] {
        let (code, text, message) = tallow(&sandbox, args);
        assert_eq!((code, text.as_str()), (Some(2), ""), "{args:?}");
        assert!(
            words.iter().all(|word| message.contains(word)),
            "{args:?}: {message}"
        );
    }
    // One record that is broken hides none of the others.
    fs::write(
        sandbox
            .out()
            .join("first/20260101T000000Z-cnn/metrics.jsonl"),
        "no\n",
    )
    .unwrap();
    let (code, text, message) = tallow(&sandbox, &["runs", "--json"]);
    assert_eq!(code, Some(0));
    assert_eq!(serde_json::from_str::<Vec<Value>>(&text).unwrap().len(), 5);
    assert!(
        message.contains("skipped") && message.contains("metrics.jsonl"),
        "{message}"
    );
}

/// As if nothing had been written for a week.
fn age(dir: &Path) {
    for entry in fs::read_dir(dir).unwrap().flatten() {
        if entry.path().is_dir() {
            age(&entry.path());
        } else {
            let file = File::options().write(true).open(entry.path()).unwrap();
            file.set_modified(SystemTime::now() - Duration::from_secs(7 * 86_400))
                .unwrap();
        }
    }
}

#[test]
fn records_go_when_told_twice_and_nothing_else_ever() {
    let sandbox = sandbox();
    let exists = |name: &str| sandbox.out().join(name).exists();
    let unfinished = "second/20260105T000000Z-fc";

    // What may still be running is left.
    let (code, text, _) = tallow(&sandbox, &["clean-runs", "--unfinished", "--yes"]);
    assert_eq!(code, Some(0));
    assert!(
        text.contains("it may be running") && text.contains("nothing to delete"),
        "{text}"
    );
    assert!(exists(unfinished));
    age(&sandbox.out().join(unfinished));
    let (_, text, _) = tallow(&sandbox, &["clean-runs", "--unfinished"]);
    assert!(
        text.contains("would delete 1 run, 5.") && text.contains("--yes"),
        "{text}"
    );
    assert!(exists(unfinished));
    let (_, text, _) = tallow(&sandbox, &["clean-runs", "--unfinished", "--yes"]);
    assert!(text.contains("deleted 1 run"), "{text}");
    assert!(!exists(unfinished));

    let (code, text, _) = tallow(&sandbox, &["clean-runs", "--keep-last", "1", "--json"]);
    assert_eq!(code, Some(0));
    let plan: Value = serde_json::from_str(&text).unwrap();
    let plan: Vec<&str> = plan["records"]
        .as_array()
        .unwrap()
        .iter()
        .map(|r| r["dir"].as_str().unwrap())
        .collect();
    assert_eq!(plan.len(), 2, "{text}");
    // The newest of each variant and seed stays.
    assert!(
        plan[0].ends_with("20260101T000000Z-cnn") && plan[1].ends_with("20260104T000000Z-fc"),
        "{plan:?}"
    );
    assert!(exists("first/20260101T000000Z-cnn"));
    let (_, text, _) = tallow(
        &sandbox,
        &[
            "clean-runs",
            "--keep-last",
            "1",
            "--experiment",
            "first",
            "--yes",
        ],
    );
    assert!(text.contains("deleted 1 run"), "{text}");
    assert!(!exists("first/20260101T000000Z-cnn") && exists("second/20260104T000000Z-fc"));

    // A link to a record elsewhere is no record.
    #[cfg(unix)]
    let elsewhere = {
        let elsewhere = sandbox.path().join("elsewhere");
        fs::rename(sandbox.out().join("second/20260106T000000Z-fc"), &elsewhere).unwrap();
        std::os::unix::fs::symlink(&elsewhere, sandbox.out().join("second/20260106T000000Z-fc"))
            .unwrap();
        // Nor is what a record links to part of it.
        fs::write(sandbox.path().join("precious"), "mine").unwrap();
        let link = sandbox.out().join("second/20260104T000000Z-fc/link");
        std::os::unix::fs::symlink(sandbox.path().join("precious"), link).unwrap();
        elsewhere
    };
    let (code, _, message) = tallow(&sandbox, &["clean-runs", "--keep-last", "0", "--yes"]);
    assert_eq!(code, Some(0), "{message}");
    assert!(listed(&sandbox, &[]).is_empty());
    assert!(exists("second/pictures/config.toml") && exists("notes.txt"));
    #[cfg(unix)]
    assert!(
        elsewhere.join("environment.json").exists() && sandbox.path().join("precious").exists()
    );
}
