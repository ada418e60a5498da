//! Reading run records, complete and damaged.

use std::fs;

use tallow_record::{Error, Run};

use crate::record::{environment, info, row, summary, write};

#[test]
fn reads_what_was_written() {
    let runs = tempfile::tempdir().unwrap();
    let dir = write(runs.path(), "cnn", 4, 0.5, true);
    let run = Run::read(&dir).unwrap();
    assert_eq!(run.dir, dir);
    assert_eq!(run.info, info("cnn", 4));
    assert_eq!(run.environment, environment());
    assert_eq!(run.config["train"]["epochs"].as_integer(), Some(2));
    let rows = [row(0, 0.75), row(1, 0.5)];
    assert_eq!(run.epochs, rows);
    assert_eq!(run.epochs[1].train_loss, 0.25);
    assert_eq!(run.epochs[1].test_loss, Some(0.1 + 0.2));
    assert_eq!(run.epochs[0].test_top5, None);
    assert_eq!(run.summary, Some(summary("cnn", 4, &rows)));
}

#[test]
fn incomplete_last_line_is_ignored() {
    let runs = tempfile::tempdir().unwrap();
    let dir = write(runs.path(), "v", 0, 0.5, false);
    let path = dir.join("metrics.jsonl");
    let text = fs::read_to_string(&path).unwrap();
    for (length, epochs) in [
        (text.len(), 2),
        (text.len() - 1, 1),
        (text.len() - 40, 1),
        (5, 0),
        (0, 0),
    ] {
        fs::write(&path, &text[..length]).unwrap();
        assert_eq!(Run::read(&dir).unwrap().epochs.len(), epochs, "{length}");
    }
}

/// Error message after `file` was changed by `change`.
fn message(file: &str, change: impl Fn(&str) -> String) -> String {
    let runs = tempfile::tempdir().unwrap();
    let dir = write(runs.path(), "v", 0, 0.5, true);
    let path = dir.join(file);
    let text = fs::read_to_string(&path).unwrap();
    fs::write(&path, change(&text)).unwrap();
    let message = Run::read(&dir).unwrap_err().to_string();
    assert!(message.contains(file), "{message}");
    message
}

#[test]
fn damaged_files_are_named() {
    let cut = |text: &str| text[..text.len() / 2].to_string();
    for file in ["environment.json", "summary.json"] {
        message(file, cut);
        message(file, |_| String::new());
    }
    let found = message("summary.json", |text| {
        text.replace("\"seconds\": 5", "\"second\": 5")
    });
    assert!(found.contains("missing field `seconds`"), "{found}");
    let found = message("config.toml", |_| "[train\n".to_string());
    assert!(found.contains("TOML parse error at line 1"), "{found}");
    let found = message("metrics.jsonl", |text| text.replacen("0.9", "nought", 1));
    assert!(found.contains("metrics.jsonl, line 1: "), "{found}");
    let found = message("metrics.jsonl", |text| {
        text.replace("\"epoch\":1", "\"epoch\":5")
    });
    assert!(
        found.contains("metrics.jsonl, line 2: epoch 5, expected 1"),
        "{found}"
    );
}

#[test]
fn missing_files_are_named() {
    for file in ["environment.json", "config.toml", "metrics.jsonl"] {
        let runs = tempfile::tempdir().unwrap();
        let dir = write(runs.path(), "v", 0, 0.5, true);
        fs::remove_file(dir.join(file)).unwrap();
        let error = Run::read(&dir).unwrap_err();
        assert!(matches!(error, Error::Missing { .. }), "{error}");
        assert!(error.to_string().contains(file), "{error}");
    }
    let runs = tempfile::tempdir().unwrap();
    let dir = write(runs.path(), "v", 0, 0.5, true);
    fs::remove_file(dir.join("summary.json")).unwrap();
    assert_eq!(Run::read(&dir).unwrap().summary, None);
}
