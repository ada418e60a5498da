//! `regress` on the built-in sample: what passes, what is found, what is refused.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};
use std::sync::OnceLock;

use crate::common::{Sandbox, skipped, stderr, stdout};
use serde_json::{Value, json};

/// Runs `regress` on an experiment, with baselines in `baselines`.
fn regress_of(experiment: &str, sandbox: &Sandbox, args: &[&str]) -> Output {
    let always = ["regress", "--only", experiment, "--baseline", "baselines"];
    let command = always.iter().chain(args);
    sandbox.tallow().args(command).output().unwrap()
}

/// Runs `regress` on the one experiment that needs no data.
fn regress(sandbox: &Sandbox, args: &[&str]) -> Output {
    regress_of("guard", sandbox, args)
}

/// Writes that experiment as a file with few images: to be compared it need not be trained well. Its networks are the same.
fn write_small(sandbox: &Sandbox) {
    let text = include_str!("../../../tallow-experiment/experiments/guard.toml");
    let tier = "[tiers.smoke]";
    assert!(text.contains(tier), "{text}");
    let few = "\nclaims = [\"plain.test_accuracy >= 0.01\"]\n\
        data.train_samples = 501\n\
        data.test_samples = 200\n\
        train.epochs = 2";
    let text = text.replace(tier, &format!("{tier}{few}"));
    fs::write(sandbox.path().join("guard.toml"), text).unwrap();
}

fn baseline(sandbox: &Sandbox) -> PathBuf {
    sandbox.path().join("baselines/guard.smoke.json")
}

fn read(path: &Path) -> Value {
    serde_json::from_slice(&fs::read(path).unwrap()).unwrap()
}

/// Changes the baseline.
fn edit(sandbox: &Sandbox, change: impl FnOnce(&mut Value)) {
    let path = baseline(sandbox);
    let mut value = read(&path);
    change(&mut value);
    fs::write(path, value.to_string()).unwrap();
}

/// Adds `by` to a figure of a variant, and forgets the weights, so that figures are compared and not bits.
fn shift(baseline: &mut Value, variant: usize, metric: &str, by: f64) {
    let variant = &mut baseline["variants"][variant];
    let statistic = &mut variant["metrics"][metric];
    for value in statistic["values"].as_array_mut().unwrap() {
        *value = json!(value.as_f64().unwrap() + by);
    }
    statistic["mean"] = json!(statistic["mean"].as_f64().unwrap() + by);
    for weights in variant["weights"].as_array_mut().unwrap() {
        *weights = Value::Null;
    }
}

fn rows(findings: &Value, variant: &str) -> Vec<Value> {
    let variants = findings["experiments"][0]["variants"].as_array().unwrap();
    let variant = variants.iter().find(|v| v["name"] == variant).unwrap();
    variant["rows"].as_array().unwrap().clone()
}

#[test]
fn traces_are_compared_without_training() {
    let sandbox = Sandbox::new();
    let committed =
        Path::new(env!("CARGO_MANIFEST_DIR")).join("../../xtask/baselines/guard.smoke.json");
    fs::create_dir_all(sandbox.path().join("baselines")).unwrap();
    fs::copy(committed, baseline(&sandbox)).unwrap();

    let output = regress(&sandbox, &["--traces"]);
    assert_eq!(output.status.code(), Some(0), "{}", stderr(&output));
    let line = "traces: 3 variants train as in the baseline, 0 in another way";
    assert!(stdout(&output).contains(line), "{}", stdout(&output));
    assert!(!sandbox.path().join("runs/guard").exists());

    // A trace that differs, and one that does not; then it is renewed, with a reason, and the metrics are kept.
    let before = read(&baseline(&sandbox));
    edit(&sandbox, |b| {
        b["variants"][0]["trace"]["entries"]["order of the samples"] = json!("0".repeat(64));
    });
    let output = regress(&sandbox, &["--traces", "--json"]);
    assert_eq!(output.status.code(), Some(1), "{}", stderr(&output));
    let findings: Value = serde_json::from_str(&stdout(&output)).unwrap();
    assert_eq!(findings["experiments"][0]["verdict"], "changed");
    let variants = &findings["experiments"][0]["variants"];
    assert_eq!(variants[0]["changes"][0]["entry"], "order of the samples");
    assert_eq!(variants[1]["changes"], json!([]));
    let renew = ["--traces", "--update", "--reason", "another order"];
    let output = regress(&sandbox, &renew);
    assert_eq!(output.status.code(), Some(0), "{}", stderr(&output));
    let renewed = read(&baseline(&sandbox));
    assert_eq!(renewed["variants"], before["variants"]);
    let updates = renewed["updates"].as_array().unwrap();
    assert_eq!(updates.last().unwrap()["reason"], "another order");
    let earlier = before["updates"].as_array().unwrap();
    assert_eq!(updates[..earlier.len()], earlier[..]);

    // Nothing to compare with, and another recipe, whose traces are not renewed but the whole baseline is.
    edit(&sandbox, |b| {
        b["variants"][0].as_object_mut().unwrap().remove("trace");
    });
    let output = regress(&sandbox, &["--traces"]);
    assert_eq!(output.status.code(), Some(2));
    let message = stdout(&output) + &stderr(&output);
    assert!(
        message.contains("the baseline has no trace of `plain`"),
        "{message}"
    );
    edit(&sandbox, |b| {
        b["variants"][0]["recipe"]["train"]["epochs"] = json!(7);
    });
    let output = regress(&sandbox, &renew);
    assert_eq!(output.status.code(), Some(2));
    let message = stderr(&output);
    assert!(message.contains("train.epochs: 4, not 7"), "{message}");
}

