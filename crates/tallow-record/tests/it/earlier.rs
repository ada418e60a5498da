//! A record that version 0.1.0 wrote before this crate existed: every field is read, and written again it gives the same
//! bytes.

use std::fs;
use std::path::PathBuf;

use serde::Serialize;
use serde::de::DeserializeOwned;
use tallow_record::{
    Calibration, EnvironmentFile, EpochRow, Extras, GradientRow, Inputs, LayerRow, Picture,
    Prediction, Run, RunResults, Summary, find_runs,
};

fn fixtures() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("tests/it/fixtures")
}

fn dir() -> PathBuf {
    fixtures()
        .join("quickstart")
        .join("20261127T101218Z-cnn-s0")
}

fn unchanged<T: Serialize + DeserializeOwned>(file: &str) {
    let text = fs::read_to_string(dir().join(file)).unwrap();
    let value: T = serde_json::from_str(&text).unwrap();
    let again = serde_json::to_string_pretty(&value).unwrap() + "\n";
    assert!(again == text, "{file} differs:\n{again}");
}

#[test]
fn every_field_survives() {
    unchanged::<EnvironmentFile>("environment.json");
    unchanged::<Summary>("summary.json");
    unchanged::<Calibration>("calibration.json");
    unchanged::<Vec<GradientRow>>("gradients.json");
    unchanged::<Inputs>("inputs.json");
    unchanged::<Vec<Prediction>>("predictions.json");
    unchanged::<Vec<Prediction>>("mistakes.json");
    unchanged::<Vec<LayerRow>>("layers.json");
    unchanged::<Vec<Picture>>("pictures.json");

    let text = fs::read_to_string(dir().join("metrics.jsonl")).unwrap();
    for line in text.lines() {
        let row: EpochRow = serde_json::from_str(line).unwrap();
        assert_eq!(serde_json::to_string(&row).unwrap(), line);
    }
}

#[test]
fn record_reads_as_a_whole() {
    let found = find_runs(fixtures(), Some("quickstart")).unwrap();
    assert_eq!(found, [dir()]);
    let run = Run::read(&found[0]).unwrap();
    assert_eq!((run.info.variant.as_str(), run.info.seed), ("cnn", 0));
    assert_eq!(run.info.dataset.split.as_deref(), Some("train"));
    assert_eq!(run.info.dataset.classes.len(), 10);
    assert_eq!(run.environment.threads, 2);
    assert_eq!(run.environment.command[..2], ["xtask", "run"]);
    assert_eq!(run.config["tier"].as_str(), Some("smoke"));
    assert_eq!(run.epochs.len(), 12);
    assert_eq!(run.epochs[0].train_loss, 0.820411232662201);
    assert_eq!(run.epochs[0].get("test_top5"), Some(0.994));
    let summary = run.summary.as_ref().unwrap();
    assert_eq!(summary.run, run.info);
    assert_eq!(summary.metrics["best_test_accuracy"], Some(0.865));
    assert_eq!(
        summary.metrics["test_accuracy"],
        run.epochs[11].test_accuracy
    );
    let scores = summary.per_class.as_ref().unwrap();
    let predicted: u64 = scores.iter().filter_map(|score| score.predicted).sum();
    assert_eq!(predicted, 2000);

    let extras = Extras::read(&run).unwrap();
    assert_eq!(extras.calibration.unwrap().samples, 2000);
    assert_eq!(extras.gradients.unwrap()[0].norms[0].0, "conv1.weight");
    assert_eq!(extras.inputs.unwrap().histogram.counts.len(), 60);
    let predictions = extras.predictions.unwrap();
    assert_eq!((predictions.len(), predictions[0].class()), (8, Some(9)));
    let mistakes = extras.mistakes.unwrap();
    assert!(mistakes.iter().all(|m| m.class() != Some(m.label)));
    assert!(mistakes.is_sorted_by(|a, b| a.confidence() >= b.confidence()));
    assert_eq!(extras.layers.unwrap()[0].kind, "Conv2d");
    let pictures = extras.pictures.unwrap();
    let read = |picture: &Picture| picture.read(&run.dir).unwrap();
    let filters = pictures.iter().find(|p| p.file == "filters.png").unwrap();
    assert!(read(filters).unwrap().starts_with(b"\x89PNG"));
    // The other pictures are not part of the fixture.
    assert_eq!(pictures.iter().filter_map(read).count(), 1);
}

#[test]
fn results_keep_the_ends_of_the_gradients() {
    let run = Run::read(dir()).unwrap();
    let results = RunResults::with_details(&run).unwrap();
    assert_eq!((results.seed, results.epochs.len()), (0, 12));
    let gradients = results.gradients.unwrap();
    let ends: Vec<_> = gradients
        .iter()
        .map(|g| (g.epoch, g.step, g.steps))
        .collect();
    assert_eq!(ends, [(0, 0, None), (11, 156, None)]);
    assert!(
        results
            .per_class
            .unwrap()
            .iter()
            .all(|s| s.predicted.is_none())
    );
    assert_eq!(results.predictions.unwrap().len(), 8);
    assert!(results.confusion.is_some() && results.inputs.is_some());
    let plain = RunResults::of(&run);
    assert_eq!((plain.epochs, plain.confusion), (run.epochs, None));
}
