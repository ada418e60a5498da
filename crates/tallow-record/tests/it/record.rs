//! Run records for the tests, written with the types of the crate.

use std::fs;
use std::path::{Path, PathBuf};

use tallow_record::{
    ClassScore, Dataset, Environment, EnvironmentFile, EpochRow, RunInfo, Summary,
};

pub fn row(epoch: usize, test_accuracy: f64) -> EpochRow {
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
        metrics: Default::default(),
        ..EpochRow::default()
    }
}

pub fn info(variant: &str, seed: u64) -> RunInfo {
    RunInfo {
        experiment: "e".to_string(),
        variant: variant.to_string(),
        seed,
        model: format!("{variant}-net"),
        parameters: 2,
        dataset: Dataset {
            name: "t".to_string(),
            split: Some("train".to_string()),
            provenance: "made up".to_string(),
            digest: "0".repeat(64),
            test_digest: None,
            classes: vec!["a".to_string(), "b".to_string()],
        },
    }
}

pub fn environment() -> Environment {
    Environment {
        tallow: "0.1.0".to_string(),
        commit: Some("0123abc".to_string()),
        rustc: "rustc 1".to_string(),
        platform: "linux x86_64".to_string(),
        cpu: "a processor".to_string(),
        threads: 2,
        device: "cpu".to_string(),
        gpu: None,
        command: vec!["tallow".to_string(), "run".to_string()],
        world: None,
    }
}

pub fn summary(variant: &str, seed: u64, rows: &[EpochRow]) -> Summary {
    let last = rows.last().unwrap();
    let metrics = last.metrics().filter(|(metric, _)| metric.in_summary);
    let metrics = metrics.map(|(m, value)| (m.name.to_string(), Some(value)));
    let score = |class| ClassScore {
        class,
        precision: Some(0.5),
        recall: Some(1.0),
        f1: Some(2.0 / 3.0),
        support: 3,
        predicted: Some(6),
    };
    Summary {
        run: info(variant, seed),
        epochs: rows.len(),
        stopped: None,
        seconds: 5.0,
        metrics: metrics.collect(),
        confusion: Some(vec![vec![1, 1], vec![0, 1]]),
        per_class: Some(vec![score(0), score(1)]),
    }
}

/// Writes a record of two epochs with this final accuracy to `<runs>/e/<variant>-<seed>`; without a summary unless `finished`.
pub fn write(runs: &Path, variant: &str, seed: u64, accuracy: f64, finished: bool) -> PathBuf {
    let rows = [row(0, 0.75), row(1, accuracy)];
    let dir = runs.join("e").join(format!("{variant}-{seed}"));
    write_rows(&dir, variant, seed, &rows, finished);
    dir
}

pub fn write_rows(dir: &Path, variant: &str, seed: u64, rows: &[EpochRow], finished: bool) {
    fs::create_dir_all(dir).unwrap();
    fs::write(dir.join("config.toml"), "[train]\nepochs = 2\n").unwrap();
    let file = EnvironmentFile {
        run: info(variant, seed),
        environment: environment(),
    };
    let json = serde_json::to_string_pretty(&file).unwrap();
    fs::write(dir.join("environment.json"), json).unwrap();
    let lines = rows
        .iter()
        .map(|row| serde_json::to_string(row).unwrap() + "\n");
    fs::write(dir.join("metrics.jsonl"), lines.collect::<String>()).unwrap();
    if finished {
        let json = serde_json::to_string_pretty(&summary(variant, seed, rows)).unwrap();
        fs::write(dir.join("summary.json"), json).unwrap();
    }
}
