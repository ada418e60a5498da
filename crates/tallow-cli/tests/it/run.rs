//! Whole runs, on the built-in sample.

use std::fs;
use std::io::{BufRead, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Output, Stdio};

use crate::common::{Sandbox, stderr, stdout};
use serde_json::Value;

const SMALL: &str = r#"
    question = "Does it run?"
    seeds = [0]
    claims = ["fc.parameters > 5", "cnn.parameters - fc.parameters < 1"]

    [data]
    dataset = "fashion-mnist-sample"
    transforms = [{ name = "to-tensor" }, { name = "normalize", mean = [0.286], std = [0.353] }]

    [train]
    epochs = 1
    batch_size = 64
    augment = [{ name = "random-crop", size = 28, padding = 2 }, { name = "random-horizontal-flip" }]
    optimizer = { name = "adam", lr = 0.005 }

    [[variants]]
    name = "fc"
    model.name = "mlp"
    published = [{ test_accuracy = 0.75, source = "nowhere" }]

    [[variants]]
    name = "cnn"
    model.name = "cnn"
"#;

fn run(sandbox: &Sandbox, experiment: &str, args: &[&str]) -> Output {
    let path = sandbox.path().join("small.toml");
    fs::write(&path, experiment).unwrap();
    sandbox
        .tallow()
        .arg("run")
        .arg("small.toml")
        .args(args)
        .output()
        .unwrap()
}

fn run_json(sandbox: &Sandbox, args: &[&str]) -> Value {
    let output = run(sandbox, SMALL, &[args, &["--json"]].concat());
    assert!(output.status.success(), "{}", stderr(&output));
    let text = stdout(&output);
    assert_eq!(text.lines().count(), 1, "{text}");
    serde_json::from_str(&text).unwrap()
}

#[test]
fn json_has_the_promised_shape() {
    let sandbox = Sandbox::new();
    let result = run_json(&sandbox, &["--seeds", "0..2"]);
    assert_eq!(result["experiment"], "small");
    assert_eq!(result["dataset"]["name"], "fashion-mnist-sample");
    assert!(
        result["dataset"]["provenance"]
            .as_str()
            .unwrap()
            .contains("fashion-mnist")
    );
    assert_eq!(result["dataset"]["digest"].as_str().unwrap().len(), 64);
    let [fc, cnn] = &result["variants"].as_array().unwrap()[..] else {
        panic!("{result}")
    };
    assert_eq!(
        (&fc["name"], &fc["model"], &fc["parameters"]),
        (&"fc".into(), &"mlp".into(), &6442.into())
    );
    assert_eq!(
        (&cnn["name"], &cnn["model"], &cnn["parameters"]),
        (&"cnn".into(), &"cnn".into(), &6422.into())
    );
    assert_eq!(fc["published"][0]["test_accuracy"], 0.75);
    assert_eq!(cnn["published"].as_array().unwrap().len(), 0);
    for variant in [fc, cnn] {
        let accuracy = &variant["metrics"]["test_accuracy"];
        let values: Vec<f64> = accuracy["values"]
            .as_array()
            .unwrap()
            .iter()
            .map(|v| v.as_f64().unwrap())
            .collect();
        let [a, b] = values[..] else {
            panic!("{result}")
        };
        assert!(
            (0.3..1.0).contains(&a) && (0.3..1.0).contains(&b),
            "{values:?}"
        );
        assert!((accuracy["mean"].as_f64().unwrap() - (a + b) / 2.0).abs() < 1e-12);
        let std = (a - b).abs() / 2f64.sqrt();
        assert!((accuracy["std"].as_f64().unwrap() - std).abs() < 1e-12);
        assert!(variant["metrics"]["train_loss"]["mean"].as_f64().unwrap() > 0.0);
    }
    let claims = result["claims"].as_array().unwrap();
    assert_eq!(claims.len(), 2);
    assert!(
        claims
            .iter()
            .all(|c| c["holds"] == true && c["text"].is_string())
    );
    assert!(result["seconds"].as_f64().unwrap() > 0.0);

    let runs = result["runs"].as_array().unwrap();
    assert_eq!(runs.len(), 4);
    for run in runs {
        let folder = sandbox.path().join(run.as_str().unwrap());
        for file in [
            "config.toml",
            "metrics.jsonl",
            "summary.json",
            "model.safetensors",
            "environment.json",
        ] {
            assert!(
                folder.join(file).is_file(),
                "{file} in {}",
                folder.display()
            );
        }
        let config = fs::read_to_string(folder.join("config.toml")).unwrap();
        // A default that the experiment does not state.
        assert!(config.contains("weight_decay"), "{config}");
    }
}