/// Baseline of the small experiment, trained once for the tests that begin with it.
fn recorded() -> &'static str {
    static RECORDED: OnceLock<String> = OnceLock::new();
    RECORDED.get_or_init(|| {
        let sandbox = Sandbox::new();
        write_small(&sandbox);
        let update = ["--update", "--reason", "first record", "--seeds", "0..3"];
        let output = regress_of("guard.toml", &sandbox, &update);
        assert!(output.status.success(), "{}", stderr(&output));
        fs::read_to_string(baseline(&sandbox)).unwrap()
    })
}

/// The small experiment and its baseline.
fn small_with_baseline() -> Sandbox {
    let sandbox = Sandbox::new();
    write_small(&sandbox);
    fs::create_dir(sandbox.path().join("baselines")).unwrap();
    fs::write(baseline(&sandbox), recorded()).unwrap();
    sandbox
}

#[test]
fn a_baseline_is_kept_to() {
    let sandbox = Sandbox::new();
    write_small(&sandbox);

    // Nothing to compare with.
    let output = regress_of("guard.toml", &sandbox, &[]);
    assert_eq!(output.status.code(), Some(2));
    let message = stderr(&output);
    assert!(message.contains("no baseline of guard.smoke"), "{message}");
    assert!(message.contains("--update --reason"), "{message}");

    // A baseline, with its reason.
    let sandbox = small_with_baseline();
    let first = read(&baseline(&sandbox));
    assert_eq!(first["updates"][0]["reason"], "first record");
    assert!(first["updates"][0].get("commit").is_some());
    let variant = &first["variants"][0];
    assert_eq!(variant["seeds"], json!([0, 1, 2]));
    let accuracy = &variant["metrics"]["test_accuracy"];
    assert_eq!(accuracy["values"].as_array().unwrap().len(), 3);
    assert_eq!(variant["weights"][0].as_str().unwrap().len(), 64);

    // The same seed gives the same bits, and everything is as it was; twice.
    let publish = [
        "--json",
        "--junit",
        "junit.xml",
        "--markdown",
        "table.md",
        "--exact",
    ];
    for _ in 0..2 {
        let output = regress_of("guard.toml", &sandbox, &publish);
        assert!(output.status.success(), "{}", stderr(&output));
        let findings: Value = serde_json::from_str(&stdout(&output)).unwrap();
        assert_eq!(findings["passed"], true);
        for variant in findings["experiments"][0]["variants"].as_array().unwrap() {
            assert_eq!(variant["bits"], "same");
        }
    }
    let junit = fs::read_to_string(sandbox.path().join("junit.xml")).unwrap();
    assert!(junit.contains("name=\"dropout.test_accuracy\""), "{junit}");
    assert!(!junit.contains("<failure"), "{junit}");
    accepted_by_the_schema(&sandbox.path().join("junit.xml"));
    let table = fs::read_to_string(sandbox.path().join("table.md")).unwrap();
    assert!(table.contains("| guard | dropout |"), "{table}");
}

#[test]
fn what_got_worse_is_found() {
    let sandbox = small_with_baseline();

    // A baseline that was better; three seeds tell little, so that it takes a good deal.
    edit(&sandbox, |b| shift(b, 2, "test_accuracy", 20.0));
    let args = ["--json", "--no-speed", "--junit", "junit.xml"];
    let output = regress_of("guard.toml", &sandbox, &args);
    assert_eq!(output.status.code(), Some(1), "{}", stderr(&output));
    let findings: Value = serde_json::from_str(&stdout(&output)).unwrap();
    let found = rows(&findings, "dropout");
    let accuracy = found.iter().find(|r| r["metric"] == "test_accuracy");
    let accuracy = accuracy.unwrap();
    assert_eq!(accuracy["verdict"], "regression");
    // The second round had seeds of its own, and so had the third.
    assert_eq!(accuracy["again"]["values"].as_array().unwrap().len(), 3);
    assert_eq!(
        findings["experiments"][0]["variants"][2]["fresh_seeds"],
        json!([3, 4, 5, 6, 7, 8])
    );
    assert!(
        rows(&findings, "plain")
            .iter()
            .all(|r| r["again"].is_null())
    );
    let junit = fs::read_to_string(sandbox.path().join("junit.xml")).unwrap();
    assert!(junit.contains("<failure"), "{junit}");
    accepted_by_the_schema(&sandbox.path().join("junit.xml"));

    // What chance does not change is not trained again.
    edit(&sandbox, |b| {
        shift(b, 2, "test_accuracy", -20.0);
        shift(b, 0, "parameters", 1.0);
    });
    let output = regress_of("guard.toml", &sandbox, &["--json"]);
    assert_eq!(output.status.code(), Some(1));
    let findings: Value = serde_json::from_str(&stdout(&output)).unwrap();
    let parameters = rows(&findings, "plain");
    let parameters = parameters.iter().find(|r| r["metric"] == "parameters");
    assert_eq!(parameters.unwrap()["verdict"], "regression");
    assert_eq!(parameters.unwrap()["again"], Value::Null);
}

