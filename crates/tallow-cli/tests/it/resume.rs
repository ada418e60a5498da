//! Runs that are killed or interrupted, and continued.

use std::fs;
use std::path::Path;
use std::process::{Child, Output, Stdio};
use std::time::{Duration, Instant};

use serde_json::Value;

use crate::common::{Sandbox, newest_checkpoint, stderr};

/// Everything that a checkpoint must contain: momentum, a schedule by step with a warmup, mixup and CutMix, chunks, clipping, the average of
/// the weights, skipped steps, dropout and batch norm, augmentation, validation, the best weights.
const EXPERIMENT: &str = r#"
    question = "Does it continue?"
    seeds = [0]

    [data]
    dataset = "fashion-mnist-sample"
    train_samples = 2000
    test_samples = 300
    transforms = [{ name = "to-tensor" }, { name = "normalize", mean = [0.286], std = [0.353] }]
    validation = 0.1

    [train]
    epochs = 4
    batch_size = 32
    restore_best = true
    checkpoint = { every_steps = 5 }
    augment = [{ name = "random-crop", size = 28, padding = 2 }, { name = "random-horizontal-flip" }]
    optimizer = { name = "sgd", lr = 0.1, momentum = 0.9 }
    schedule = { curve = { name = "cosine" }, per = "step", warmup = { steps = 10 } }
    mix = { mixup_alpha = 0.4, cutmix_alpha = 1.0, probability = 0.8 }
    chunks = 3
    clip = { norm = 2.0 }
    ema = { decay = 0.98, every = 2 }
    skip_non_finite = 2

    [[variants]]
    name = "cnn"
    model.name = "cifar-cnn-bn"

    [[variants]]
    name = "mlp"
    model = { name = "mlp", dropout = 0.2 }
"#;

/// Steps from one checkpoint of the experiment to the next.
const EVERY_STEPS: usize = 5;

/// Numbers of loader workers, one after another.
const WORKERS: [&str; 3] = ["0", "3", "1"];

fn sandbox() -> Sandbox {
    let sandbox = Sandbox::new();
    fs::write(sandbox.path().join("exp.toml"), EXPERIMENT).unwrap();
    sandbox
}

/// Runs to the end, which must be a good one.
pub fn finish(sandbox: &Sandbox, args: &[&str]) -> Output {
    let output = sandbox.process(args).output().unwrap();
    assert_eq!(
        output.status.code(),
        Some(0),
        "{args:?}: {}",
        stderr(&output)
    );
    output
}

/// Name of the newest checkpoint below `out`.
pub fn checkpoint(sandbox: &Sandbox, out: &str) -> Option<String> {
    newest_checkpoint(&sandbox.records(out))
}

/// The rows of a record without times.
fn rows(record: &Path) -> Vec<Value> {
    let text = fs::read_to_string(record.join("metrics.jsonl")).unwrap();
    let row = |line: &str| {
        let mut row: Value = serde_json::from_str(line).unwrap();
        for key in ["seconds", "images_per_second"] {
            row.as_object_mut().unwrap().remove(key).unwrap();
        }
        row
    };
    text.lines().map(row).collect()
}

/// Checks that two records are of the same run: weights to the bit, rows, results. None of the continuation is left behind.
pub fn assert_same(straight: &Path, resumed: &Path) {
    let weights = |record: &Path| fs::read(record.join("model.safetensors")).unwrap();
    assert!(weights(straight) == weights(resumed), "other weights");
    assert_eq!(rows(straight), rows(resumed));
    let metrics = |record: &Path| {
        let text = fs::read(record.join("summary.json")).unwrap();
        let summary: Value = serde_json::from_slice(&text).unwrap();
        let mut metrics = summary["metrics"].as_object().unwrap().clone();
        metrics.retain(|name, _| name != "seconds" && name != "images_per_second");
        metrics
    };
    assert_eq!(metrics(straight), metrics(resumed));
    for name in [
        "predictions.json",
        "mistakes.json",
        "gradients.json",
        "config.toml",
    ] {
        let read = |record: &Path| fs::read_to_string(record.join(name)).unwrap();
        let without_workers = |text: String| {
            let lines = text.lines().filter(|line| !line.starts_with("workers"));
            lines.collect::<Vec<_>>().join("\n")
        };
        assert_eq!(
            without_workers(read(straight)),
            without_workers(read(resumed)),
            "{name}"
        );
    }
    assert!(!resumed.join("checkpoint").exists());
    let left = fs::read_dir(resumed.parent().unwrap()).unwrap().flatten();
    let left: Vec<_> = left.map(|e| e.file_name().into_string().unwrap()).collect();
    assert!(
        !left.iter().any(|name| name.starts_with("unfinished")),
        "{left:?}"
    );
}

