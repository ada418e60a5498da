//! Records as `tallow-train` writes them, and records that are not what they should be.

use std::fs;
use std::path::{Path, PathBuf};

use candle_core::{DType, Device};
use tallow_datasets::{Dataset, ImageSet, Split};
use tallow_ops::{Init, ParamStore};
use tallow_report::{Run, Summary, by_variant, read_experiment};
use tallow_train::{
    Callback, Environment, EpochEnd, EpochRow, Evaluation, FitStart, History, RunInfo, RunRecord,
};

const CONFIG: &str = "[train]\nepochs = 2\n";

fn row(epoch: usize, test_accuracy: f64) -> EpochRow {
    EpochRow {
        epoch,
        train_loss: 0.5 / (epoch + 1) as f64,
        train_accuracy: 0.9,
        test_loss: Some(0.1 + 0.2),
        test_accuracy: Some(test_accuracy),
        test_top5: None,
        lr: 0.01,
        seconds: 2.5,
        images_per_second: 100.0,
    }
}

fn begin(runs: &Path, variant: &str, seed: u64) -> (RunRecord, ParamStore) {
    let store = ParamStore::new(DType::F32, &Device::Cpu, seed);
    store.root().param("w", 2, Init::Const(1.0)).unwrap();
    let classes = vec!["a".to_string(), "b".to_string()];
    let set = ImageSet::from_parts(
        "t",
        Split::Train,
        "made up",
        classes,
        (1, 1, 1),
        vec![0],
        vec![1],
    );
    let info = RunInfo {
        experiment: "e".to_string(),
        variant: variant.to_string(),
        seed,
        model: format!("{variant}-net"),
        parameters: 2,
        dataset: set.unwrap().info().clone(),
    };
    let environment = Environment::capture(&Device::Cpu, Some("0123abc".to_string()));
    (
        RunRecord::create(runs, info, environment, CONFIG).unwrap(),
        store,
    )
}

/// A run of two epochs that ended with this accuracy; its summary is left out unless `finished`.
fn write(runs: &Path, variant: &str, seed: u64, accuracy: f64, finished: bool) -> PathBuf {
    let (mut record, store) = begin(runs, variant, seed);
    let mut confusion = tallow_metrics::ConfusionMatrix::new(2).unwrap();
    confusion.update(&[0, 1, 1], &[0, 0, 1]).unwrap();
    let mut history = History {
        evaluation: Some(Evaluation {
            loss: 0.3,
            accuracy,
            top5: None,
            confusion,
            samples: 3,
            metrics: Default::default(),
        }),
        ..History::default()
    };
    let fit = FitStart {
        epochs: 2,
        steps_per_epoch: 1,
        samples: 1,
        history: &history,
        store: &store,
    };
    let _ = record.on_fit_start(&fit).unwrap();
    for row in [row(0, 0.75), row(1, accuracy)] {
        let end = EpochEnd {
            row: &row,
            epochs: 2,
            evaluation: None,
            store: &store,
        };
        let _ = record.on_epoch_end(&end).unwrap();
        history.rows.push(row);
    }
    if finished {
        record.finish(&store, &history).unwrap();
    }
    record.dir().to_path_buf()
}

#[test]
fn what_was_written_is_read() {
    let runs = tempfile::tempdir().unwrap();
    let dir = write(runs.path(), "cnn", 4, 0.5, true);
    let run = Run::read(&dir).unwrap();
    assert_eq!(run.dir, dir);
    assert_eq!((run.info.experiment.as_str(), run.info.seed), ("e", 4));
    assert_eq!(
        (run.info.model.as_str(), run.info.parameters),
        ("cnn-net", 2)
    );
    assert_eq!(
        (
            run.info.dataset.name.as_str(),
            run.info.dataset.classes.len()
        ),
        ("t", 2)
    );
    assert_eq!(run.environment.commit.as_deref(), Some("0123abc"));
    assert_eq!(run.environment.device, "cpu");
    assert_eq!(run.config["train"]["epochs"].as_integer(), Some(2));

    assert_eq!(run.epochs.len(), 2);
    assert_eq!(
        (run.epochs[1].train_loss, run.epochs[1].test_loss),
        (Some(0.25), Some(0.1 + 0.2))
    );
    assert_eq!(
        (run.epochs[0].test_accuracy, run.epochs[0].test_top5),
        (Some(0.75), None)
    );

    let Summary {
        epochs,
        stopped,
        seconds,
        metrics,
        confusion,
        per_class,
    } = run.summary.unwrap();
    assert_eq!((epochs, stopped, seconds), (2, None, 5.0));
    assert_eq!(
        (metrics["test_accuracy"], metrics["best_test_accuracy"]),
        (Some(0.5), Some(0.75))
    );
    assert_eq!(confusion.unwrap(), [[1, 1], [0, 1]]);
    assert_eq!(
        (
            per_class.as_ref().unwrap()[0].recall,
            per_class.unwrap()[1].precision
        ),
        (0.5, 0.5)
    );
}

