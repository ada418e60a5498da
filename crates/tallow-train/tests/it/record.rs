//! Record of a run.

use std::fs;
use std::ops::ControlFlow;
use std::path::Path;

use crate::common::{CLASSES, bytes, loaders, net, recipe, textures};
use serde_json::Value;
use tallow_datasets::{Dataset, Split};
use tallow_ops::ParamStore;
use tallow_record::{Run, find_runs};
use tallow_train::{
    Callback, EpochEnd, EpochRow, Flow, History, RunInfo, RunRecord, Trainer, capture_environment,
    dataset_record,
};

fn create(runs: &Path, store: &ParamStore) -> RunRecord {
    let info = RunInfo {
        experiment: "made/up".to_string(),
        variant: "small net".to_string(),
        seed: 3,
        model: "net".to_string(),
        parameters: store.num_parameters(),
        dataset: dataset_record(textures(Split::Train, 600).info()),
    };
    let environment = capture_environment(store.device(), Some("0123abc".to_string()));
    RunRecord::create(runs, info, environment, "[train]\nepochs = 2\n").unwrap()
}

fn json(path: &Path) -> Value {
    serde_json::from_slice(&fs::read(path).unwrap()).unwrap()
}

fn lines(dir: &Path) -> Vec<Value> {
    let text = fs::read_to_string(dir.join("metrics.jsonl")).unwrap();
    assert!(text.is_empty() || text.ends_with('\n'));
    text.lines()
        .map(|line| serde_json::from_str(line).unwrap())
        .collect()
}

/// Checks that a line is on disk when the epoch ends.
struct Watch<'a>(&'a Path);

impl Callback for Watch<'_> {
    fn on_epoch_end(&mut self, end: &EpochEnd) -> Flow {
        assert_eq!(lines(self.0).len(), end.row.epoch + 1);
        tallow_train::CONTINUE
    }
}

#[test]
fn a_record_holds_the_whole_run() {
    let runs = tempfile::tempdir().unwrap();
    let (net, store) = net(3);
    let (train, test) = loaders(3, 0);
    let mut record = create(runs.path(), &store);
    let dir = record.dir().to_path_buf();
    assert_eq!(dir.parent().unwrap(), runs.path().join("made_up"));
    let name = dir.file_name().unwrap().to_str().unwrap();
    let (time, rest) = name.split_once('-').unwrap();
    assert!(
        rest == "small_net-s3" && time.len() == 16 && time.ends_with('Z'),
        "{name}"
    );

    let mut trainer = Trainer::new(recipe(2))
        .with_checkpoints(record.checkpoints())
        .with_callback(&mut record)
        .with_callback(Watch(&dir));
    let history = trainer.fit(&net, &store, &train, Some(&test)).unwrap();
    drop(trainer);
    assert!(!dir.join("summary.json").exists());
    let summary = record.finish(&store, &history).unwrap();

    assert_eq!(
        fs::read_to_string(dir.join("config.toml")).unwrap(),
        "[train]\nepochs = 2\n"
    );
    assert!(fs::read(dir.join("model.safetensors")).unwrap() == bytes(&store, runs.path()));
    assert!(dir.join("checkpoint/epoch-000002/state.json").exists());

    let environment = json(&dir.join("environment.json"));
    let run = &environment["run"];
    assert_eq!((&run["seed"], &run["model"]), (&3.into(), &"net".into()));
    assert_eq!(run["dataset"]["provenance"], "textures (made up)");
    assert_eq!(run["dataset"]["split"], "train");
    assert_eq!(run["dataset"]["digest"].as_str().unwrap().len(), 64);
    let machine = &environment["environment"];
    assert_eq!(
        (&machine["device"], &machine["commit"]),
        (&"cpu".into(), &"0123abc".into())
    );
    assert!(
        machine["rustc"].as_str().unwrap().starts_with("rustc 1."),
        "{machine}"
    );
    assert!(machine["threads"].as_u64().unwrap() >= 1);
    assert!(!machine["cpu"].as_str().unwrap().is_empty());
    assert!(
        machine["command"][0].as_str().unwrap().contains("it-"),
        "{machine}"
    );

    let rows = lines(&dir);
    assert_eq!(rows.len(), 2);
    for (row, expected) in rows.iter().zip(&history.rows) {
        assert_eq!(row["epoch"], expected.epoch);
        assert_eq!(row["train_loss"].as_f64().unwrap(), expected.train_loss);
        assert_eq!(row["test_accuracy"].as_f64(), expected.test_accuracy);
        assert_eq!(row["test_top5"].as_f64(), expected.test_top5);
    }

    let run = Run::read(&dir).unwrap();
    assert_eq!((run.info.seed, run.info.variant.as_str()), (3, "small net"));
    assert_eq!(run.environment.commit.as_deref(), Some("0123abc"));
    assert_eq!(run.config["train"]["epochs"].as_integer(), Some(2));
    assert_eq!(run.epochs, history.rows);
    assert_eq!(run.summary.as_ref(), Some(&summary));
    assert_eq!(find_runs(runs.path(), Some("made_up")).unwrap(), [&*dir]);

    let found = json(&dir.join("summary.json"));
    assert_eq!(found, serde_json::to_value(&summary).unwrap());
    assert_eq!(
        (&found["epochs"], &found["stopped"]),
        (&2.into(), &Value::Null)
    );
    let metrics = &found["metrics"];
    assert_eq!(
        metrics["test_accuracy"].as_f64(),
        history.rows[1].test_accuracy
    );
    assert_eq!(
        metrics["best_test_accuracy"].as_f64(),
        history.best().unwrap().test_accuracy
    );
    let total: u64 = summary.confusion.unwrap().iter().flatten().sum();
    assert_eq!((total, summary.per_class.unwrap().len()), (200, CLASSES));

    let mut files: Vec<String> = fs::read_dir(&dir)
        .unwrap()
        .map(|entry| entry.unwrap().file_name().into_string().unwrap())
        .collect();
    files.sort();
    let expected = [
        "checkpoint",
        "config.toml",
        "environment.json",
        "metrics.jsonl",
        "model.safetensors",
        "summary.json",
    ];
    assert_eq!(files, expected);
}