/// Waits until the newest checkpoint is another than `before`; false if the process ended first.
pub fn wait_for_checkpoint(sandbox: &Sandbox, child: &mut Child, before: &Option<String>) -> bool {
    let started = Instant::now();
    loop {
        if checkpoint(sandbox, "killed") > *before {
            return true;
        }
        if child.try_wait().unwrap().is_some() {
            return false;
        }
        assert!(
            started.elapsed() < Duration::from_secs(600),
            "no checkpoint"
        );
        std::thread::sleep(Duration::from_millis(1));
    }
}

/// Kills a run `kills` times, each time at a random moment after a random number of checkpoints, and continues it by `--resume`, each time with another number
/// of loader workers.
fn killed(variant: &str, kills: usize, epochs: usize) {
    let sandbox = sandbox();
    let length = format!("train.epochs={epochs}");
    let common = [
        "run",
        "exp.toml",
        "--only",
        variant,
        "--threads",
        "2",
        "--set",
        &length,
    ];
    finish(&sandbox, &[&common[..], &["--out", "straight"]].concat());
    let straight = sandbox.records("straight").pop().unwrap();

    // A linear congruential generator, so that a failure can be repeated.
    let mut state = 2024u32;
    let mut random = |below: u32| {
        state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
        (state >> 8) % below
    };
    // Checkpoints up to a kill at most: the kills take half of the run on average, which has 57 steps in an epoch.
    let spread = (epochs * 57 / EVERY_STEPS / kills / 2) as u32;
    let (mut done, mut within) = (0, 0);
    while done < kills {
        let workers = WORKERS[done % WORKERS.len()];
        let first = [&common[..], &["--out", "killed", "--workers", workers]].concat();
        let again = ["run", "--resume", "--out", "killed", "--workers", workers];
        let args = match sandbox.records("killed").is_empty() {
            true => &first[..],
            false => &again[..],
        };
        let log = fs::File::create(sandbox.path().join("log")).unwrap();
        let mut child = sandbox
            .process(args)
            .stdout(Stdio::null())
            .stderr(log)
            .spawn()
            .unwrap();
        for _ in 0..=random(spread) {
            let before = checkpoint(&sandbox, "killed");
            let alive = wait_for_checkpoint(&sandbox, &mut child, &before);
            let text = fs::read_to_string(sandbox.path().join("log")).unwrap();
            assert!(alive, "it ended after {done} kills: {text}");
        }
        std::thread::sleep(Duration::from_millis(random(120).into()));
        child.kill().unwrap();
        child.wait().unwrap();
        done += 1;
        within +=
            usize::from(checkpoint(&sandbox, "killed").is_some_and(|name| name.contains("-step-")));
    }
    assert!(
        within * 2 > kills,
        "{within} of {kills} kills within an epoch"
    );
    finish(
        &sandbox,
        &["run", "--resume", "--out", "killed", "--workers", "2"],
    );
    let found = sandbox.records("killed");
    let [resumed] = &found[..] else {
        panic!("{found:?}")
    };
    assert_same(&straight, resumed);
}

#[test]
fn a_run_killed_at_random_moments_ends_with_the_same_bits() {
    killed("mlp", 3, 4);
}

#[test]
fn a_run_with_batch_norm_killed_at_random_moments_ends_with_the_same_bits() {
    killed("cnn", 2, 3);
}

#[test]
#[ignore = "minutes: run it with --ignored"]
fn a_run_killed_at_twenty_random_moments_ends_with_the_same_bits() {
    killed("mlp", 20, 24);
    killed("cnn", 20, 24);
}

/// Sends a signal once there is a checkpoint; the output up to the end.
#[cfg(unix)]
fn signalled(sandbox: &Sandbox, signal: &str, args: &[&str]) -> Output {
    let mut child = sandbox
        .process(args)
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let before = checkpoint(sandbox, "killed");
    assert!(wait_for_checkpoint(sandbox, &mut child, &before));
    let id = child.id().to_string();
    let sent = std::process::Command::new("kill")
        .args([signal, &id])
        .status()
        .unwrap();
    assert!(sent.success());
    child.wait_with_output().unwrap()
}

