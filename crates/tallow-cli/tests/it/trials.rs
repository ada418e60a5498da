//! `lr-find` and `run --overfit-batches`.

use std::fs;
use std::process::Output;

use serde_json::Value;

use crate::common::{Sandbox, stderr, stdout};

const SMALL: &str = r#"
    question = "Does it run?"
    seeds = [0]
    claims = ["fc.test_accuracy > 0.3"]

    [data]
    dataset = "fashion-mnist-sample"
    transforms = [{ name = "to-tensor" }, { name = "normalize", mean = [0.286], std = [0.353] }]

    [train]
    epochs = 1
    batch_size = 32
    optimizer = { name = "adam", lr = 0.005 }

    [[variants]]
    name = "fc"
    model.name = "mlp"
"#;

fn tallow(sandbox: &Sandbox, args: &[&str]) -> Output {
    fs::write(sandbox.path().join("small.toml"), SMALL).unwrap();
    sandbox.tallow().args(args).output().unwrap()
}

#[test]
fn lr_find_suggests_a_rate_and_writes_a_plot() {
    let sandbox = Sandbox::new();
    let range = ["--steps", "60", "--min-lr", "1e-6"];
    let output = tallow(&sandbox, &[&["lr-find", "small.toml"], &range[..]].concat());
    assert_eq!(output.status.code(), Some(0), "{}", stderr(&output));
    let text = stdout(&output);
    let plot = "runs/small/lr-find/fc-s0/lr-find.svg";
    assert!(
        text.contains("suggested lr") && text.contains(plot),
        "{text}"
    );
    assert!(sandbox.path().join(plot).is_file());

    let json = [
        &["lr-find", "small.toml", "--json", "--seed", "4"],
        &range[..],
    ]
    .concat();
    let output = tallow(&sandbox, &json);
    let found: Value = serde_json::from_str(&stdout(&output)).unwrap();
    assert_eq!(found[0]["seed"], 4);
    assert!(found[0]["suggestion"].as_f64().unwrap() > 1e-6);

    for (wrong, expected) in [
        (
            ["--max-lr", "1e-9"],
            "max_lr: 0.000000001 is not a finite number above min_lr",
        ),
        (["--variant", "cf"], "unknown variant `cf`\nknown: fc"),
        (["--steps", "1"], "steps: 1 is below 2"),
    ] {
        let output = tallow(&sandbox, &["lr-find", "small.toml", wrong[0], wrong[1]]);
        assert_eq!(output.status.code(), Some(2));
        assert!(stderr(&output).contains(expected), "{}", stderr(&output));
    }
}

#[test]
fn a_batch_that_is_not_learnt_ends_with_1() {
    let sandbox = Sandbox::new();
    let run = ["run", "small.toml", "--overfit-batches", "1"];
    let output = tallow(&sandbox, &run);
    assert_eq!(output.status.code(), Some(0), "{}", stderr(&output));
    assert!(stdout(&output).contains("yes"), "{}", stdout(&output));

    let frozen = ["--set", "train.optimizer.lr=1e-9", "--json"];
    let output = tallow(&sandbox, &[&run[..], &frozen].concat());
    assert_eq!(output.status.code(), Some(1), "{}", stderr(&output));
    let found: Value = serde_json::from_str(&stdout(&output)).unwrap();
    assert_eq!(
        (&found[0]["learnt"], &found[0]["steps"]),
        (&false.into(), &500.into())
    );
    let output = tallow(&sandbox, &[&run[..], &frozen[..2]].concat());
    let text = stdout(&output);
    assert!(
        text.contains("expected 1 % at most") && text.contains("NO"),
        "{text}"
    );
    // No record is left.
    assert!(!sandbox.path().join("runs").exists());
}
