//! `regress --results`: results of another program, compared without training.

use std::fs;
use std::process::Output;

use crate::common::{Sandbox, stderr, stdout};
use serde_json::Value;

fn regress(sandbox: &Sandbox, args: &[&str]) -> Output {
    let always = ["regress", "--baseline", "mine.json", "--results"];
    let command = always.iter().chain(args);
    sandbox.tallow().args(command).output().unwrap()
}

fn csv(sandbox: &Sandbox, name: &str, first_seed: u64, accuracies: &[f64]) {
    let mut text = "seed,metric,value\n".to_string();
    for (seed, accuracy) in (first_seed..).zip(accuracies) {
        text += &format!("{seed},acc,{accuracy}\n{seed},wer,{}\n", 1.0 - accuracy);
    }
    fs::write(sandbox.path().join(name), text).unwrap();
}

#[test]
fn a_csv_is_kept_to_its_baseline() {
    let sandbox = Sandbox::new();
    let accuracies = [0.94, 0.95, 0.93, 0.96, 0.94, 0.95, 0.94, 0.93, 0.95, 0.94];
    csv(&sandbox, "before.csv", 0, &accuracies);
    csv(&sandbox, "same.csv", 10, &[0.95, 0.94, 0.93]);
    csv(&sandbox, "worse.csv", 10, &[0.85, 0.84, 0.86]);

    let output = regress(&sandbox, &["same.csv"]);
    assert_eq!(output.status.code(), Some(2));
    let message = stderr(&output);
    assert!(message.contains("mine.json: no such baseline"), "{message}");

    let update = [
        "before.csv",
        "--lower",
        "wer",
        "--update",
        "--reason",
        "first",
    ];
    let output = regress(&sandbox, &update);
    assert!(output.status.success(), "{}", stderr(&output));
    let text = fs::read_to_string(sandbox.path().join("mine.json")).unwrap();
    let baseline: Value = serde_json::from_str(&text).unwrap();
    assert_eq!(baseline["updates"][0]["reason"], "first");
    assert_eq!(baseline["better"]["wer"], "lower");

    let output = regress(&sandbox, &["same.csv", "--json"]);
    assert!(output.status.success(), "{}", stderr(&output));
    let findings: Value = serde_json::from_str(&stdout(&output)).unwrap();
    assert_eq!(findings["passed"], true);
    assert_eq!(findings["experiments"][0]["experiment"], "mine");

    let files = ["--junit", "out/junit.xml", "--markdown", "out/table.md"];
    let output = regress(&sandbox, &[&["worse.csv"], &files[..]].concat());
    assert_eq!(output.status.code(), Some(1), "{}", stderr(&output));
    let told = stdout(&output);
    assert!(told.contains("REGRESSION"), "{told}");
    assert!(told.contains("1 of 1 experiments FAIL"), "{told}");
    let junit = fs::read_to_string(sandbox.path().join("out/junit.xml")).unwrap();
    assert_eq!(junit.matches("<failure").count(), 2, "{junit}");
    let table = fs::read_to_string(sandbox.path().join("out/table.md")).unwrap();
    assert!(table.contains("| mine | default | acc |"), "{table}");
    // One metric alone, and a direction that makes it better.
    let output = regress(
        &sandbox,
        &["worse.csv", "--metric", "wer", "--higher", "wer"],
    );
    assert!(output.status.success(), "{}", stdout(&output));
}

#[test]
fn malformed_results_are_bad_input() {
    let sandbox = Sandbox::new();
    fs::write(
        sandbox.path().join("r.csv"),
        "seed,metric,value\n0,acc,high\n",
    )
    .unwrap();
    let output = regress(&sandbox, &["r.csv"]);
    assert_eq!(output.status.code(), Some(2));
    let message = stderr(&output);
    assert!(
        message.contains("r.csv, line 2: expected a number, found `high`"),
        "{message}"
    );
    for (args, expected) in [
        (&["none"][..], "cannot read none"),
        (&["r.csv", "--tier", "smoke"], "--tier"),
        (&["r.csv", "--exact"], "--exact"),
    ] {
        let output = regress(&sandbox, args);
        assert_eq!(output.status.code(), Some(2), "{args:?}");
        assert!(
            stderr(&output).contains(expected),
            "{args:?}: {}",
            stderr(&output)
        );
    }
    let output = sandbox
        .tallow()
        .args(["regress", "--results", "r.csv"])
        .output()
        .unwrap();
    assert_eq!(output.status.code(), Some(2));
    assert!(stderr(&output).contains("--baseline"));
}