#[cfg(unix)]
#[test]
fn ctrl_c_prints_the_command_that_continues() {
    let sandbox = sandbox();
    let common = ["run", "exp.toml", "--only", "mlp", "--threads", "2"];
    finish(&sandbox, &[&common[..], &["--out", "straight"]].concat());
    let first = [&common[..], &["--out", "killed"]].concat();
    let mut args: Vec<String> = first.iter().map(|arg| arg.to_string()).collect();
    for (signal, workers) in ["-INT", "-TERM"].into_iter().zip(WORKERS) {
        args.extend(["--workers".to_string(), workers.to_string()]);
        let args_now: Vec<&str> = args.iter().map(String::as_str).collect();
        let output = signalled(&sandbox, signal, &args_now);
        assert_eq!(output.status.code(), Some(130), "{}", stderr(&output));
        let text = stderr(&output);
        let command = text
            .lines()
            .find_map(|line| line.strip_prefix("to continue: tallow "));
        let command = command.unwrap_or_else(|| panic!("{text}"));
        let record = sandbox.records("killed").pop().unwrap();
        let name = record.file_name().unwrap().to_str().unwrap();
        assert_eq!(command, format!("run --resume killed/exp/{name}"));
        args = command.split(' ').map(String::from).collect();
    }
    let args: Vec<&str> = args.iter().map(String::as_str).collect();
    let text = stderr(&finish(&sandbox, &args));
    assert!(
        text.contains("mlp seed 0 continues in killed/exp/"),
        "{text}"
    );
    let straight = sandbox.records("straight").pop().unwrap();
    assert_same(&straight, &sandbox.records("killed").pop().unwrap());

    // It is finished now.
    let output = sandbox.process(&args).output().unwrap();
    assert_eq!(output.status.code(), Some(2));
    assert!(
        stderr(&output).contains("nothing to continue"),
        "{}",
        stderr(&output)
    );
    let output = sandbox
        .process(&["run", "--resume", "--out", "killed"])
        .output()
        .unwrap();
    assert!(
        stderr(&output).contains("no interrupted run under killed"),
        "{}",
        stderr(&output)
    );
}

#[cfg(unix)]
#[test]
fn finished_runs_of_an_interrupted_experiment_are_kept() {
    let sandbox = sandbox();
    let args = [
        "run",
        "exp.toml",
        "--threads",
        "1",
        "--out",
        "killed",
        "--set",
        "train.epochs=2",
        "--set",
        "data.train_samples=800",
    ];
    // Into the second run.
    let mut child = sandbox
        .process(&args)
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()
        .unwrap();
    let second = || sandbox.records("killed").len() == 2;
    // A whole checkpoint: one that is being written has another ending.
    let whole = || {
        let folder = sandbox.records("killed")[1].join("checkpoint");
        fs::read_dir(folder).is_ok_and(|mut entries| {
            entries.any(|entry| {
                let name = entry.unwrap().file_name();
                let name = name.to_string_lossy();
                name.starts_with("epoch-") && !name.ends_with(".unfinished")
            })
        })
    };
    while !second() || !whole() {
        assert!(child.try_wait().unwrap().is_none(), "it ended");
        std::thread::sleep(Duration::from_millis(1));
    }
    child.kill().unwrap();
    child.wait().unwrap();
    let before = sandbox.records("killed");
    assert!(before[0].join("summary.json").is_file());
    let written = |record: &Path| {
        fs::metadata(record.join("summary.json"))
            .unwrap()
            .modified()
            .unwrap()
    };
    let first = written(&before[0]);

    // The same command, without --resume.
    let text = stderr(&finish(&sandbox, &args));
    assert!(
        text.contains("1 of 2 runs had finished before and are kept"),
        "{text}"
    );
    assert_eq!(sandbox.records("killed"), before);
    assert_eq!(written(&before[0]), first, "the first run was repeated");
    // Once all is finished, the same command starts again, unless finished runs are to be used again.
    let mut reuse = args.to_vec();
    reuse.push("--reuse");
    let text = stderr(&finish(&sandbox, &reuse));
    assert!(
        text.contains("2 of 2 runs had finished before and are kept"),
        "{text}"
    );
    assert_eq!(sandbox.records("killed"), before);
    finish(&sandbox, &args);
    assert_eq!(sandbox.records("killed").len(), 4);
}