#[test]
fn another_baseline_is_not_compared_with() {
    let sandbox = small_with_baseline();
    let regress = |args: &[&str]| regress_of("guard.toml", &sandbox, args);

    // Other data, or another recipe, is not compared; nothing is trained for it.
    edit(&sandbox, |b| b["data"]["digest"] = json!("0".repeat(64)));
    let output = regress(&["--junit", "junit.xml"]);
    assert_eq!(output.status.code(), Some(2));
    let told = stdout(&output);
    assert!(told.contains("the training data's digest is"), "{told}");
    let junit = fs::read_to_string(sandbox.path().join("junit.xml")).unwrap();
    assert!(junit.contains("<error"), "{junit}");
    accepted_by_the_schema(&sandbox.path().join("junit.xml"));
    fs::write(baseline(&sandbox), recorded()).unwrap();
    edit(&sandbox, |b| {
        b["variants"][1]["recipe"]["train"]["optimizer"]["lr"] = json!(0.5);
    });
    let output = regress(&[]);
    assert_eq!(output.status.code(), Some(2));
    let told = stdout(&output);
    let lr = "the recipe of `norm` differs in train.optimizer.lr: 0.02, not 0.5";
    assert!(told.contains(lr), "{told}");

    // A new baseline goes on with the reasons of the one before.
    let update = ["--update", "--reason", "lr is right", "--seeds", "0"];
    let output = regress(&update);
    assert!(output.status.success(), "{}", stderr(&output));
    let second = read(&baseline(&sandbox));
    let reasons: Vec<&Value> = second["updates"].as_array().unwrap().iter().collect();
    assert_eq!(reasons.len(), 2);
    assert_eq!(reasons[1]["reason"], "lr is right");
}

#[test]
fn a_reason_is_asked_for() {
    let sandbox = Sandbox::new();
    for (args, expected) in [
        (&["--update"][..], "--reason"),
        (&["--update", "--reason", " "], "--reason is empty"),
        (&["--reason", "none"], "--update"),
        (&["--seeds", "x"], "seeds"),
        (&["--tier", "smok"], "smoke"),
    ] {
        let output = regress(&sandbox, args);
        assert_eq!(output.status.code(), Some(2), "{args:?}");
        let message = stderr(&output);
        assert!(message.contains(expected), "{args:?}: {message}");
    }
    let args = ["regress", "--only", "gaurd"];
    let output = sandbox.tallow().args(args).output().unwrap();
    assert_eq!(output.status.code(), Some(2));
    assert!(stderr(&output).contains("did you mean `guard`?"));
}

#[test]
fn a_damaged_baseline_is_named() {
    let sandbox = Sandbox::new();
    fs::create_dir(sandbox.path().join("baselines")).unwrap();
    for damaged in ["", "{", "[]", "{\"experiment\": \"guard\"}"] {
        fs::write(baseline(&sandbox), damaged).unwrap();
        let output = regress(&sandbox, &[]);
        assert_eq!(output.status.code(), Some(2), "{damaged}");
        assert!(stderr(&output).contains("guard.smoke.json"), "{damaged}");
    }
}

/// Holds a document against Jenkins' schema of JUnit files, where a Python with lxml is there to do it.
fn accepted_by_the_schema(document: &Path) {
    let schema = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures/junit-10.xsd");
    let python = std::env::var("TALLOW_PYTHON").unwrap_or_else(|_| "python3".to_string());
    let has_lxml = Command::new(&python).args(["-c", "import lxml"]).output();
    if !has_lxml.is_ok_and(|output| output.status.success()) {
        skipped("no Python with lxml to hold JUnit files against their schema");
        return;
    }
    let output = Command::new(python)
        .args(["-c", "import sys; from lxml import etree as e; e.XMLSchema(e.parse(sys.argv[1])).assertValid(e.parse(sys.argv[2]))"])
        .args([&schema, document])
        .output()
        .unwrap();
    assert!(output.status.success(), "{}", stderr(&output));
}