#[test]
fn the_table_shows_ours_beside_the_published_and_each_verdict() {
    let sandbox = Sandbox::new();
    let output = run(&sandbox, SMALL, &["--only", "fc"]);
    assert!(output.status.success(), "{}", stderr(&output));
    let text = stdout(&output);
    let row = text.lines().find(|l| l.contains("6,442")).unwrap();
    assert!(row.contains("75.00 %"), "{text}");
    let verdict = |claim: &str| {
        text.lines()
            .find(|l| l.contains(claim))
            .unwrap()
            .trim()
            .to_string()
    };
    assert!(verdict("fc.parameters > 5").starts_with("holds"), "{text}");
    assert!(
        verdict("cnn.parameters - fc.parameters < 1").starts_with('-'),
        "{text}"
    );
    // Not a terminal: a plain line an epoch, no escape codes.
    assert!(stderr(&output).contains("epoch 1/1"));
    assert!(!stderr(&output).contains('\u{1b}'));
}

#[test]
fn a_claim_that_fails_is_exit_code_1() {
    let sandbox = Sandbox::new();
    let experiment = SMALL.replace("fc.parameters > 5", "fc.parameters < 5");
    let output = run(&sandbox, &experiment, &["--only", "fc", "--json"]);
    assert_eq!(output.status.code(), Some(1), "{}", stderr(&output));
    let result: Value = serde_json::from_str(&stdout(&output)).unwrap();
    assert_eq!(result["claims"][0]["holds"], false);
    assert_eq!(result["claims"][1]["holds"], Value::Null);
}

/// One seed decides nothing that depends on it.
#[test]
fn an_undecided_claim_is_not_a_failure() {
    let sandbox = Sandbox::new();
    let experiment = SMALL.replace("fc.parameters > 5", "fc.test_accuracy > 0.999");
    let output = run(&sandbox, &experiment, &["--only", "fc", "--json"]);
    assert_eq!(output.status.code(), Some(0), "{}", stderr(&output));
    let result: Value = serde_json::from_str(&stdout(&output)).unwrap();
    let claim = &result["claims"][0];
    assert_eq!(claim["holds"], Value::Null);
    assert_eq!(claim["differences"][0]["seeds"], 1);
    assert!(claim["differences"][0]["mean"].as_f64().unwrap() < 0.0);
    assert_eq!(claim["differences"][0]["interval"], Value::Null);
}

#[test]
fn same_seed_same_bits_whatever_the_number_of_workers() {
    let sandbox = Sandbox::new();
    let weights = |args: &[&str]| {
        let few = ["--set", "data.train_samples=2000"];
        let args = [&["--only", "cnn", "--threads", "2"], &few[..], args].concat();
        let result = run_json(&sandbox, &args);
        let run = PathBuf::from(result["runs"][0].as_str().unwrap());
        fs::read(sandbox.path().join(run).join("model.safetensors")).unwrap()
    };
    let first = weights(&["--workers", "0"]);
    assert!(first == weights(&["--workers", "0"]), "twice the same");
    assert!(first == weights(&["--workers", "1"]), "1 worker");
    assert!(first == weights(&["--workers", "3"]), "3 workers");
    assert!(
        first != weights(&["--workers", "0", "--seeds", "1"]),
        "another seed"
    );
}

#[cfg(unix)]
#[test]
fn ctrl_c_stops_cleanly() {
    let sandbox = Sandbox::new();
    fs::write(sandbox.path().join("small.toml"), SMALL).unwrap();
    let mut child = std::process::Command::new(assert_cmd::cargo::cargo_bin!("tallow"))
        .args([
            "run",
            "small.toml",
            "--json",
            "--set",
            "train.epochs=100000",
        ])
        .current_dir(sandbox.path())
        .envs(sandbox.environment())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let mut lines = BufReader::new(child.stderr.take().unwrap()).lines();
    assert!(
        lines.any(|line| line.unwrap().contains("epoch 1/")),
        "it ended before its first epoch did"
    );
    let killed = std::process::Command::new("kill")
        .args(["-INT", &child.id().to_string()])
        .status()
        .unwrap();
    assert!(killed.success());
    let rest: Vec<String> = lines.map(Result::unwrap).collect();
    let output = child.wait_with_output().unwrap();
    assert_eq!(output.status.code(), Some(130), "{rest:?}");
    assert!(output.stdout.is_empty(), "half a result");
    assert!(
        !rest.iter().any(|line| line.contains("panicked")),
        "{rest:?}"
    );
    assert_eq!(finished_runs(&sandbox.out()), 0);
}

/// Run folders with a summary.
fn finished_runs(out: &Path) -> usize {
    let experiments = fs::read_dir(out).into_iter().flatten().flatten();
    let runs = experiments.flat_map(|e| fs::read_dir(e.path()).into_iter().flatten().flatten());
    runs.filter(|r| r.path().join("summary.json").exists())
        .count()
}