#[cfg(unix)]
#[test]
fn only_the_same_run_is_continued() {
    let sandbox = sandbox();
    let args = [
        "run",
        "exp.toml",
        "--only",
        "mlp",
        "--threads",
        "2",
        "--out",
        "killed",
    ];
    assert_eq!(signalled(&sandbox, "-INT", &args).status.code(), Some(130));
    let count = || sandbox.records("killed").len();
    assert_eq!(count(), 1);
    let interrupted = sandbox.records("killed").pop().unwrap();
    let resume = ["run", "--resume", interrupted.to_str().unwrap()];
    let refused = |args: &[&str]| {
        let output = sandbox.process(args).output().unwrap();
        assert_eq!(output.status.code(), Some(2), "{}", stderr(&output));
        stderr(&output)
    };
    // Explicitly: with the reason.
    let text = refused(&[&resume[..], &["--threads", "1"]].concat());
    assert!(
        text.contains("it had 2 threads and this one has 1"),
        "{text}"
    );
    fs::write(
        sandbox.path().join("exp.toml"),
        EXPERIMENT.replace("lr = 0.1", "lr = 0.2"),
    )
    .unwrap();
    let text = refused(&resume);
    assert!(
        text.contains("its recipe was another: train.optimizer.lr 0.1 -> 0.2"),
        "{text}"
    );
    // Without a word of it: another recipe is another run.
    finish(&sandbox, &args);
    assert_eq!(count(), 2);
    fs::write(sandbox.path().join("exp.toml"), EXPERIMENT).unwrap();
    let elsewhere = sandbox.path().join("home");
    let output = sandbox
        .process(&resume)
        .current_dir(&elsewhere)
        .output()
        .unwrap();
    assert!(
        stderr(&output).contains("the run was started in"),
        "{}",
        stderr(&output)
    );
    let text = refused(&["run", "--resume", "home"]);
    assert!(
        text.contains("home is not the folder of a run record"),
        "{text}"
    );

    // A damaged checkpoint is named.
    let newest = interrupted
        .join("checkpoint")
        .join(checkpoint(&sandbox, "killed").unwrap());
    let file = newest.join("optimizer.safetensors");
    let whole = fs::read(&file).unwrap();
    fs::write(&file, &whole[..whole.len() / 2]).unwrap();
    let text = refused(&args);
    assert!(
        text.contains("optimizer.safetensors") && text.contains("delete the folder"),
        "{text}"
    );
    fs::write(&file, whole).unwrap();

    // --fresh starts a new one, and leaves the unfinished one where it is.
    finish(&sandbox, &[&args[..], &["--fresh"]].concat());
    assert_eq!(count(), 3);
    assert!(interrupted.join("checkpoint").is_dir() && !interrupted.join("summary.json").exists());
    let text = stderr(&finish(&sandbox, &args));
    assert!(text.contains("mlp seed 0 continues in"), "{text}");
    assert_eq!(count(), 3);
    assert!(interrupted.join("summary.json").is_file());
}

#[test]
fn a_run_with_validation_reports_the_test_data_at_the_end() {
    let sandbox = sandbox();
    let args = [
        "run",
        "exp.toml",
        "--only",
        "mlp",
        "--set",
        "train.epochs=2",
        "--out",
        "out",
    ];
    let text = stderr(&finish(&sandbox, &args));
    assert!(text.contains("validation accuracy"), "{text}");
    let record = sandbox.records("out").pop().unwrap();
    let rows = rows(&record);
    assert_eq!(rows.len(), 2);
    for row in &rows {
        assert!(
            row["validation_loss"].is_f64() && row["validation_accuracy"].is_f64(),
            "{row}"
        );
        assert!(
            row.get("test_loss").is_none() && row.get("test_accuracy").is_none(),
            "{row}"
        );
    }
    let text = fs::read(record.join("summary.json")).unwrap();
    let summary: Value = serde_json::from_slice(&text).unwrap();
    let metrics = &summary["metrics"];
    for name in [
        "test_loss",
        "test_accuracy",
        "validation_accuracy",
        "best_validation_accuracy",
        "restored_epoch",
    ] {
        assert!(metrics[name].is_f64(), "{name}: {metrics}");
    }
    assert_eq!(metrics["best_test_accuracy"], Value::Null);
    let config = fs::read_to_string(record.join("config.toml")).unwrap();
    assert!(config.contains("validation = 0.1"), "{config}");

    for (set, expected) in [
        ("data.validation=1.5", "data.validation is 1.5"),
        (
            "data.validation=val",
            "a share in (0, 1), such as 0.1, or a number of images",
        ),
        ("train.monitor=test_loss", "monitor validation_loss instead"),
        (
            "train.checkpoint={every_steps=0}",
            "checkpoint.every_steps: is 0",
        ),
        ("train.early_stopping={patience=0}", "patience is 0"),
    ] {
        let output = sandbox
            .process(&["run", "exp.toml", "--set", set])
            .output()
            .unwrap();
        assert_eq!(output.status.code(), Some(2), "{set}");
        assert!(
            stderr(&output).contains(expected),
            "{set}: {}",
            stderr(&output)
        );
    }
}
