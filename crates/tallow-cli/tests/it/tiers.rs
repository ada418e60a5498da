//! Tiers, statements and results files, on the built-in sample.

use std::fs;

use crate::common::{Sandbox, stderr, stdout};
use serde_json::Value;

const SMALL: &str = r#"
    question = "Does it run?"
    seeds = [0]
    claims = ["fc.test_accuracy > 0.99"]
    facts = ["conv1x1-vs-linear", "other-sizes"]

    [data]
    dataset = "fashion-mnist-sample"
    transforms = [{ name = "to-tensor" }, { name = "normalize", mean = [0.286], std = [0.353] }]

    [train]
    epochs = 5
    batch_size = 50
    optimizer = { name = "adam", lr = 0.005 }

    [[variants]]
    name = "fc"
    model.name = "mlp"
    published = [{ test_accuracy = 0.75, source = "nowhere" }]

    [[variants]]
    name = "sorted"
    model.name = "mlp"
    data.sort_by_class = true
    train.shuffle = false

    [[variants]]
    name = "cnn"
    model.name = "cnn"

    [[statements]]
    text = "Order matters."
    zh = "顺序很重要。"
    checks = ["fc.steps - sorted.steps >= 0", "fc.accepts_other_size < 0.5"]

    [[statements]]
    text = "Accuracy is perfect."
    zh = "准确率是完美的。"
    checks = ["fc.test_accuracy > 1.5"]

    [[statements]]
    text = "The convolutional network is better."
    zh = "卷积网络更好。"
    checks = ["cnn > fc"]

    [tiers.standard]
    seconds = 2
    seeds = [3, 4]
    only = ["fc", "sorted"]
    claims = ["fc.test_accuracy > 0", "facts.conv1x1_linear_difference < 1e-4", "fc.steps >= 70", "fc.steps <= 70"]
    data.train_samples = 2000
    data.test_samples = 500
    train.epochs = 3
    train.max_steps = 70
"#;

#[test]
fn a_tier_writes_what_the_documentation_needs() {
    let sandbox = Sandbox::new();
    fs::write(sandbox.path().join("small.toml"), SMALL).unwrap();
    let args = [
        "run",
        "small.toml",
        "--tier",
        "standard",
        "--results",
        "found",
    ];
    let output = sandbox.tallow().args(args).output().unwrap();
    assert!(output.status.success(), "{}", stderr(&output));

    let text = fs::read(sandbox.path().join("found/small.json")).unwrap();
    let results: Value = serde_json::from_slice(&text).unwrap();
    assert_eq!(results["tier"], "standard");
    assert_eq!(results["command"], "tallow run small.toml --tier standard");
    assert_eq!(results["dataset"]["classes"].as_array().unwrap().len(), 10);
    let claims = results["claims"].as_array().unwrap();
    assert_eq!(claims.len(), 4);
    assert!(claims.iter().all(|c| c["holds"] == true), "{claims:?}");
    let verdicts: Vec<&str> = (results["statements"].as_array().unwrap().iter())
        .map(|s| s["verdict"].as_str().unwrap())
        .collect();
    assert_eq!(verdicts, ["holds", "does not hold", "not judged"]);
    assert_eq!(results["facts"]["conv1x1_parameters"], 2570.0);

    let variants = results["variants"].as_array().unwrap();
    assert_eq!(variants.len(), 2);
    let fc = &variants[0];
    assert_eq!(fc["seeds"], serde_json::json!([3, 4]));
    assert_eq!(
        fc["metrics"]["steps"]["values"],
        serde_json::json!([70.0, 70.0])
    );
    assert_eq!(fc["metrics"]["parameters"]["mean"], 6442.0);
    assert_eq!(fc["recipe"]["data"]["train_samples"], 2000);
    let (first, second) = (&fc["runs"][0], &fc["runs"][1]);
    assert_eq!(first["epochs"].as_array().unwrap().len(), 2);
    assert!(second["confusion"].is_null() && second["gradients"].is_null());
    let tested: u64 = (first["confusion"].as_array().unwrap().iter())
        .flat_map(|row| row.as_array().unwrap())
        .map(|n| n.as_u64().unwrap())
        .sum();
    assert_eq!(tested, 500);
    assert_eq!(first["gradients"].as_array().unwrap().len(), 2);
    assert_eq!(first["gradients"][0]["norms"][0][0], "fc1.weight");
    let predictions = first["predictions"].as_array().unwrap();
    assert_eq!(predictions.len(), 8);
    let top = &predictions[0]["top"];
    assert!(top[0][1].as_f64().unwrap() >= top[1][1].as_f64().unwrap());
    // 1,000 images of 28 x 28, every value in a bin; normalised by about the right figures.
    let counts = first["inputs"]["histogram"]["counts"].as_array().unwrap();
    let values: u64 = counts.iter().map(|n| n.as_u64().unwrap()).sum();
    assert_eq!(values, 784_000);
    assert!(first["inputs"]["mean"][0].as_f64().unwrap().abs() < 0.1);
    assert!((first["inputs"]["std"][0].as_f64().unwrap() - 1.0).abs() < 0.1);
}

#[test]
fn reproduces_a_tier() {
    let sandbox = Sandbox::new();
    fs::write(sandbox.path().join("small.toml"), SMALL).unwrap();
    let args = ["reproduce", "--tier", "standard", "--only", "small.toml"];
    let output = sandbox.tallow().args(args).output().unwrap();
    assert!(output.status.success(), "{}", stderr(&output));
    let text = stdout(&output);
    assert!(text.contains("4 hold"), "{text}");
    assert!(text.contains("in all: "), "{text}");
}

#[test]
fn wrong_names_are_told() {
    let sandbox = Sandbox::new();
    for (args, expected) in [
        (
            &["reproduce", "--only", "quikstart"][..],
            "did you mean `quickstart`?",
        ),
        (
            &[
                "reproduce",
                "--tier",
                "smoke",
                "--only",
                "cifar10-pretrained",
            ],
            "no smoke tier",
        ),
        (
            &["run", "cifar10-pretrained", "--tier", "smoke"],
            "no smoke tier",
        ),
        (&["run", "quickstart", "--tier", "smok"], "smoke"),
        (
            &["run", "quickstart", "--set", "data.train_sample=5"],
            "did you mean `data.train_samples`?",
        ),
    ] {
        let output = sandbox.tallow().args(args).output().unwrap();
        assert_eq!(output.status.code(), Some(2), "{args:?}");
        assert!(
            stderr(&output).contains(expected),
            "{args:?}: {}",
            stderr(&output)
        );
    }
}
