//! `--events`: what happens as JSON lines, and TensorBoard's event files in the run records.

use std::fs;
use std::io::{BufRead, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use crate::common::{Sandbox, skipped, stderr, stdout};
use serde_json::Value;

const SMALL: &str = r#"
    question = "Is it told?"
    seeds = [0]
    claims = ["cnn.test_accuracy > 0.2", "cnn.parameters < 5"]

    [data]
    dataset = "fashion-mnist-sample"
    transforms = [{ name = "to-tensor" }, { name = "normalize", mean = [0.286], std = [0.353] }]
    train_samples = 1000
    test_samples = 200

    [train]
    epochs = 3
    batch_size = 40
    augment = [{ name = "random-crop", size = 28, padding = 2 }, { name = "random-horizontal-flip" }]
    optimizer = { name = "adam", lr = 0.005 }

    [[variants]]
    name = "cnn"
    model.name = "cnn"
"#;

fn sandbox() -> Sandbox {
    let sandbox = Sandbox::new();
    fs::write(sandbox.path().join("small.toml"), SMALL).unwrap();
    sandbox
}

fn lines(text: &str) -> Vec<Value> {
    assert!(text.ends_with('\n'), "{text}");
    text.lines()
        .map(|line| serde_json::from_str(line).unwrap())
        .collect()
}

fn json(path: &Path) -> Value {
    serde_json::from_slice(&fs::read(path).unwrap()).unwrap()
}

/// `event` without what is not in the record's own line.
fn row(event: &Value) -> Value {
    let mut row = event.as_object().unwrap().clone();
    for key in ["event", "time", "run"] {
        row.remove(key).unwrap();
    }
    Value::Object(row)
}

#[test]
fn events_tell_all_that_the_records_hold() {
    let sandbox = sandbox();
    let args = [
        "run",
        "small.toml",
        "--seeds",
        "0..2",
        "--events",
        "events.jsonl",
        "--events-every",
        "10",
        "--json",
    ];
    let output = sandbox.tallow().args(args).output().unwrap();
    assert_eq!(output.status.code(), Some(1), "{}", stderr(&output));
    let result: Value = serde_json::from_str(&stdout(&output)).unwrap();

    let events = lines(&fs::read_to_string(sandbox.path().join("events.jsonl")).unwrap());
    let names: Vec<&str> = events
        .iter()
        .map(|e| e["event"].as_str().unwrap())
        .collect();
    // 25 steps an epoch, so two batches of which is told.
    let epoch = ["batch", "batch", "epoch_ended"];
    let run = [&["run_started"][..], &epoch, &epoch, &epoch, &["run_ended"]].concat();
    assert_eq!(names, [&run[..], &run, &["claims_judged"]].concat());
    let times: Vec<f64> = events.iter().map(|e| e["time"].as_f64().unwrap()).collect();
    assert!(times.is_sorted() && times[0] > 1.7e9, "{times:?}");

    for (number, events) in events.chunks_exact(run.len()).enumerate() {
        let started = &events[0];
        let folder = sandbox.path().join(started["run"].as_str().unwrap());
        assert_eq!(started["run"], result["runs"][number]);
        assert!(events.iter().all(|e| e["run"] == started["run"]));
        let told = [
            "experiment",
            "tier",
            "variant",
            "seed",
            "model",
            "parameters",
            "epochs",
            "steps_per_epoch",
            "number",
            "of",
        ];
        let told: Vec<String> = told.iter().map(|key| started[key].to_string()).collect();
        let seed = number.to_string();
        let one = (number + 1).to_string();
        let expected = [
            r#""small""#,
            r#""full""#,
            r#""cnn""#,
            &seed,
            r#""cnn""#,
            "6422",
            "3",
            "25",
            &one,
            "2",
        ];
        assert_eq!(told, expected);

        let batch = &events[2];
        assert_eq!(
            (&batch["epoch"], &batch["step"], &batch["steps"]),
            (&0.into(), &19.into(), &25.into())
        );
        assert_eq!(batch["lr"], 0.005);
        assert!((0.1..5.0).contains(&batch["loss"].as_f64().unwrap()));
        assert!((0.02..1.0).contains(&batch["accuracy"].as_f64().unwrap()));
        assert!(batch["images_per_second"].as_f64().unwrap() > 0.0);

        let metrics = lines(&fs::read_to_string(folder.join("metrics.jsonl")).unwrap());
        let ended = events.iter().filter(|e| e["event"] == "epoch_ended");
        assert_eq!(ended.map(row).collect::<Vec<_>>(), metrics);
        let summary = json(&folder.join("summary.json"));
        let ended = &events[run.len() - 1];
        for key in ["metrics", "epochs", "stopped", "seconds"] {
            assert_eq!(ended[key], summary[key], "{key}");
        }
    }
    let judged = events.last().unwrap();
    assert_eq!(judged["claims"], result["claims"]);
    assert_eq!(
        (&judged["failed"], &judged["experiment"]),
        (&true.into(), &"small".into())
    );
}

#[cfg(unix)]
#[test]
fn each_event_is_there_at_once_and_the_last_says_why_it_stopped() {
    let sandbox = sandbox();
    let mut child = Command::new(assert_cmd::cargo::cargo_bin!("tallow"))
        .args([
            "run",
            "small.toml",
            "--events",
            "-",
            "--events-every",
            "5",
            "--set",
            "train.epochs=100000",
        ])
        .current_dir(sandbox.path())
        .envs(sandbox.environment())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let mut events = BufReader::new(child.stdout.take().unwrap()).lines();
    let mut next = || serde_json::from_str::<Value>(&events.next()?.unwrap()).ok();
    assert_eq!(next().unwrap()["event"], "run_started");
    assert_eq!(next().unwrap()["event"], "batch");
    let killed = Command::new("kill")
        .args(["-INT", &child.id().to_string()])
        .status()
        .unwrap();
    assert!(killed.success());
    let last = std::iter::from_fn(next).last().unwrap();
    assert_eq!(
        (&last["event"], &last["reason"]),
        (&"run_stopped".into(), &"interrupted".into())
    );
    assert_eq!(child.wait().unwrap().code(), Some(130));
}

#[test]
fn standard_output_is_for_one_thing() {
    let sandbox = sandbox();
    let output = sandbox
        .tallow()
        .args(["run", "small.toml", "--events", "-", "--json"])
        .output()
        .unwrap();
    assert_eq!(output.status.code(), Some(2));
    assert!(
        stderr(&output).contains("both write to standard output"),
        "{}",
        stderr(&output)
    );
    assert!(!sandbox.out().exists());

    let output = sandbox
        .tallow()
        .args(["run", "small.toml", "--events", "-"])
        .output()
        .unwrap();
    assert_eq!(output.status.code(), Some(1));
    assert_eq!(
        lines(&stdout(&output)).last().unwrap()["event"],
        "claims_judged"
    );
    assert!(
        stderr(&output).contains("FAILS"),
        "the table goes to standard error"
    );
}

#[test]
fn a_file_that_cannot_be_written_is_told_before_anything_is_trained() {
    let sandbox = sandbox();
    let output = sandbox
        .tallow()
        .args(["run", "small.toml", "--events", "none/events.jsonl"])
        .output()
        .unwrap();
    assert_eq!(output.status.code(), Some(2));
    assert!(
        stderr(&output).contains("none/events.jsonl"),
        "{}",
        stderr(&output)
    );
    assert!(!sandbox.out().exists());
}

/// Trains with an error in the middle: the learning rate is far too high.
#[test]
fn an_error_is_an_event() {
    let sandbox = sandbox();
    let args = [
        "run",
        "small.toml",
        "--events",
        "events.jsonl",
        "--set",
        "train.optimizer.lr=1e30",
    ];
    let output = sandbox.tallow().args(args).output().unwrap();
    assert_eq!(output.status.code(), Some(2));
    let events = lines(&fs::read_to_string(sandbox.path().join("events.jsonl")).unwrap());
    let last = events.last().unwrap();
    assert_eq!(last["event"], "run_stopped");
    assert!(
        last["reason"].as_str().unwrap().contains("the loss is"),
        "{last}"
    );
}

/// A Python that has TensorBoard.
fn python() -> Option<PathBuf> {
    let python = std::env::var_os("TALLOW_PYTHON").map(PathBuf::from)?;
    let check = Command::new(&python)
        .args(["-c", "import tensorboard"])
        .output();
    check
        .is_ok_and(|output| output.status.success())
        .then_some(python)
}

#[test]
fn tensorboard_reads_every_figure_back() {
    let sandbox = sandbox();
    let output = sandbox
        .tallow()
        .args(["run", "small.toml", "--json"])
        .output()
        .unwrap();
    let result: Value = serde_json::from_str(&stdout(&output)).unwrap();
    let folder = sandbox.path().join(result["runs"][0].as_str().unwrap());
    let files = fs::read_dir(&folder).unwrap().flatten();
    let files = files.filter(|f| {
        f.file_name()
            .to_string_lossy()
            .starts_with("events.out.tfevents.")
    });
    assert_eq!(files.count(), 1);

    let Some(python) = python() else {
        skipped("no TensorBoard; TALLOW_PYTHON can name a Python that has it");
        return;
    };
    let script = concat!(
        env!("CARGO_MANIFEST_DIR"),
        "/../../xtask/pytorch/read_events.py"
    );
    let read = || {
        Command::new(&python)
            .arg(script)
            .arg(&folder)
            .output()
            .unwrap()
    };
    let output = read();
    assert!(
        output.status.success(),
        "{}{}",
        stdout(&output),
        stderr(&output)
    );
    let text = stdout(&output);
    // Seven figures of three epochs and the gradient's norm of each; eight parameters; the filters, the samples.
    for part in ["24 scalars equal", "24 histograms", "4 images"] {
        assert!(text.contains(part), "{part} is missing in {text}");
    }

    // The check can fail: another figure in the record is found.
    let metrics = folder.join("metrics.jsonl");
    let text = fs::read_to_string(&metrics).unwrap();
    fs::write(
        &metrics,
        text.replacen("\"lr\":0.005", "\"lr\":0.0050001", 1),
    )
    .unwrap();
    let output = read();
    assert_eq!(output.status.code(), Some(1));
    assert!(stderr(&output).contains("lr"), "{}", stderr(&output));
}