#[test]
fn a_loss_that_is_not_finite_is_null_in_the_summary() {
    let runs = tempfile::tempdir().unwrap();
    let (_, store) = net(0);
    let record = create(runs.path(), &store);
    let row = EpochRow {
        epoch: 0,
        train_loss: 0.5,
        train_accuracy: 0.25,
        test_loss: Some(f64::NAN),
        test_accuracy: Some(0.75),
        test_top5: None,
        lr: 0.1,
        seconds: 2.5,
        images_per_second: 100.0,
        metrics: Default::default(),
        ..EpochRow::default()
    };
    let mut second = row.clone();
    (second.epoch, second.test_accuracy, second.images_per_second) = (1, Some(0.5), 50.0);
    second.metrics = [("auroc".to_string(), Some(0.75)), ("ece".to_string(), None)].into();
    let history = History {
        rows: vec![row, second],
        ..History::default()
    };
    record.finish(&store, &history).unwrap();
    let metrics = Run::read(record.dir()).unwrap().summary.unwrap().metrics;
    let expected = [
        ("auroc", Some(0.75)),
        ("best_epoch", Some(0.0)),
        ("best_test_accuracy", Some(0.75)),
        ("ece", None),
        ("images_per_second", Some(75.0)),
        ("seconds", Some(5.0)),
        ("test_accuracy", Some(0.5)),
        ("test_loss", None),
        ("train_accuracy", Some(0.25)),
        ("train_loss", Some(0.5)),
    ];
    let expected = expected.map(|(name, value)| (name.to_string(), value));
    assert_eq!(metrics, expected.into());
}

#[test]
fn records_never_share_a_directory() {
    let runs = tempfile::tempdir().unwrap();
    let (_, store) = net(0);
    let mut dirs: Vec<_> = (0..4)
        .map(|_| create(runs.path(), &store).dir().to_path_buf())
        .collect();
    dirs.dedup();
    assert_eq!(dirs.len(), 4);
}

struct StopAfter(usize);

impl Callback for StopAfter {
    fn on_epoch_end(&mut self, end: &EpochEnd) -> Flow {
        if end.row.epoch + 1 == self.0 {
            return Ok(ControlFlow::Break("killed".to_string()));
        }
        tallow_train::CONTINUE
    }
}

#[test]
fn a_record_goes_on_after_a_resumption() {
    let runs = tempfile::tempdir().unwrap();
    let (train, test) = loaders(3, 0);
    let (first, store) = net(3);
    let mut record = create(runs.path(), &store);
    Trainer::new(recipe(3))
        .with_checkpoints(record.checkpoints())
        .with_callback(&mut record)
        .with_callback(StopAfter(2))
        .fit(&first, &store, &train, Some(&test))
        .unwrap();
    // As if killed after the line of the third epoch was written, but before its checkpoint.
    let path = record.dir().join("metrics.jsonl");
    let mut text = fs::read_to_string(&path).unwrap();
    text.push_str(
        &text
            .lines()
            .last()
            .unwrap()
            .replace("\"epoch\":1", "\"epoch\":2"),
    );
    fs::write(&path, text).unwrap();

    let (second, store) = net(3);
    let mut record = RunRecord::open(record.dir()).unwrap();
    let history = Trainer::new(recipe(3))
        .with_checkpoints(record.checkpoints())
        .with_callback(&mut record)
        .fit(&second, &store, &train, Some(&test))
        .unwrap();
    let epochs: Vec<u64> = lines(record.dir())
        .iter()
        .map(|row| row["epoch"].as_u64().unwrap())
        .collect();
    assert_eq!(epochs, [0, 1, 2]);
    let summary = record.finish(&store, &history).unwrap();
    assert_eq!(
        (summary.epochs, summary.run.variant.as_str()),
        (3, "small net")
    );
}

#[test]
fn a_place_that_cannot_be_written_is_named() {
    let runs = tempfile::tempdir().unwrap();
    let file = runs.path().join("file");
    fs::write(&file, "").unwrap();
    let (_, store) = net(0);
    let info = RunInfo {
        experiment: "e".to_string(),
        variant: "v".to_string(),
        seed: 0,
        model: "net".to_string(),
        parameters: 0,
        dataset: dataset_record(textures(Split::Train, 6).info()),
    };
    let environment = capture_environment(store.device(), None);
    let error = RunRecord::create(&file, info, environment, "")
        .err()
        .unwrap();
    let folder = file.join("e").display().to_string();
    assert!(error.to_string().contains(&folder), "{error}");
    let error = RunRecord::open(runs.path()).err().unwrap();
    assert!(error.to_string().contains("environment.json"), "{error}");
}