#[test]
fn a_loss_that_is_not_finite_is_none() {
    let runs = tempfile::tempdir().unwrap();
    let (mut record, store) = begin(runs.path(), "v", 0);
    let mut bad = row(0, 0.1);
    bad.test_loss = Some(f64::NAN);
    let end = EpochEnd {
        row: &bad,
        epochs: 1,
        evaluation: None,
        store: &store,
    };
    let _ = record.on_epoch_end(&end).unwrap();
    let history = History {
        rows: vec![bad],
        ..History::default()
    };
    record.finish(&store, &history).unwrap();
    let run = Run::read(record.dir()).unwrap();
    assert_eq!(run.epochs[0].test_loss, None);
    assert_eq!(run.summary.as_ref().unwrap().metrics["test_loss"], None);
    let variants = by_variant(&[run]);
    assert!(!variants[0].metrics.contains_key("test_loss"));
    assert_eq!(variants[0].metrics["test_accuracy"].values, [0.1]);
}

#[test]
fn seeds_come_together_by_variant() {
    let runs = tempfile::tempdir().unwrap();
    let dirs = [
        write(runs.path(), "fc", 0, 0.25, true),
        write(runs.path(), "cnn", 0, 0.5, true),
        write(runs.path(), "fc", 1, 0.75, true),
        write(runs.path(), "fc", 2, 0.9, false),
    ];
    let read: Vec<Run> = dirs.iter().map(|dir| Run::read(dir).unwrap()).collect();
    assert_eq!(read[3].summary, None);
    assert_eq!(read[3].epochs.len(), 2);

    let variants = by_variant(&read);
    let names: Vec<&str> = variants
        .iter()
        .map(|variant| variant.name.as_str())
        .collect();
    assert_eq!(names, ["fc", "cnn"]);
    assert_eq!(variants[0].seeds, [0, 1]);
    assert_eq!(variants[0].model, "fc-net");
    let accuracy = &variants[0].metrics["test_accuracy"];
    assert_eq!(
        (accuracy.mean, accuracy.values.as_slice()),
        (0.5, &[0.25, 0.75][..])
    );
    assert!((accuracy.std.unwrap() - 0.125f64.sqrt()).abs() < 1e-15);
    assert_eq!(variants[1].metrics["test_accuracy"].std, None);

    // And from the experiment's directory.
    assert_eq!(read_experiment(runs.path().join("e")).unwrap().len(), 4);
    let message = read_experiment(runs.path().join("nothing"))
        .unwrap_err()
        .to_string();
    assert!(message.contains("nothing"), "{message}");
}

#[test]
fn a_line_that_was_cut_off_does_not_count() {
    let runs = tempfile::tempdir().unwrap();
    let dir = write(runs.path(), "v", 0, 0.5, false);
    let path = dir.join("metrics.jsonl");
    let text = fs::read_to_string(&path).unwrap();
    for (length, epochs) in [(text.len() - 1, 1), (text.len() - 40, 1), (5, 0), (0, 0)] {
        fs::write(&path, &text[..length]).unwrap();
        assert_eq!(Run::read(&dir).unwrap().epochs.len(), epochs, "{length}");
    }
}

/// What reading says after `file` was changed by `change`.
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
fn garbled_files_are_named() {
    let cut = |text: &str| text[..text.len() / 2].to_string();
    for file in ["environment.json", "summary.json"] {
        message(file, cut);
        message(file, |_| String::new());
    }
    let found = message("summary.json", |text| {
        text.replace("\"seconds\"", "\"second\"")
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
        assert!(
            matches!(error, tallow_report::Error::Missing { .. }),
            "{error}"
        );
        assert!(error.to_string().contains(file), "{error}");
    }
}
